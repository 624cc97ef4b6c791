"""How fast training is, and what takes the time."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Log environment frames per second of wall-clock time and the shares of collecting and learning.

    The rest to 1 is everything else: checkpoints, evaluation, logging.
    """

    def __init__(self) -> None:
        self._ended = self._collecting = self._learning = 0.0
        self._frames = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._ended = time.perf_counter()
        self._frames = int(pl_module.frames)  # type: ignore[arg-type]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collection begins."""
        self._collecting = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Learning begins."""
        self._learning = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Log the times of this rollout."""
        now = time.perf_counter()
        total = now - self._ended
        frames = int(pl_module.frames)  # type: ignore[arg-type]
        pl_module.log_dict(
            {
                "throughput/frames_per_second": (frames - self._frames) / total,
                "throughput/collecting": (self._learning - self._collecting) / total,
                "throughput/learning": (now - self._learning) / total,
            },
            batch_size=1,
        )
        self._ended, self._frames = now, frames
