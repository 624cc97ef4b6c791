"""Trials in the real simulation: the referee and the environment agree, and trials repeat."""

import pytest
import torch

from dactyl_tl.contract import CONTROL_PERIOD, policy_keys
from dactyl_tl.evaluation.policies import RandomPolicy
from dactyl_tl.evaluation.trials import run_trials
from dactyl_tl.evaluation.worlds import SimulatedWorld, simulated_world
from dactyl_tl.models import NetworkConfig, build_actor
from dactyl_tl.protocol import Ending, Limits, Referee, World

SHORT = {"initial_states": {"steps": 3}, "randomization": "all"}
NEAR = {"kind": "within_angle", "angle": (0.41, 0.6)}


def world(num_trials: int = 4, limits: Limits | None = None, **settings) -> SimulatedWorld:  # type: ignore[no-untyped-def]
    return simulated_world("block", num_trials=num_trials, limits=limits, **{**SHORT, **settings})


def test_the_same_seed_begins_the_same_trials_whatever_happened_before() -> None:
    here = world()
    here.begin(3)
    first, start = here.observe(), here.scene_state(1)
    for _ in range(5):
        here.act(torch.randint(11, (4, 20)))
    here.begin(4)
    other = here.observe()
    here.begin(3)
    again = here.observe()
    assert (first == again).all()
    assert not (first == other).all()
    assert (here.scene_state(1)[0] == start[0]).all()
    assert first["is_init"].all()


def test_two_policies_meet_the_same_trials_also_in_the_next_batch() -> None:
    seen: list[list[torch.Tensor]] = []
    for policy in (RandomPolicy(), build_actor(NetworkConfig(dense=8, lstm=8))):
        starts: list[torch.Tensor] = []

        def remember(here: SimulatedWorld, referee: Referee, starts: list[torch.Tensor] = starts) -> None:
            if not referee.seconds.any():
                starts.append(torch.cat([here.observe()[key] for key in policy_keys()], -1))

        limits = Limits(1, 3 * CONTROL_PERIOD)
        run_trials(world(2, limits), policy, 4, seed=7, limits=limits, watchers=[remember])
        seen.append(starts)
    assert len(seen[0]) == len(seen[1]) == 2
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))
    assert not torch.equal(seen[0][0], seen[0][1])


@pytest.mark.parametrize(("timeout", "seen"), [(0.4, Ending.TIMEOUT), (24.0, Ending.DROPPED)])
def test_the_referee_and_the_environment_count_the_same(timeout: float, seen: Ending) -> None:
    limits = Limits(rotations=2, timeout=timeout)
    here = world(32, limits, goals=NEAR, randomization="none")
    last: dict[int, tuple[int, bool]] = {}  # what the environment said when a trial ended

    def note(_: World, referee: Referee) -> None:
        step = here._current()
        for trial, ending in enumerate(referee.endings):
            if ending is not None:
                last.setdefault(trial, (int(step["successes"][trial]), bool(step["dropped"][trial])))

    results = run_trials(here, RandomPolicy(), 32, seed=1, limits=limits, watchers=[note])
    for trial in results.trials:
        assert (trial.successes, trial.ending is Ending.DROPPED) == last[trial.index]
        assert (trial.ending is Ending.COMPLETED) == (trial.successes >= 2)
    assert seen in {trial.ending for trial in results.trials}
    if seen is Ending.DROPPED:  # long enough to achieve something by chance
        assert results.successes.max() >= 1
    for trial in results.trials:
        if trial.ending is Ending.TIMEOUT:
            waited = trial.seconds - max(trial.goal_seconds, default=0.0)
            assert waited == pytest.approx(timeout, abs=1e-3)


def test_a_recurrent_policy_repeats_its_trials_and_its_mode_is_another_policy() -> None:
    limits = Limits(1, 1.0)
    here = world(4, limits)
    policy = build_actor(NetworkConfig(dense=16, lstm=16))
    runs, ends = [], []
    for sample_actions in (True, True, False):
        runs.append(run_trials(here, policy, 4, seed=2, limits=limits, sample_actions=sample_actions))
        ends.append(here.env.physics.qpos.clone())
    assert runs[0] == runs[1]
    assert torch.equal(ends[0], ends[1])
    assert (ends[0] != ends[2]).any(dim=1).all()


def test_one_trial_at_a_time_with_a_memory_as_on_the_hand() -> None:
    limits = Limits(1, 0.4)
    policy = build_actor(NetworkConfig(dense=16, lstm=16))
    results = run_trials(world(1, limits), policy, 2, limits=limits)
    assert [trial.slot for trial in results.trials] == [0, 0]


def test_acting_before_a_trial_began_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="begin"):
        world(1).observe()
