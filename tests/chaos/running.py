"""``train.py`` in processes of its own, what it leaves behind, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dactyl_tl.metrics import read_metrics
from dactyl_tl.training import train
from tests.compose import TOY, compose

ROOT = Path(__file__).parents[2]
WORDS = ["experiment=smoke", TOY, "collection=multiprocess", "collection.workers=2", "collection.num_envs=2"]
PATIENCE = 60.0
"""Seconds that a test waits for anything."""


class Trainer:
    """A command in a process group of its own, as a terminal starts it.

    Args:
        run: directory of the run.
        words: overrides besides those of every test.
        command: that runs ``train.py``.
        environment: variables besides those of the tests.
    """

    def __init__(
        self,
        run: Path,
        *words: str,
        command: Sequence[str] = (sys.executable, "train.py"),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.run = run
        self.process = subprocess.Popen(
            [*command, *WORDS, "frames=null", f"hydra.run.dir={run}", *words],
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
        )
        self.descendants: set[int] = set()

    def wait_for_rollouts(self, count: int) -> None:
        wait(lambda: len(self.frames()) >= count or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()[0]
        self.descendants = descendants(self.process.pid)

    def frames(self) -> list[float]:
        """After each rollout so far."""
        return [row["frames"] for row in read_metrics(self.run / "metrics.csv")]

    def workers(self, of: int | None = None) -> list[int]:
        """Workers of all ranks, or of the rank with this process id."""
        found = self.descendants if of is None else descendants(of)
        return sorted(pid for pid in found if "spawn_main" in command(pid))

    def ranks(self) -> list[int]:
        """Process ids of the ranks but the first."""
        return sorted(pid for pid in self.descendants if "train_ddp_process" in command(pid))

    def finish(self) -> str:
        return self.process.communicate(timeout=PATIENCE)[0]

    def kill(self) -> None:
        for pid in descendants(self.process.pid) | self.descendants | {self.process.pid}:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if path.exists():
        for child in map(int, path.read_text().split()):
            found |= {child} | descendants(child)
    return found


def command(pid: int) -> str:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_text().replace("\0", " ") if path.exists() else ""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_none_left(pids: set[int]) -> None:
    deadline = time.monotonic() + 10.0
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, [command(pid) for pid in left]
        time.sleep(0.05)


def saved_frames(run: Path) -> int:
    """That the run's last checkpoint has behind it."""
    return int(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["frames"])


def assert_resumable(run: Path) -> int:
    """The run goes on where it stopped; returns the frames it stopped at.

    It does so in this process, which takes the same states and starts sooner.
    """
    stopped = saved_frames(run)
    frames = stopped + 64
    words = [*WORDS, "collection.kind=inprocess", f"frames={frames}", f"resume={run}"]
    result = train(compose(run, words))
    assert result.frames == frames
    return stopped
