"""Ranks that die, stop or lose touch: an end within seconds, a checkpoint to resume from, no process left."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.running import Trainer, assert_resumable, saved_frames
from tests.processes import assert_none_left

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc"),
    pytest.mark.filterwarnings("ignore:The simulations begin new episodes"),  # as they must
]

SILENCE = 3
"""Seconds of ``collection.patience``."""

RANKS = (
    "trainer.accelerator=cpu",
    "trainer.devices=2",
    "collection.workers=1",
    "collection.steps=64",
    f"collection.patience={SILENCE}",
)


@pytest.fixture
def two_ranks(tmp_path: Path) -> Iterator[Trainer]:
    """Two ranks in the middle of their third rollout."""
    trainer = Trainer(tmp_path / "run", *RANKS)
    trainer.wait_for_rollouts(2)
    yield trainer
    trainer.kill()


def assert_ended_well(trainer: Trainer, output: str) -> str:
    """Exit code 3, plain words, no process, a run that goes on; returns what was lost."""
    assert trainer.process.returncode == 3, output
    assert "Traceback" not in output
    assert f"Continue with: python train.py resume={trainer.run}" in output
    assert_none_left(trainer.descendants)
    last, saved = trainer.frames()[-1], assert_resumable(trainer.run)
    if "before an update was complete" in output:
        assert saved <= last
        return "since the last checkpoint"
    assert saved == last, "only the rollout in progress is lost"
    return "the rollout in progress"


@pytest.mark.parametrize(
    ("number", "limit", "said"),
    [
        pytest.param(signal.SIGKILL, 20.0, "ended with signal SIGKILL", id="killed"),
        pytest.param(signal.SIGSTOP, SILENCE + 20.0, "does not answer; it is stopped", id="stopped"),
    ],
)
def test_a_lost_rank_ends_training(
    two_ranks: Trainer, record_chaos: Callable[..., None], number: signal.Signals, limit: float, said: str
) -> None:
    (victim,) = two_ranks.ranks()
    os.kill(victim, number)
    began = time.monotonic()
    output = two_ranks.finish()
    detected = time.monotonic() - began
    assert detected < limit
    assert f"rank 1 of 2 (process {victim}) {said}" in output, output
    lost = assert_ended_well(two_ranks, output)
    what = f"rank 1 {'killed' if number == signal.SIGKILL else f'stopped, patience {SILENCE} s'}"
    record_chaos(what, detected, lost, "resume, new episodes")


@pytest.mark.parametrize("stopped", [False, True])
def test_no_rank_outlives_rank_0(
    two_ranks: Trainer, record_chaos: Callable[..., None], stopped: bool
) -> None:
    if stopped:
        os.kill(two_ranks.ranks()[0], signal.SIGSTOP)
    os.kill(two_ranks.process.pid, signal.SIGKILL)
    began = time.monotonic()
    assert_none_left(two_ranks.descendants)
    ended = time.monotonic() - began
    two_ranks.finish()
    assert_resumable(two_ranks.run)
    other = ", the other stopped" if stopped else ""
    record_chaos(f"rank 0 killed{other}", ended, "since the last checkpoint", "resume, new episodes")


def test_a_killed_worker_of_another_rank_ends_training(
    two_ranks: Trainer, record_chaos: Callable[..., None]
) -> None:
    (rank_1,) = two_ranks.ranks()
    (victim,) = two_ranks.workers(of=rank_1)
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    output = two_ranks.finish()
    detected = time.monotonic() - began
    assert detected < 30.0
    assert f"error: rank 1: worker 0 of 1 (process {victim}) ended with signal SIGKILL" in output
    assert f"error: rank 1 of 2 (process {rank_1}) ended with exit code 3" in output, output
    lost = assert_ended_well(two_ranks, output)
    record_chaos("worker of rank 1 killed", detected, lost, "resume, new episodes")


def connections(pids: set[int]) -> list[tuple[str, str]]:
    """Both ends of every connection of which each end is one of the processes'."""
    listing = subprocess.run(
        ["ss", "-tnpH", "state", "established"], capture_output=True, text=True, check=True
    ).stdout
    owners: dict[tuple[str, str], int] = {}
    for line in listing.splitlines():
        fields, owner = line.split(), re.search(r"pid=(\d+)", line)
        if owner and int(owner[1]) in pids:
            owners[fields[2], fields[3]] = int(owner[1])
    return [ends for ends, pid in owners.items() if owners.get(ends[::-1], pid) != pid]


