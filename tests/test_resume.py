"""A resumed run is the run that was never stopped, bit for bit."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from dactyl_tl.collection.datamodule import RolloutDataModule
from dactyl_tl.errors import CollectionError
from dactyl_tl.metrics import read_metrics
from dactyl_tl.training import train
from tests.compose import TOY, compose

FRAMES = 64
"""Of a rollout of experiment=smoke."""

CURRICULUM = (
    TOY,
    "collection.window=4",
    "ppo.learning_rate_schedule=kl",
    "callbacks=[default,curriculum]",
    "callbacks.goal_curriculum.threshold=0.0",
    "callbacks.goal_curriculum.episodes=1",
)
"""A goal curriculum that moves at every rollout, and a schedule with memory."""


def run(directory: Path, rollouts: int, *overrides: str, resume: Path | None = None) -> dict:
    words = ["experiment=smoke", f"frames={rollouts * FRAMES}", *overrides]
    if resume is not None:
        words.append(f"resume={resume}")
    result = train(compose(directory, words))
    assert result.frames == rollouts * FRAMES
    return torch.load(directory / "checkpoints" / "last.ckpt", weights_only=True)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """``python train.py`` with ``words``, as typed in the repository."""
    return subprocess.run(
        [sys.executable, "train.py", *words],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=150,
    )


def assert_same(left: object, right: object, where: str = "") -> None:
    """Equal nested containers of tensors and values."""
    assert type(left) is type(right), where
    if isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_same(left[key], right[key], f"{where}/{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), where
        for index, pair in enumerate(zip(left, right, strict=True)):
            assert_same(*pair, f"{where}/{index}")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    else:
        assert left == right, where


def assert_one_run(folder: Path, frames: int) -> list[dict[str, float]]:
    """``straight`` and ``parts`` in ``folder`` hold four rollouts of one run; returns their metrics."""
    runs = [folder / name for name in ("straight", "parts")]
    straight, resumed = (torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in runs)
    for part in ("state_dict", "optimizer_states", "critic_states", "RolloutDataModule", "loops"):
        if part in straight:
            assert_same(straight[part], resumed[part], part)
    ranks = straight["RolloutDataModule"]["ranks"]
    assert all(ranks), "the simulations' states are there"
    assert len({str(each) for each in ranks}) == len(ranks), "each rank has simulations of its own"

    expected, rows = (read_metrics(run / "metrics.csv") for run in runs)
    assert [row["frames"] for row in rows] == [frames * k for k in (1, 2, 3, 4)]
    for one, other in zip(expected, rows, strict=True):
        for key in one:
            if not key.startswith(("throughput/", "memory/")):
                assert one[key] == pytest.approx(other[key], rel=0, abs=0, nan_ok=True), key
    return rows


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(("collection=inprocess", "collection.workers=1"), id="inprocess"),
        pytest.param(
            ("collection=inprocess", "collection.workers=1", "network.policy=feedforward"), id="feedforward"
        ),
        pytest.param(
            ("collection=multiprocess", "collection.workers=2", "collection.num_envs=2"), id="multiprocess"
        ),
        pytest.param(("collection=inprocess", "environment.engine=warp"), id="warp"),
        pytest.param(
            ("collection=inprocess", "collection.workers=2", "collection.num_envs=2", *CURRICULUM),
            id="toy-curriculum-schedule",
        ),
    ],
)
def test_resuming_is_bit_exact(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    run(tmp_path / "straight", 4, *overrides)
    run(tmp_path / "parts", 2, *overrides)
    run(tmp_path / "parts", 4, *overrides, resume=tmp_path / "parts")
    assert_one_run(tmp_path, FRAMES)


def test_a_run_can_be_moved_and_its_bundle_does_not_tell_where_it_was(tmp_path: Path) -> None:
    run(tmp_path / "here", 1, TOY, "logger=csv")
    (tmp_path / "here").rename(tmp_path / "there")
    done = command(f"resume={tmp_path / 'there'}", f"frames={2 * FRAMES}")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "here").exists()
    rows = read_metrics(tmp_path / "there" / "metrics.csv")
    assert [row["frames"] for row in rows] == [FRAMES, 2 * FRAMES]
    for file in (tmp_path / "there" / "bundles" / "last" / "bundle.json", tmp_path / "there" / "config.yaml"):
        assert str(tmp_path) not in file.read_text()


def test_a_run_that_is_resumed_at_its_end_stays_as_it_was(tmp_path: Path) -> None:
    ended = run(tmp_path, 2, TOY)
    again = run(tmp_path, 2, TOY, resume=tmp_path)
    assert_same(ended["state_dict"], again["state_dict"])
    assert len(read_metrics(tmp_path / "metrics.csv")) == 2


def test_a_run_that_cannot_begin_again_keeps_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, 2, TOY)
    before = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()

    def fail(data: RolloutDataModule, stage: str) -> None:
        raise CollectionError("no worker can start")

    monkeypatch.setattr(RolloutDataModule, "setup", fail)
    with pytest.raises(CollectionError, match="no worker can start"):
        run(tmp_path, 3, TOY, resume=tmp_path)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == before


def test_same_seed_same_weights_other_seed_others(tmp_path: Path) -> None:
    words = (TOY, "logger=csv")
    weights = [
        run(tmp_path / f"{index}", 2, *words, f"seed={seed}")["state_dict"]
        for index, seed in enumerate((3, 3, 4))
    ]
    assert_same(weights[0], weights[1])
    key = "loss.actor_network.module.0.module.dense.weight"
    key = key if key in weights[0] else next(k for k in weights[0] if k.endswith("dense.weight"))
    assert not torch.equal(weights[0][key], weights[2][key])


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param((), id="hand"),
        pytest.param(CURRICULUM, id="toy-curriculum-schedule"),
    ],
)
def test_two_ranks_resume_bit_exactly(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    frames = 2 * 4 * 16  # ranks, simulations, steps
    start = ("experiment=smoke", "trainer.accelerator=cpu", "trainer.devices=2", *overrides)
    for words in (
        (*start, f"frames={4 * frames}", f"hydra.run.dir={tmp_path / 'straight'}"),
        (*start, f"frames={2 * frames}", f"hydra.run.dir={tmp_path / 'parts'}"),
        (f"resume={tmp_path / 'parts'}", f"frames={4 * frames}"),
    ):
        done = command(*words)
        assert done.returncode == 0, done.stderr
    rows = assert_one_run(tmp_path, frames)
    if overrides:
        lessons = [row["curriculum/goal_angle"] for row in rows]
        assert lessons == sorted(lessons)
        assert lessons[-1] > lessons[1], "the curriculum moved after the run was resumed"


def test_another_number_of_ranks_goes_on_with_new_episodes(tmp_path: Path) -> None:
    said = "The simulations begin new episodes: the checkpoint's number of ranks is {}, not {}."
    words = (TOY, "trainer.accelerator=cpu", "collection.window=4")
    alone = run(tmp_path, 2, *words)["state_dict"]["frames"]

    more = command(f"resume={tmp_path}", "trainer.devices=2", f"frames={alone + 4 * FRAMES}")
    assert more.returncode == 0, more.stderr
    assert more.stderr.count(said.format(1, 2)) == 1, more.stderr
    assert "Traceback" not in more.stderr

    with pytest.warns(UserWarning, match=re.escape(said.format(2, 1))) as warned:
        run(tmp_path, 7, *words, resume=tmp_path)
    assert len([each for each in warned if "new episodes" in str(each.message)]) == 1
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["frames"] for row in rows] == [FRAMES * k for k in (1, 2, 4, 6, 7)]


def test_the_command_resumes_with_the_runs_own_configuration(tmp_path: Path) -> None:
    """It remembers the policy that it began with, which need not exist any more."""
    run(tmp_path / "first", 1, TOY, "network.dense=24")
    words = (TOY, "network.dense=24", f"policy={tmp_path / 'first'}")
    straight = run(tmp_path / "straight", 3, *words)
    run(tmp_path / "parts", 2, *words)
    shutil.rmtree(tmp_path / "first")

    resume = f"resume={tmp_path / 'parts'}"
    for word, group in (("network=paper", "network"), ("policy=block_none", "policy")):
        refused = command(resume, word)
        assert refused.returncode == 2
        assert refused.stderr == f"error: a resumed run keeps its own {group}; leave out {word}\n"
    resumed = command(resume, f"frames={3 * FRAMES}")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr == ""
    assert f"{3 * FRAMES} frames" in resumed.stdout
    assert OmegaConf.load(tmp_path / "parts" / "config.yaml").policy == str(tmp_path / "first")
    checkpoint = torch.load(tmp_path / "parts" / "checkpoints" / "last.ckpt", weights_only=True)
    assert_same(straight["state_dict"], checkpoint["state_dict"])
