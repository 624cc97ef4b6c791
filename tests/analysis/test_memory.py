"""What can be read off a recurrent state is found, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest

from dactyl_tl.analysis.memory import Memories, collect, main, probe, table_1
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.policies import find_policies

SIZES = {
    "object_dimensions": 1, "object_mass": 1, "surface_friction": 1, "gravity": 3, "actuator_gain": 20,
    "joint_damping": 24, "joint_limits": 48, "link_masses": 24,
}  # fmt: skip


def test_a_planted_parameter_is_found_and_the_others_are_chance() -> None:
    rng = np.random.default_rng(0)
    parameters = {name: rng.uniform(0.5, 1.5, (3000, size)) for name, size in SIZES.items()}
    states = rng.normal(size=(3000, 12))
    states[:, 3] += 3 * (parameters["object_dimensions"][:, 0] - 1)
    found = {each.parameter: each.accuracy for each in probe(Memories(states, parameters, 1.0))}
    assert found["object dimensions"].low > 0.65
    for name, accuracy in found.items():
        if name != "object dimensions":
            assert abs(accuracy.estimate - 0.5) < 0.06, name  # 900 episodes: standard error 0.017


def test_all_of_table_1_is_asked_for() -> None:
    rows = table_1({name: np.zeros((2, size)) for name, size in SIZES.items()})
    assert sum(values.shape[1] for values in rows.values()) == sum(SIZES.values())


def test_states_and_parameters_belong_together() -> None:
    (policy,) = find_policies(["block_lstm"])
    few = collect(policy, 8, seconds=0.8, parallel=8, seed=1)
    again = collect(policy, 8, seconds=0.8, parallel=8, seed=1)
    assert np.array_equal(few.states, again.states)
    assert few.states.shape == (round(8 * few.survived), 2 * 128)
    assert few.parameters["joint_limits"].shape == (len(few.states), 48)
    assert (
        0.95 <= few.parameters["object_dimensions"].min() < few.parameters["object_dimensions"].max() <= 1.05
    )


def test_a_policy_without_memory_is_refused() -> None:
    (policy,) = find_policies(["random"])
    with pytest.raises(ConfigurationError, match="random has no recurrent state"):
        collect(policy, 1, parallel=1)


def test_the_command_prints_draws_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["block_lstm", "--episodes", "250", "--seconds", "0.4", "--output", str(tmp_path)])
    facts = json.loads((tmp_path / "memory.json").read_text())
    assert len(facts["probes"]) == 10
    assert (tmp_path / "memory.png").stat().st_size > 10_000
    assert "object dimensions" in capsys.readouterr().out
