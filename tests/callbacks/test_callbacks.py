from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback

from callbacks.curriculum import Curriculum
from callbacks.schedule import Schedule
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.metrics import read_metrics
from dactyl_tl.rendering.classic import HandRenderer
from dactyl_tl.rendering.offscreen import RendererError
from dactyl_tl.training import train
from tests.compose import TOY, compose


def smoke(directory: Path, *overrides: str) -> list[dict[str, float]]:
    result = train(compose(directory, ["experiment=smoke", *overrides]))
    return read_metrics(result.run / "metrics.csv")


def has_opengl() -> bool:
    try:
        HandRenderer(width=16, height=16).close()
    except RendererError:
        return False
    return True


class TestCurriculum:
    WORDS = (
        TOY,
        "frames=384",
        "collection.window=2",
        "callbacks=[default,curriculum]",
        "callbacks.goal_curriculum.start=0.5",
        "callbacks.goal_curriculum.stop=0.8",
        "callbacks.goal_curriculum.step=0.2",
        "callbacks.goal_curriculum.episodes=1",
    )

    def test_it_moves_when_successes_allow_and_stops_at_the_end(self, tmp_path: Path) -> None:
        rows = smoke(tmp_path, *self.WORDS, "callbacks.goal_curriculum.threshold=0.0")
        angles = [row["curriculum/goal_angle"] for row in rows]
        assert angles == sorted(angles)
        assert sorted(set(angles)) == pytest.approx([0.5, 0.7, 0.8], abs=1e-6)

    def test_it_stays_while_they_do_not(self, tmp_path: Path) -> None:
        rows = smoke(tmp_path, *self.WORDS, "callbacks.goal_curriculum.threshold=1000")
        assert {row["curriculum/goal_angle"] for row in rows} == {0.5}

    def test_it_waits_for_episodes_and_frames(self, tmp_path: Path) -> None:
        words = (*self.WORDS, "callbacks.goal_curriculum.threshold=0.0", "callbacks.goal_curriculum.stop=3")
        rows = smoke(tmp_path / "frames", *words, "callbacks.goal_curriculum.frames=128")
        moved = [
            row["frames"]
            for before, row in pairwise(rows)
            if row["curriculum/goal_angle"] > before["curriculum/goal_angle"]
        ]
        assert len(moved) >= 2
        assert min(later - earlier for earlier, later in pairwise([0, *moved])) >= 128
        rows = smoke(tmp_path / "episodes", *words, "callbacks.goal_curriculum.episodes=1000000")
        assert {row["curriculum/goal_angle"] for row in rows} == {0.5}

    def test_wrong_values_are_named(self) -> None:
        with pytest.raises(ValueError, match="'gravity'; choose from goal_angle, randomization_scale"):
            Curriculum("gravity", 0, 1, 0.1, 1.0)
        with pytest.raises(ValueError, match="step is 0"):
            Curriculum("goal_angle", 0, 1, 0, 1.0)

    def test_it_can_go_down_and_remembers(self) -> None:
        curriculum = Curriculum("goal_angle", 1.0, 0.5, 0.1, 1.0)
        curriculum.load_state_dict({"value": 0.6, "moved_at": {"episodes": 7, "frames": 70}})
        assert curriculum.state_dict() == {"value": 0.6, "moved_at": {"episodes": 7, "frames": 70}}
        assert (
            Curriculum("goal_angle", 0, 1, 1, 1).state_key
            != Curriculum("randomization_scale", 0, 1, 1, 1).state_key
        )


def test_evaluation_leaves_training_as_it_was(tmp_path: Path) -> None:
    words = ("callbacks=[default,evaluation]", "callbacks.evaluation.trials=2")
    limits = ("callbacks.evaluation.timeout=0.5", "callbacks.evaluation.minutes=1e-6")
    with_trials = smoke(tmp_path / "with", *words, *limits)
    without = smoke(tmp_path / "without")
    for row in with_trials:
        assert row["evaluation/successes"] >= 0.0
        assert 0.0 <= row["evaluation/drop_rate"] <= 1.0
    for one, other in zip(with_trials, without, strict=True):
        for key in other:
            if not key.startswith(("throughput/", "memory/")):
                assert one[key] == pytest.approx(other[key], abs=0, rel=0, nan_ok=True), key


@pytest.mark.skipif(not has_opengl(), reason="needs OpenGL")
def test_videos_are_written(tmp_path: Path) -> None:
    smoke(
        tmp_path,
        "frames=64",
        "callbacks=[default,video]",
        "callbacks.video.seconds=0.4",
        "+callbacks.video.width=64",
        "+callbacks.video.height=48",
    )
    (video,) = (tmp_path / "videos").glob("*.mp4")
    assert video.stat().st_size > 500
    assert int(video.stem) == 64


def test_throughput_adds_up(tmp_path: Path) -> None:
    began = time.perf_counter()
    rows = smoke(tmp_path, TOY)
    elapsed = time.perf_counter() - began
    for row in rows:
        assert 0.0 < row["throughput/collecting"] + row["throughput/learning"] <= 1.0
        assert 0.05 < row["memory/peak_host"] < 100.0  # GB
        assert ("memory/peak_gpu" in row) is torch.cuda.is_available()
    assert sum(64 / row["throughput/frames_per_second"] for row in rows) < elapsed


class Sabotage(Callback):
    """Makes later rollouts look worse."""

    def on_train_batch_start(self, trainer, *args) -> None:
        metrics = trainer.datamodule.metrics
        metrics["episode/successes"] = 10.0 - trainer.datamodule.frames / 64
        metrics["episode/finished"] = 1000.0


SABOTAGED = (TOY, "callbacks.checkpoints.minutes=0", f"+callbacks.sabotage._target_={__name__}.Sabotage")


def checkpointed_frames(run: Path) -> dict[str, int]:
    def frames(name: str) -> int:
        checkpoint = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        return int(checkpoint["state_dict"]["frames"])

    return {name: frames(name) for name in ("best", "last")}


def test_best_is_kept_when_the_last_is_worse(tmp_path: Path) -> None:
    smoke(tmp_path, *SABOTAGED, "frames=192")
    assert checkpointed_frames(tmp_path) == {"best": 64, "last": 192}
    assert (tmp_path / "bundles" / "best").is_dir()


def test_the_best_of_an_easier_lesson_does_not_count(tmp_path: Path) -> None:
    words = (*TestCurriculum.WORDS, *SABOTAGED[1:], "callbacks.goal_curriculum.threshold=0.0")
    rows = smoke(tmp_path, *words, "frames=640")
    angles = [row["curriculum/goal_angle"] for row in rows]
    last_lesson = angles.index(angles[-1])
    assert 0 < last_lesson < len(rows) - 1
    expected = {"best": int(rows[last_lesson]["frames"]), "last": 640}
    assert checkpointed_frames(tmp_path) == expected


def test_schedule() -> None:
    schedule = Schedule(minutes=1e-4)
    assert schedule.due
    schedule.done()
    assert not schedule.due
    time.sleep(0.01)
    assert schedule.due
    with pytest.raises(ValueError, match="minutes is 0"):
        Schedule(0)


def test_wrong_settings_are_refused_before_training(tmp_path: Path) -> None:
    for word, message in (
        ("callbacks.evaluation.trials=0", "callbacks: trials is 0; it must be at least 1"),
        ("callbacks.evaluation.rotations=0", "callbacks: limits.rotations must be at least 1"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            smoke(tmp_path, "callbacks=[default,evaluation]", word)
