"""``train.py experiment=pose``: without any file, from a cache, resumed, interrupted, with two ranks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pytorch_lightning import Callback, Trainer

from dactyl_tl.errors import CollectionError, ConfigurationError, InterruptedCollection
from dactyl_tl.estimators.bundles import load_estimator
from dactyl_tl.estimators.checkpoints import pose_frames_of
from dactyl_tl.launch import adapted_config, configuration_of
from dactyl_tl.metrics import read_metrics
from dactyl_tl.pose_training import check_pose, train_pose
from dactyl_tl.rendering.offscreen import RendererError
from dactyl_tl.runs import TrainingResult
from dactyl_tl.vision.cache import SHARD
from dactyl_tl.vision.datamodule import PictureDataModule
from dactyl_tl.vision.pictures import Sets, draw_all
from dactyl_tl.vision.pictures import _draw as draw
from dactyl_tl.vision.states import States, gather
from tests.compose import compose, experiments
from tests.processes import assert_none_left, descendants, kill_children, wait

ROOT = Path(__file__).parents[1]

TINY = [
    "pictures.states=300",
    "pictures.num_envs=16",
    "pictures.validation=4",
    "pictures.workers=1",
    "pose.batch_size=2",
    "pose.report_every=2",
    "network.filters=8",
    "threads=1",
    "logger=csv",
]


def run(directory: Path, *overrides: str) -> TrainingResult:
    return train_pose(compose(directory, ["experiment=pose", *TINY, *overrides]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return run(tmp_path_factory.mktemp("pose"), "frames=8")


def test_it_needs_no_files_and_leaves_everything(trained: TrainingResult) -> None:
    assert trained.frames == 8
    rows = read_metrics(trained.run / "metrics.csv")
    assert [row["frames"] for row in rows] == [4, 8]
    for row in rows:  # from the first epoch on
        for renderer in ("filament", "classic"):
            assert 0 < row[f"{renderer}/rotation"] < 180
            assert 0 < row[f"{renderer}/position"] < 1000
        assert row["loss"] > 0
        assert row["throughput/pictures_per_second"] > 0
        assert 0 <= row["throughput/waiting"] <= 1
        assert row["learning_rate"] == 5e-4
    assert load_estimator(trained.run).description["task"] == "block"
    sheets = sorted((trained.run / "predictions").iterdir())
    assert [sheet.name for sheet in sheets] == ["000000000004.png", "000000000008.png"]
    assert Image.open(sheets[0]).size == (1200, 400 * 6)
    assert (trained.run / "curves.png").exists()
    assert (trained.run / "states.safetensors").exists()


class Seen(Callback):
    """Where the objects of all minibatches were."""

    positions: list[tuple[float, ...]] = []  # noqa: RUF012

    def on_train_batch_end(
        self, trainer: Trainer, module: Any, outputs: Any, batch: Sets, number: int
    ) -> None:
        Seen.positions += [tuple(each.tolist()) for each in batch[1]]


def test_an_epoch_does_not_repeat_the_one_before(tmp_path: Path) -> None:
    words = ["pictures.renderer=classic", "frames=12", f"+callbacks.seen._target_={__name__}.Seen"]
    run(tmp_path, *words)
    assert len(Seen.positions) == 12
    assert len(set(Seen.positions)) > 9  # sets of one state may leave the object where it was


def test_a_resumed_run_goes_on_with_its_states(trained: TrainingResult) -> None:
    before = (trained.run / "states.safetensors").read_bytes()
    weights = torch.load(trained.checkpoint, weights_only=True)["state_dict"]
    again = run(trained.run, f"resume={trained.run}", "frames=12")
    assert again.frames == 12
    assert [row["frames"] for row in read_metrics(again.run / "metrics.csv")] == [4, 8, 12]
    assert (again.run / "states.safetensors").read_bytes() == before
    after = torch.load(again.checkpoint, weights_only=True)
    assert after["optimizer_states"][0]["state"][0]["step"] == 6
    torch.testing.assert_close(after["state_dict"]["network.mean"], weights["network.mean"])
    assert (after["state_dict"]["network.head.0.weight"] != weights["network.head.0.weight"]).any()


def test_a_cache_is_filled_once_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    words = [f"pictures.cache={cache}", "pictures.cache_sets=4", "pictures.shard_sets=2",
             "pictures.renderer=classic", "frames=4"]  # fmt: skip
    assert run(tmp_path / "first", *words).frames == 4
    shards = [cache / SHARD.format(number) for number in range(2)]
    written = [shard.stat().st_mtime_ns for shard in shards]
    shards[1].write_bytes(b"damaged")
    again = run(tmp_path / "first", *words, f"resume={tmp_path / 'first'}", "frames=8")
    assert again.frames == 8
    assert "1 damaged shards were drawn anew" in capsys.readouterr().out
    assert shards[0].stat().st_mtime_ns == written[0]
    assert shards[1].stat().st_mtime_ns > written[1]
    with pytest.raises(ConfigurationError, match="choose another directory"):
        run(tmp_path / "other", *words, "pictures.appearance=false")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_a_run_after_a_batch(tmp_path: Path, number: signal.Signals) -> None:
    directory = tmp_path / "run"
    command = [sys.executable, "train.py", "experiment=pose", *TINY, f"hydra.run.dir={directory}",
               "pictures.renderer=classic"]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    wait(lambda: (directory / "metrics.csv").exists() or process.poll() is not None, 120.0)
    artists = descendants(process.pid)
    os.killpg(process.pid, number)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"Stopped by {number.name} after a complete batch." in out
    assert "is replaced" not in said
    assert "Traceback" not in said
    assert_none_left(artists)
    rows = read_metrics(directory / "metrics.csv")
    assert configuration_of([f"resume={directory}"]) == "pose"
    frames = pose_frames_of(directory / "checkpoints" / "last.ckpt")
    assert frames >= rows[-1]["frames"] >= 4


class Killing(Callback):
    """Kills the processes that draw, after the first minibatch."""

    killed = 0

    def on_train_batch_end(self, *args: Any) -> None:
        if not Killing.killed:
            Killing.killed += kill_children()


def test_a_process_that_draws_and_is_killed_is_replaced(tmp_path: Path) -> None:
    words = ["frames=60", "pictures.renderer=classic", f"+callbacks.killing._target_={__name__}.Killing"]
    with pytest.warns(UserWarning, match="a process that draws pictures ended; it is replaced"):
        assert run(tmp_path, *words).frames == 60
    assert Killing.killed == 1


def draw_five_or_end(qpos: torch.Tensor, entropy: tuple[int, ...], first: int) -> Sets:
    if len(entropy) == 3 and first >= 10:  # the sixth minibatch to learn from
        os._exit(1)
    return draw(qpos, entropy, first)


def draw_five_or_fail(qpos: torch.Tensor, entropy: tuple[int, ...], first: int) -> Sets:
    if len(entropy) == 3 and first >= 10:
        raise RendererError("no driver")
    return draw(qpos, entropy, first)


@pytest.mark.parametrize(
    ("job", "warned", "why"),
    [
        (draw_five_or_end, pytest.warns(UserWarning, match="is replaced"), "3 times"),
        (draw_five_or_fail, nullcontext(), "Cannot render: no driver"),
    ],
)
def test_a_renderer_that_fails_in_the_middle_ends_a_run_that_can_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    job: Callable[..., Sets],
    warned: AbstractContextManager[Any],
    why: str,
) -> None:
    monkeypatch.setattr("dactyl_tl.vision.pictures._draw", job)
    with warned, pytest.raises(CollectionError, match=why):
        run(tmp_path, "frames=100", "pictures.renderer=classic")
    assert pose_frames_of(tmp_path / "checkpoints" / "last.ckpt") == 10


def test_a_run_that_is_interrupted_before_it_learns_ends_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **settings: Any) -> States:
        os.kill(os.getpid(), signal.SIGTERM)
        return gather(*args, **settings)

    monkeypatch.setattr("dactyl_tl.vision.datamodule.gather", interrupted)
    ended = run(tmp_path, "pictures.states=10_000_000")
    assert (ended.interrupted, ended.frames) == (signal.SIGTERM, 0)
    assert not (tmp_path / "states.safetensors").exists()


def test_a_run_that_is_interrupted_while_it_draws_what_is_held_out_ends_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> Iterator[Sets]:
        for part in draw_all(*args):
            os.kill(os.getpid(), signal.SIGTERM)
            yield part

    monkeypatch.setattr("dactyl_tl.vision.datamodule.draw_all", interrupted)
    ended = run(tmp_path, "pictures.validation=100_000")
    assert (ended.interrupted, ended.frames) == (signal.SIGTERM, 0)


def test_a_run_that_ends_before_it_reads_its_checkpoint_keeps_it(
    trained: TrainingResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, frames = trained.checkpoint.read_bytes(), pose_frames_of(trained.checkpoint)

    def interrupted(data: PictureDataModule, stage: str) -> None:
        raise InterruptedCollection("another run filled the cache")

    monkeypatch.setattr(PictureDataModule, "setup", interrupted)
    assert run(trained.run, f"resume={trained.run}", "frames=100").frames == frames >= 8
    assert trained.checkpoint.read_bytes() == before


def test_training_starts_from_an_estimator_with_its_network(tmp_path: Path, trained: TrainingResult) -> None:
    words = ["experiment=pose", *TINY, f"estimator={trained.run}", "frames=2"]
    chosen = [word for word in words if not word.startswith("network")]
    adapted = adapted_config(compose(tmp_path / "run", chosen), chosen)
    assert adapted.network.filters == 8
    adapted.pose.learning_rate = 1e-12
    again = train_pose(adapted)
    theirs, ours = (load_estimator(each.run).network.state_dict() for each in (trained, again))
    torch.testing.assert_close(ours["head.0.weight"], theirs["head.0.weight"])
    with pytest.raises(ConfigurationError, match=r"has network.filters=8, this run 16; leave it out"):
        train_pose(compose(tmp_path / "other", [*words, "network.filters=16"]))


def test_two_ranks_learn_from_the_data_of_both(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    command = [
        sys.executable, "train.py", "experiment=pose", *TINY, f"hydra.run.dir={directory}", "frames=16",
        "trainer.devices=2", "trainer.accelerator=cpu", "pictures.renderer=classic",
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "sync_dist" not in ended.stderr, "a wall of advice for each report"
    assert "16 sets of pictures" in ended.stdout
    assert [row["frames"] for row in read_metrics(directory / "metrics.csv")] == [8, 16]


@pytest.mark.parametrize("experiment", experiments(sees=True))
def test_every_experiment_is_checked(tmp_path: Path, experiment: str) -> None:
    settings = check_pose(compose(tmp_path, [f"experiment={experiment}"]))
    assert settings.pictures.states > 0


@pytest.mark.parametrize("experiment", ["pose", "pose_laptop"])
def test_experiments_learn_as_was_measured_to_be_best(tmp_path: Path, experiment: str) -> None:
    settings = check_pose(compose(tmp_path, [f"experiment={experiment}"]))
    assert (settings.network.rotation, settings.pose.keypoints) == ("matrix", 10)


def test_the_papers_experiment_is_tables_11_and_12(tmp_path: Path) -> None:
    settings = check_pose(compose(tmp_path, ["experiment=pose_paper"]))
    assert settings.frames == 400_000 * 64
    assert settings.pictures.states == 1_000_000
    assert settings.network.stem_stride == 1
    assert settings.network.rotation == "quaternion"
    assert (settings.pose.learning_rate, settings.pose.batch_size, settings.pose.keypoints) == (5e-4, 64, 0)


@pytest.mark.parametrize(("word", "message"), [
    ("pictures.renderer=unity", "pictures.renderer is 'unity'; choose from filament, classic"),
    ("pictures.workers=0", "pictures.workers is 0"),
    ("pictures.look=shiny", "lettered, plain"),
    ("poses.rotated=0.9", "poses.rotated is 0.9"),
    ("images.noise=-1", "images.noise is -1"),
    ("network.rotation=euler", "network.rotation is 'euler'"),
    ("pose.batch_size=0", "pose.batch_size is 0"),
    ("environment.hand=left", "environment.hand is 'left'"),
    ("frames=0", "frames is 0"),
    ("seed=-1", "seed is -1"),
])  # fmt: skip
def test_wrong_settings_are_refused_before_anything_begins(tmp_path: Path, word: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_pose(compose(tmp_path, ["experiment=pose", word]))


def test_the_command_line_decides_what_is_trained(trained: TrainingResult) -> None:
    assert configuration_of(["experiment=pose"]) == "pose"
    assert configuration_of(["experiment=pose_laptop", "seed=1"]) == "pose"
    assert configuration_of(["experiment=laptop"]) == "train"
    assert configuration_of([]) == "train"
    assert configuration_of([f"resume={trained.run}"]) == "pose"
    assert configuration_of([f"resume={trained.checkpoint}"]) == "pose"
    assert configuration_of(["resume=nowhere"]) == "train"
