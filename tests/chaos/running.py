"""``train.py`` in processes of its own, what it leaves behind, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dactyl_tl.metrics import read_metrics
from dactyl_tl.training import train
from tests.compose import TOY, compose
from tests.processes import alive, command, descendants, wait

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
        self.run, self._log = run, run.with_suffix(".log")
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *WORDS, "frames=null", f"hydra.run.dir={run}", *words],
                cwd=ROOT,
                start_new_session=True,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
            )
        self.descendants: set[int] = set()

    def wait_for(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
        """Wait while training goes on; returns the seconds that took."""
        took = wait(lambda: condition() or self.process.poll() is not None, seconds)
        assert self.process.poll() is None, self.said()
        self.descendants = descendants(self.process.pid)
        return took

    def wait_for_rollouts(self, count: int) -> None:
        self.wait_for(lambda: len(self.rows()) >= count)

    def said(self) -> str:
        """All that the command has printed so far."""
        return self._log.read_text()

    def rows(self) -> list[dict[str, float]]:
        """The metrics of each rollout so far."""
        return read_metrics(self.run / "metrics.csv")

    def last(self, name: str) -> float:
        """A metric of the latest rollout."""
        return self.rows()[-1][name]

    def frames(self) -> list[float]:
        """After each rollout so far."""
        return [row["frames"] for row in self.rows()]

    def workers(self, of: int | None = None) -> list[int]:
        """Workers of all ranks, or of the rank with this process id."""
        found = self.descendants if of is None else descendants(of)
        return sorted(pid for pid in found if "spawn_main" in command(pid))

    def ranks(self) -> list[int]:
        """Process ids of the ranks but the first."""
        return sorted(pid for pid in self.descendants if "train_ddp_process" in command(pid))

    def finish(self, seconds: float = PATIENCE) -> str:
        """Wait for the end; all that was said."""
        self.process.wait(seconds)
        return self.said()

    def kill(self) -> None:
        for pid in descendants(self.process.pid) | self.descendants | {self.process.pid}:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


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