def cut(one: str, other: str) -> None:
    """Close the connection between two addresses ``host:port``, and no other."""
    (host, port), (peer, peer_port) = one.rsplit(":", 1), other.rsplit(":", 1)
    ends = ["src", host, "sport", "=", f":{port}", "dst", peer]
    subprocess.run(
        ["ss", "-K", "-tn", *ends, "dport", "=", f":{peer_port}"], capture_output=True, check=False
    )


@pytest.mark.skipif(shutil.which("ss") is None, reason="there is no ss")
def test_a_cut_connection_ends_training(two_ranks: Trainer, record_chaos: Callable[..., None]) -> None:
    pids = {two_ranks.process.pid, *two_ranks.ranks()}
    between = connections(pids)
    assert between
    began = time.monotonic()
    for ends in between:
        cut(*ends)
    if set(between) & set(connections(pids)):
        pytest.skip("this system does not let ss close a connection")
    output = two_ranks.finish()
    detected = time.monotonic() - began
    assert detected < 20.0
    lost = assert_ended_well(two_ranks, output)
    record_chaos("connection between ranks cut", detected, lost, "resume, new episodes")


@pytest.mark.parametrize("group", [True, False], ids=["all", "rank 0"])
def test_sigterm_is_a_checkpoint_of_all_ranks(
    two_ranks: Trainer, record_chaos: Callable[..., None], group: bool
) -> None:
    if group:
        os.killpg(two_ranks.process.pid, signal.SIGTERM)
    else:
        os.kill(two_ranks.process.pid, signal.SIGTERM)
    began = time.monotonic()
    output = two_ranks.finish()
    ended = time.monotonic() - began
    assert two_ranks.process.returncode == 128 + signal.SIGTERM, output
    assert output.count("Ending after this rollout") == 1
    assert "Traceback" not in output
    assert_none_left(two_ranks.descendants)
    assert saved_frames(two_ranks.run) == two_ranks.frames()[-1], "nothing is lost"
    assert_resumable(two_ranks.run)
    whom = "all ranks" if group else "rank 0"
    record_chaos(f"SIGTERM to {whom}", ended, "nothing", "resume, bit for bit on as many ranks")


def test_torchrun_ends_its_ranks_with_a_checkpoint(tmp_path: Path) -> None:
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "train.py"]
    trainer = Trainer(tmp_path / "run", *RANKS, command=runner)
    try:
        trainer.wait_for_rollouts(2)
        os.kill(trainer.process.pid, signal.SIGTERM)  # which it hands on
        output = trainer.finish()
        assert "Stopped by SIGTERM after a complete rollout" in output
        assert_none_left(trainer.descendants)
        assert saved_frames(trainer.run) == trainer.frames()[-1]
    finally:
        trainer.kill()


def test_ranks_that_would_write_to_two_places_are_refused(tmp_path: Path) -> None:
    """As torchrun's do without a name, which start in different seconds."""
    script = tmp_path / "train_each.py"
    script.write_text(
        "import os, sys\nfrom dactyl_tl.launch import main\n"
        "sys.argv.append(f'hydra.run.dir={sys.argv.pop()}{os.environ[\"RANK\"]}')\nmain()\n"
    )
    runner = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
    ]
    trainer = Trainer(tmp_path / "run", *RANKS, str(tmp_path / "other"), command=runner)
    try:
        output = trainer.finish()
        assert f"the ranks would write to {tmp_path}/other0 and {tmp_path}/other1; name one" in output, output
        assert "hydra.run.dir=DIRECTORY" in output
    finally:
        trainer.kill()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_slurm_gets_a_checkpoint_and_lightning_does_not_queue_the_job(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Two tasks as srun starts them; a limit of time is announced to both."""
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(f"#!/bin/sh\ntouch {tmp_path / 'queued'}\n")
    scontrol.chmod(0o755)
    job = {"JOB_ID": str(os.getpid()), "JOB_NAME": "train", "NTASKS": "2", "NTASKS_PER_NODE": "2"}
    job |= {"NNODES": "1", "NODELIST": "127.0.0.1", "NODEID": "0"}
    ranks = []
    for rank in range(2):
        task = {f"SLURM_{name}": value for name, value in job.items()}
        task |= {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        task["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        ranks.append(Trainer(tmp_path / "run", *RANKS, environment=task))
    try:
        for trainer in ranks:
            trainer.wait_for_rollouts(2)
        for trainer in ranks:
            os.kill(trainer.process.pid, number)
        outputs = [trainer.finish() for trainer in ranks]
        assert [trainer.process.returncode for trainer in ranks] == [128 + number] * 2, outputs
        assert not (tmp_path / "queued").exists()
        assert saved_frames(tmp_path / "run") == ranks[0].frames()[-1]
    finally:
        for trainer in ranks:
            trainer.kill()
