"""The picture of the learning curves."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer

from dactyl_tl.curves import plot_curves


class Curves(Callback):
    """Draw the metrics file's curves whenever a checkpoint is written, and at the end.

    Args:
        metrics: the CSV file.
        picture: PNG file to draw into.
    """

    def __init__(self, metrics: str | Path, picture: str | Path) -> None:
        self._metrics, self._picture = Path(metrics), Path(picture)

    def on_checkpoint(self, trainer: Trainer, pl_module: LightningModule, path: Path) -> None:
        """Draw what is there so far."""
        self._draw(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw everything."""
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            plot_curves({"run": self._metrics}, self._picture)
