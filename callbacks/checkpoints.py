"""Checkpoints that continue exactly: the last one, and the best one by consecutive successes."""

from __future__ import annotations

import copy
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from callbacks.curriculum import LESSON
from dactyl_tl.errors import CheckpointError, CollectionError, RankError
from dactyl_tl.policies import BEST, LAST
from dactyl_tl.ranks import apart


class Checkpoints(Checkpoint):  # Lightning runs this kind after all other callbacks
    """Write ``last.ckpt`` at first, now and then and when training ends, and ``best.ckpt`` when it is better.

    Other callbacks that have a method ``on_checkpoint(trainer, module, path)`` are told of every file.

    A worker or a rank that was lost takes its simulations along; the checkpoint written then has the
    learner as it was after the last complete rollout, and all simulations begin new episodes when
    resumed.

    Where a curriculum makes the task harder, the best of the easier task no longer counts.

    Args:
        directory: of the files.
        minutes: between two checkpoints.
        monitor: metric that says which is best.
        mode: ``"max"``, the greater the better, or ``"min"``.
        episodes: that must have ended before a checkpoint can be the best.
    """

    def __init__(
        self,
        directory: str | Path,
        minutes: float = 2.0,
        monitor: str = "episode/successes",
        mode: str = "max",
        episodes: int = 50,
    ) -> None:
        self.directory = Path(directory)
        if mode not in ("max", "min"):
            raise ValueError(f"checkpoints.mode is {mode!r}; choose from max, min")
        self.monitor = monitor
        self._sign = 1.0 if mode == "max" else -1.0
        self.best = -math.inf
        self._lesson: dict[str, float] = {}
        self._period = 60.0 * minutes
        self._episodes = episodes
        self._due = math.inf
        self._loops: dict[str, Any] | None = None  # until training begins

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first rollout ends with a checkpoint, so that there is one and trouble with the disk shows."""
        self._due = time.monotonic()
        self._loops = copy.deepcopy(trainer.fit_loop.state_dict())

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoints that are due."""
        self._loops = copy.deepcopy(trainer.fit_loop.state_dict())
        # The clock and the metrics of rank 0 decide, because gathering the state takes all ranks.
        if not trainer.strategy.broadcast(time.monotonic() >= self._due or trainer.should_stop):
            return
        self._due = time.monotonic() + self._period
        metrics = trainer.callback_metrics
        lesson = {key: float(metrics[key]) for key in metrics if key.startswith(LESSON)}
        if lesson != self._lesson:
            self.best, self._lesson = -math.inf, lesson
        value = self._sign * float(metrics.get(self.monitor, math.nan))
        enough = float(metrics.get("episode/finished", 0)) >= self._episodes
        better = trainer.strategy.broadcast(value > self.best and enough)
        if better:
            self.best = value
        self._save(trainer, self.directory / LAST)
        if better:
            self._copy(trainer, self.directory / LAST, self.directory / BEST)
        for path in [self.directory / LAST, *([self.directory / BEST] if better else [])]:
            self._tell(trainer, pl_module, path)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the learner if training failed between two updates; otherwise keep what there is.

        Before training began there is nothing to save: a run that is resumed has not read its checkpoint yet.
        The learner is the same on all ranks, of which others may not answer any more.
        """
        between_updates = isinstance(exception, (CollectionError, RankError)) and self._loops is not None
        if not between_updates or not trainer.is_global_zero:
            return
        path = self.directory / LAST
        with apart():
            self._save(trainer, path, self._loops)
        self._tell(trainer, pl_module, path)

    def _save(self, trainer: Trainer, path: Path, loops: dict[str, Any] | None = None) -> None:
        checkpoint = trainer._checkpoint_connector.dump_checkpoint()
        if loops is not None:
            checkpoint["loops"]["fit_loop"] = loops
        partial = path.with_suffix(".partial")
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            trainer.strategy.save_checkpoint(checkpoint, partial)
            if trainer.is_global_zero:
                os.replace(partial, path)
        except (OSError, RuntimeError) as error:
            partial.unlink(missing_ok=True)
            raise CheckpointError(f"cannot write the checkpoint {path}: {error}") from error

    def _copy(self, trainer: Trainer, source: Path, target: Path) -> None:
        if not trainer.is_global_zero:
            return
        partial = target.with_suffix(".partial")
        try:
            shutil.copyfile(source, partial)
            os.replace(partial, target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise CheckpointError(f"cannot write the checkpoint {target}: {error}") from error

    def _tell(self, trainer: Trainer, module: LightningModule, path: Path) -> None:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            told = getattr(callback, "on_checkpoint", None)
            if told is not None:
                told(trainer, module, path)

    def state_dict(self) -> dict[str, Any]:
        """The best value so far, and how hard the task was then."""
        return {"best": self.best, "lesson": self._lesson}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        self.best = state_dict["best"]
        self._lesson = state_dict.get("lesson", {})
