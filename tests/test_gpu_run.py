"""The one command that trains on a GPU, stops when its time is up and goes on when it is typed again.

Run here on Warp's CPU device, with small sizes; the rest is the command as it is.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dactyl_tl.metrics import read_metrics

FRAMES = 8 * 20
SMALL = [
    "collection.num_envs=8",
    "ppo.minibatches=2",
    "ppo.epochs=1",
    "environment.initial_states.steps=2",
    "logger=csv",
]
NETWORK = ["network.dense=32", "network.lstm=16"]
ON_CPU = ["environment.device=cpu", "environment.engine=warp", "trainer.accelerator=cpu"]


def train_gpu(run: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return train_line(run, "experiment=gpu", *NETWORK, *words)


def train_line(run: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "train.py", "resume=auto", f"hydra.run.dir={run}", *SMALL, *words],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=150,
    )


def checkpoint(run: Path) -> dict:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.timeout(300)
def test_the_same_command_goes_on_where_it_stopped_also_on_another_engine(tmp_path):
    run = tmp_path / "run"
    begun = train_gpu(run, *ON_CPU, f"frames={2 * FRAMES}")
    assert begun.returncode == 0, begun.stderr
    before = checkpoint(run)
    assert before["RolloutDataModule"]["frames"] == 2 * FRAMES

    went_on = train_gpu(run, *ON_CPU, f"frames={3 * FRAMES}")
    assert went_on.returncode == 0, went_on.stderr
    other_engine = train_gpu(run, *ON_CPU, "environment.engine=native", f"frames={5 * FRAMES}")
    assert other_engine.returncode == 0, other_engine.stderr

    after = checkpoint(run)
    assert [row["frames"] for row in read_metrics(run / "metrics.csv")] == [FRAMES * k for k in range(1, 6)]
    assert after["RolloutDataModule"]["frames"] == 5 * FRAMES
    steps = [next(iter(c["optimizer_states"][0]["state"].values()))["step"] for c in (before, after)]
    assert steps[1] == steps[0] * 5 / 2  # Adam went on
    assert after["state_dict"]["rollouts"] == 5


@pytest.mark.timeout(300)
def test_simulations_that_differ_begin_new_episodes_and_say_so(tmp_path):
    keep = "collection.keep_simulations=true"
    assert train_gpu(tmp_path, *ON_CPU, keep, f"frames={FRAMES}").returncode == 0
    other = train_gpu(tmp_path, *ON_CPU, keep, "environment.engine=native", f"frames={2 * FRAMES}")
    assert other.returncode == 0, other.stderr
    assert "begin new episodes: the checkpoint's were 8 of the warp engine, not 8 of the nat" in other.stderr
    fewer = train_gpu(
        tmp_path, *ON_CPU, keep, "environment.engine=native", "collection.num_envs=4", f"frames={3 * FRAMES}"
    )
    assert fewer.returncode == 0, fewer.stderr
    assert "not 4 of the native engine" in fewer.stderr


def test_minutes_end_it_with_a_checkpoint(tmp_path):
    done = train_gpu(tmp_path, *ON_CPU, "minutes=0.02")
    assert done.returncode == 0, done.stderr
    assert checkpoint(tmp_path)["RolloutDataModule"]["frames"] >= FRAMES


def test_a_shipped_policy_goes_on_where_a_gpu_is(tmp_path):
    line = ["experiment=finetune_gpu", "policy=block", *ON_CPU]
    for rollouts in (1, 2):
        done = train_line(tmp_path, *line, f"frames={rollouts * FRAMES}")
        assert done.returncode == 0, done.stderr
        assert "feedforward policy of 256 and 128 units" in done.stdout
    assert checkpoint(tmp_path)["RolloutDataModule"]["frames"] == 2 * FRAMES


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_before_anything_starts(tmp_path):
    refused = train_gpu(tmp_path / "run")
    assert refused.returncode == 2
    assert refused.stderr == "error: device is 'cuda', but this machine has no GPU that PyTorch can use.\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
@pytest.mark.timeout(900)
def test_it_trains_on_the_gpu_and_goes_on_without_one(tmp_path):
    begun = train_gpu(tmp_path, f"frames={2 * FRAMES}")
    assert begun.returncode == 0, begun.stderr
    went_on = train_gpu(tmp_path, *ON_CPU, f"frames={3 * FRAMES}")
    assert went_on.returncode == 0, went_on.stderr
    assert checkpoint(tmp_path)["RolloutDataModule"]["frames"] == 3 * FRAMES
