"""Pose estimators beside Table 6, and trials in which the policy sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from rich.console import Console

from dactyl_tl import rotations
from dactyl_tl.config_files import config_directory
from dactyl_tl.contract import POLICY
from dactyl_tl.envs.observations import relative_orientation
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators.bundles import load_estimator, save_estimator
from dactyl_tl.evaluation.command import Evaluation, evaluate
from dactyl_tl.evaluation.paper import TABLE_6
from dactyl_tl.evaluation.pose_report import (
    NAMES,
    QUANTITIES,
    pose_table,
    read_pose_csv,
    write_pose_markdown,
)
from dactyl_tl.evaluation.poses import PoseErrors
from dactyl_tl.evaluation.report import describe_settings
from dactyl_tl.evaluation.seeing import SeeingWorld
from dactyl_tl.evaluation.settings import register_evaluation_schema
from dactyl_tl.evaluation.worlds import simulated_world
from dactyl_tl.metrics import MetricsFile
from dactyl_tl.models.config import PoseNetworkConfig
from dactyl_tl.models.pose import PoseNetwork
from dactyl_tl.policies import METRICS
from dactyl_tl.rendering.classic_cameras import ClassicCameras
from dactyl_tl.rendering.filament import check_filament
from dactyl_tl.vision.calibration import camera_calibration
from dactyl_tl.vision.drawing import HELD_OUT, VALIDATIONS
from dactyl_tl.vision.poses import object_pose

CONFIG = {
    "environment": {"task": "block", "randomization": "none", "hand": "gymnasium_robotics"},
    "policy": None,
    "pictures": {"look": "lettered"},
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = PoseNetwork(PoseNetworkConfig(filters=8, dense=16))
    network.set_statistics(0.02 * torch.randn(50, 3), rotations.normalize(torch.randn(50, 4)))
    path = tmp_path_factory.mktemp("runs") / "small" / "bundles" / "best"
    training = {"sets": 1200, "minutes": 2.0}
    save_estimator(
        path, network, task="block", cameras=camera_calibration(), config=CONFIG, training=training
    )
    errors = {f"{kind}/{quantity}" for kind in VALIDATIONS for quantity in QUANTITIES}
    logger = MetricsFile(path.parents[1] / METRICS)
    for frames in (400, 800, 1200):
        logger.log_metrics({"frames": frames, **dict.fromkeys(errors, 40_000 / frames)})
    return path


def run(*overrides: str) -> Evaluation:
    register_evaluation_schema()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        return evaluate(compose("evaluate", overrides=[*overrides, "workers=1", "threads=1"]))


def test_the_suite_measures_every_kind_of_pictures(tmp_path: Path, bundle: Path) -> None:
    evaluation = run("suite=pose", f"pose={bundle}", "pictures=6", f"output={tmp_path}")
    assert sorted(path.name for path in evaluation.files) == [
        "errors.csv", "learning.png", "results.json", "results.png", "table.md",
    ]  # fmt: skip
    errors = read_pose_csv(tmp_path / "errors.csv")
    assert [each.pictures for each in errors] == list(HELD_OUT) == list(NAMES)
    assert len(np.unique([each.rotation for each in errors])) > 12  # of other pictures
    document = json.loads((tmp_path / "results.json").read_text())
    for result, each in zip(document["results"], errors, strict=True):
        assert result["rotation"]["mean"] == pytest.approx(each.rotation.mean(), abs=1e-2)
        assert result["position"]["mean"] == pytest.approx(each.position.mean(), abs=1e-2)
        assert result["estimator"] == each.estimator == "small"
    text = (tmp_path / "table.md").read_text()
    for words in ("3.23 ± 2.91", "3.12 ± 1.52", "1,200 sets of pictures", "6 sets of pictures of each"):
        assert words in text
    for picture in ("results.png", "learning.png"):
        assert Image.open(tmp_path / picture).size[0] > 800


def test_tables_show_mean_deviation_and_median(tmp_path: Path) -> None:
    values = np.array([1.0, 2.0, 3.0, 10.0])
    results = [PoseErrors("one", name, values, 2 * values) for name in NAMES]
    console = Console(width=90, record=True, file=(tmp_path / "out").open("w"))
    console.print(pose_table(results))
    text = console.export_text()
    assert "4.00 ± 4.08 ( 2.50)" in text
    assert "8.00 ± 8.16 ( 5.00)" in text
    assert all(f"{row.rotation[0]} ± {row.rotation[1]}" in text for row in list(TABLE_6.values())[:2])
    write_pose_markdown(tmp_path / "table.md", results, {"one": "ten sets"})
    assert "| OpenGL, nominal looks | one | 4.00 ± 4.08 |" in (tmp_path / "table.md").read_text()


def test_the_policy_sees_what_the_estimator_sees(bundle: Path) -> None:
    estimator = load_estimator(bundle)
    world = simulated_world(
        "block", num_trials=3, randomization="none", initial_states={"steps": 3}, seed=0, num_threads=1
    )
    seeing = SeeingWorld(world.env, estimator, "block", workers=2)
    seeing.begin(0)
    observed = seeing.observe()
    with ClassicCameras() as cameras:
        pictures = np.stack([cameras.render(qpos) for qpos in seeing.qpos().double().numpy()])
    position, orientation = estimator(pictures)
    torch.testing.assert_close(observed[POLICY, "object_position"], position, atol=1e-4, rtol=0)
    relative = relative_orientation(seeing.goals(), orientation)
    seen = observed[POLICY, "relative_target_orientation"]
    assert rotations.distance(seen, relative).max() < 1e-2
    true, _ = object_pose(seeing.qpos())
    assert ((observed[POLICY, "object_position"] - true).norm(dim=-1) > 1e-3).all()
    # Trials go on, and the fingertips are the simulation's.
    fingertips = super(SeeingWorld, seeing).observe()[POLICY, "fingertip_positions"]
    torch.testing.assert_close(observed[POLICY, "fingertip_positions"], fingertips)
    seeing.act(torch.full((3, 20), 5))
    later = seeing.observe()
    assert (later[POLICY, "object_position"] != observed[POLICY, "object_position"]).any()
    seeing.close()


def test_trials_are_run_with_vision(tmp_path: Path, bundle: Path) -> None:
    evaluation = run(
        "policy=block_none", "observation=vision", f"pose={bundle}", "trials=2", "limits.rotations=2",
        "limits.timeout=0.4", "initial_states.steps=3", f"output={tmp_path}",
    )  # fmt: skip
    assert len(evaluation.results[0].trials) == 2
    (results,) = evaluation.results
    assert (results.settings["observation"], results.settings["pose"]) == ("vision", str(bundle))
    assert describe_settings(results) == ["block", "randomization all", f"seen by {bundle}"]


@pytest.mark.parametrize(("words", "message"), [
    (["policy=block", "observation=smell"], "observation is 'smell'; choose from state, vision"),
    (["policy=block", "observation=vision"], "observation=vision needs one estimator"),
    (["policy=prism", "observation=vision", "pose=block"], "sees the block, task=prism needs"),
    (["policy=block", "pose=block"], "set observation=vision"),
    (["policy=block", "observation=vision", "pose=nowhere"], "nowhere holds no pose estimator; choose"),
    (["suite=pose", "observation=vision"], "chooses its own observation"),
    (["suite=pose", "pictures=0"], "pictures is 0"),
    (["suite=pose", "policy=block"], "leave out policy="),
])  # fmt: skip
def test_what_cannot_be_seen_is_refused(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run(*words, f"output={tmp_path}", "initial_states.steps=1", "trials=1")


def test_without_vulkan_the_suite_says_so_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VK_ICD_FILENAMES", "VK_DRIVER_FILES"):
        monkeypatch.setenv(name, "/nowhere.json")
    check_filament.cache_clear()
    try:
        with pytest.raises(ConfigurationError, match="Cannot render with Filament"):
            run("suite=pose", "pictures=1", f"output={tmp_path}")
    finally:
        check_filament.cache_clear()
    assert not list(tmp_path.iterdir())
