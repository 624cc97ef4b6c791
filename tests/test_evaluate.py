"""evaluate.py from end to end, as one would call it."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import imageio.v3 as imageio
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from dactyl_tl.checkpoint import save_bundle
from dactyl_tl.config_files import config_directory
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.command import Evaluation, evaluate, paper_rows
from dactyl_tl.evaluation.report import read_json
from dactyl_tl.evaluation.settings import (
    EvaluationSettings,
    read_settings,
    register_evaluation_schema,
    wrong_override,
)
from dactyl_tl.models import NetworkConfig, build_actor
from dactyl_tl.protocol import Limits

ROOT = Path(__file__).resolve().parents[1]
SHORT = ["limits.timeout=0.8", "limits.rotations=2", "initial_states.steps=3", "threads=1"]


def composed(*overrides: str) -> DictConfig:
    register_evaluation_schema()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        return compose("evaluate", overrides=[*SHORT, *overrides])


def run(tmp_path: Path, *overrides: str) -> Evaluation:
    return evaluate(composed(f"output={tmp_path}", *overrides))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    actor = build_actor(NetworkConfig(dense=16, lstm=8))
    actor.normalizer.update(torch.randn(64, actor.normalizer.mean.shape[-1]))
    config = {"environment": {"task": "block_locked_wrist", "actions": {"relative": True, "smoothing": 0.0}}}
    return save_bundle(tmp_path / "trained", actor, config)


def test_the_command_evaluates_random_actions(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "evaluate.py"), "policy=random", "trials=4", "video=true"]
    command += ["video_trials=2", f"hydra.run.dir={tmp_path / 'out'}", *SHORT]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert "43.4" not in result.stdout  # short trials are not the paper's
    assert "why trials ended" in result.stdout
    out = tmp_path / "out"
    assert sorted(file.name for file in out.iterdir()) == [
        "random.mp4", "results.json", "results.png", "trials.csv",
    ]  # fmt: skip
    (results,) = read_json(out / "results.json")
    assert len(results.trials) == 4
    assert results.limits.timeout == 0.8
    rows = list(csv.DictReader((out / "trials.csv").open()))
    assert [int(row["successes"]) for row in rows] == results.successes.tolist()
    assert Image.open(out / "results.png").size[0] > 1000
    frames = imageio.imread(out / "random.mp4")
    assert len(frames) >= 2
    assert 100 < frames.mean() < 250


def test_two_policies_run_the_same_trials_and_are_compared(tmp_path: Path, bundle: Path) -> None:
    evaluation = run(tmp_path, f"policy=[{bundle},untrained]", "trials=5", "parallel=3")
    trained, untrained = evaluation.results
    assert trained.settings["task"] == "block_locked_wrist"  # as it was trained
    assert [(t.seed, t.slot) for t in trained.trials] == [(t.seed, t.slot) for t in untrained.trials]
    assert len({trial.seed for trial in trained.trials}) == 2
    (comparison,) = evaluation.comparisons
    assert (comparison.first, comparison.second) == ("trained", "untrained")
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["comparisons"][0]["second"] == "untrained"
    assert document["paper"] == []


def test_the_papers_row_stands_beside_its_own_protocol_only() -> None:
    standard = EvaluationSettings(policy=("random",))
    assert [row.label for row in paper_rows(standard, "block_locked_wrist")] == [
        "Block (state, locked wrist)"
    ] * 2
    assert paper_rows(replace(standard, limits=Limits(timeout=8.0)), "block") == []
    assert paper_rows(replace(standard, goals={"kind": "within_angle"}), "block") == []


def test_the_same_seed_gives_the_same_trials_at_any_number_of_threads(tmp_path: Path, bundle: Path) -> None:
    first = run(tmp_path, f"policy={bundle}", "trials=3", "threads=1")
    again = run(tmp_path, f"policy={bundle}", "trials=3", "threads=2")
    other = run(tmp_path, f"policy={bundle}", "trials=3", "seed=1")
    assert first.results == again.results
    assert first.results[0].trials != other.results[0].trials


def test_a_live_view_runs_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "policy=random", "trials=1", "viewer=true", "limits.timeout=0.16")
    assert "http://127.0.0.1:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("policy=null", "policy is not set; for example policy=block"),
        ("policy=nowhere", "policy=nowhere does not exist; choose "),
        ("trials=0", "trials is 0; it must be at least 1"),
        ("trials=few", "trials is 'few'; it must be a whole number"),
        ("video=yes please", "video is 'yes please'; it must be true or false"),
        ("+environment.task=egg", "'egg'; choose one of block, prism, block_locked_wrist"),
        ("+environment.randomization=most", "'most'; choose one of all, none"),
        ("goals.kind=any", "'any'; choose one of uniform, parallel, within_angle"),
        ("hand=left", "'left'; choose one of gymnasium_robotics, calibrated"),
        ("engine=steam", "'steam'"),
        ("limits.rotations=0", "limits.rotations must be at least 1, got 0"),
        ("limits.timeout=long", "limits.timeout is 'long'; it must be a number"),
        ("view=behind", "'behind'; choose one of palm, front"),
        ("viewer_port=-1", "viewer_port is -1; it must be 0 to 65535"),
        ("output=/proc/nowhere", "/proc/nowhere"),
    ],
)
def test_wrong_values_are_named_with_the_choices(tmp_path: Path, override: str, message: str) -> None:
    overrides = ["policy=random", "trials=1", "video=true", f"output={tmp_path}", override]
    with pytest.raises(ConfigurationError) as caught:
        evaluate(composed(*overrides))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_contacts_that_do_not_fit_end_it_with_one_line(tmp_path: Path) -> None:
    words = ["policy=random", "trials=4", "engine=warp", "max_constraints=4", "initial_states.steps=5"]
    command = [sys.executable, str(ROOT / "evaluate.py"), *words, f"output={tmp_path}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert result.returncode == 3
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "Raise max_constraints (now 4) for NEFC" in line
    assert "Traceback" not in result.stderr


def test_unknown_settings_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "evaluate.py"), "policy=random", "trails=4"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown setting trails; choose from actions, device, engine")
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_overrides_that_are_settings_pass() -> None:
    groups = config_directory()
    known = [
        "goals.kind=parallel",
        "hydra.run.dir=x",
        "--help",
        "+limits.timeout=3",
        "policy=[a,b]",
        "task=prism",
    ]
    assert wrong_override(known, groups) is None
    for override, message in {
        "goals.timeout=3": "unknown setting goals.timeout; settings of goals: kind, angle, tolerance",
        "seed.x=1": "unknown setting seed.x; settings of seed: none",
        "task=egg": "task is 'egg'; choose from block, block_locked_wrist, prism",
        "randomization=most": "randomization is 'most'; choose from all, no_observation_noise, no_physics, "
        "no_unmodeled, none",
    }.items():
        assert wrong_override([override], groups) == message


def test_the_papers_protocol_is_the_default() -> None:
    register_evaluation_schema()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        settings = read_settings(compose("evaluate", overrides=["policy=random", "output=here"]))
    assert (settings.trials, settings.limits.rotations, settings.limits.timeout) == (100, 50, 80.0)
    assert (settings.randomization, settings.goals, settings.sample_actions) == ("all", {}, True)


def test_the_policy_in_the_repository_turns_the_block(tmp_path: Path) -> None:
    """Goals anywhere, the paper's limits but for their number."""
    limits = ["limits.timeout=80", "limits.rotations=3", "initial_states.steps=100"]
    policies = "policy=[block_none,untrained]"
    evaluation = run(tmp_path, policies, *limits, "trials=16", "randomization=none")
    trained, untrained = (result.summary().mean.estimate for result in evaluation.results)
    assert trained > 2.0
    assert untrained < 0.5
