"""When a session of training ends: by the clock, by frames, by a signal."""

from __future__ import annotations

import signal
import sys
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_only

from dactyl_tl.errors import ENDING_SIGNALS
from dactyl_tl.ranks import any_rank


class Session(Callback):
    """What ends a session, and the bookkeeping of its rollouts.

    The first Ctrl-C, SIGTERM or SIGUSR1, to any rank, ends training after the rollout that is being worked
    on, so that the checkpoint continues exactly; a second Ctrl-C ends it at once. Under Slurm,
    ``--signal=USR1@120`` asks for it two minutes ahead of the limit, and ``resume=auto`` goes on.

    Args:
        minutes: wall-clock limit from the first rollout on.
        frames: limit in environment frames, or in whatever the module counts as ``frames``.
        unit: what is complete before training ends, in words.
    """

    def __init__(self, minutes: float | None, frames: int | None, unit: str = "rollout") -> None:
        self._unit = unit
        self._limit_seconds = None if minutes is None else 60.0 * minutes
        self._limit_frames = frames
        self._frames = 0
        self._began = time.monotonic()
        self.signal: signal.Signals | None = None
        self.learning = False
        """Whether an update is under way; otherwise a rollout is being collected."""

    @property
    def seconds(self) -> float:
        """Since the first rollout began."""
        return time.monotonic() - self._began

    @property
    def progress(self) -> float | None:
        """Share of the nearest limit that is used up; None without limits."""
        return max(self._shares(), default=None)

    def _shares(self) -> Iterator[float]:
        if self._limit_seconds is not None:
            yield self.seconds / max(self._limit_seconds, 1e-9)
        if self._limit_frames is not None:
            yield self._frames / self._limit_frames

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; end at once if all frames are there, as in a run that is resumed at its end."""
        self._began = time.monotonic()
        self._frames = int(pl_module.frames)  # type: ignore[arg-type]
        trainer.should_stop = self._limit_frames is not None and self._frames >= self._limit_frames
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._receive)  # Lightning's own would drop the rollout

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Learning begins."""
        self.learning = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Log what the rollout said; decide whether it was the last."""
        self.learning = False
        pl_module.log_dict(trainer.datamodule.metrics, batch_size=1)  # type: ignore[attr-defined]
        self._frames = int(pl_module.frames)  # type: ignore[arg-type]
        over = self.signal is not None or (self.progress or 0.0) >= 1.0
        if any_rank(over):
            trainer.should_stop = True

    @contextmanager
    def graceful_signals(self) -> Iterator[None]:
        """Handle signals as described above, if this is the main thread.

        With a handler for SIGUSR1 in place Lightning does not put its own there, which would save in the
        middle of an update and have Slurm queue the job again.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._receive) for number in ENDING_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        if self.signal is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        if getattr(rank_zero_only, "rank", 0) == 0:
            print(f"Ending after this {self._unit}; Ctrl-C again ends at once.", file=sys.stderr, flush=True)
