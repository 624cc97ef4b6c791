"""How fast training is, what takes the time, and how much memory."""

from __future__ import annotations

import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from dactyl_tl.resources import forget_peak_gpu, peak_gpu, peak_host, used_gpu
from dactyl_tl.simulation.scene import CAMERA_DIRECTIONS


class Throughput(Callback):
    """Log environment frames per second of wall-clock time and the shares of collecting and learning.

    The rest to 1 is everything else: checkpoints, evaluation, logging. Memory, in GB: on a GPU the most
    that tensors took during the rollout and its update, and all that is taken of it, simulations
    included; on the host the most this process ever took.
    """

    def __init__(self) -> None:
        self._ended = self._collecting = self._learning = 0.0
        self._frames = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._ended = time.perf_counter()
        self._frames = int(pl_module.frames)  # type: ignore[arg-type]
        if pl_module.device.type == "cuda":
            forget_peak_gpu(pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collection begins."""
        self._collecting = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Learning begins."""
        self._learning = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Log the times of this rollout."""
        frames = int(pl_module.frames)  # type: ignore[arg-type]  # on a GPU, waits for the update to end
        now = time.perf_counter()
        total = now - self._ended
        memory = {"memory/peak_host": peak_host()}
        if pl_module.device.type == "cuda":
            memory["memory/peak_gpu"] = peak_gpu(pl_module.device)
            memory["memory/used_gpu"] = used_gpu(pl_module.device)
            forget_peak_gpu(pl_module.device)
        pl_module.log_dict(
            {
                "throughput/frames_per_second": (frames - self._frames) / total,
                "throughput/collecting": (self._learning - self._collecting) / total,
                "throughput/learning": (now - self._learning) / total,
                **memory,
            },
            batch_size=1,
        )
        self._ended, self._frames = now, frames


class PictureThroughput(Callback):
    """Log pictures a second, the share of the time that the learner waits for them, memory of the host.

    Validation is left out.
    """

    def __init__(self) -> None:
        self._idle_since = self._waited = self._learned = 0.0
        self._frames = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count, and to wait for the first minibatch."""
        self._waited = self._learned = 0.0
        self._frames = int(pl_module.frames)  # type: ignore[arg-type]
        self._idle_since = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """The wait for a minibatch ends."""
        now = time.perf_counter()
        self._waited += now - self._idle_since
        self._idle_since = now

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """It is learnt; wait for the next."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        now = time.perf_counter()
        self._learned += now - self._idle_since
        self._idle_since = now

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means over the minibatches since the last report, and over the ranks."""
        sets = int(pl_module.frames) - self._frames  # type: ignore[arg-type]
        spent = self._waited + self._learned
        if not sets:
            return
        pl_module.log_dict(
            {
                "throughput/pictures_per_second": len(CAMERA_DIRECTIONS) * sets / spent,
                "throughput/waiting": self._waited / spent,
            },
            batch_size=1,
            sync_dist=True,
        )
        pl_module.log("memory/peak_host", peak_host(), batch_size=1, sync_dist=True, reduce_fx="max")
