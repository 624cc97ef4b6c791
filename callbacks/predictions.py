"""Pictures of what a pose network sees: the true and the predicted pose drawn on the three views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger

from dactyl_tl.models.pictures import standardize
from dactyl_tl.vision.overlay import draw_poses


class Predictions(Callback):
    """Draw a few held-out sets after every validation; PNG files, also at Weights & Biases where logged to.

    Args:
        directory: of the files, which are named after the pictures learnt from.
        sets: of pictures from each validation.
    """

    def __init__(self, directory: str | Path, sets: int = 3) -> None:
        self.directory = Path(directory)
        self._sets = sets

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, and write the file."""
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        module: Any = pl_module
        frames = int(module.frames)
        rows = []
        task = trainer.datamodule.plan.task  # type: ignore[attr-defined]
        for loader in trainer.datamodule.val_dataloader():  # type: ignore[attr-defined]
            pictures, position, orientation, _ = next(iter(loader))
            chosen = pictures[: self._sets]
            with torch.no_grad():
                seen = module.network.pose(module.network(standardize(chosen.to(module.device))))
            predicted = tuple(each.cpu() for each in seen)
            rows.append(
                draw_poses(chosen, (position[: self._sets], orientation[: self._sets]), predicted, task)
            )
        sheet = torch.cat(rows)
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{frames:012d}.png"
        Image.fromarray(sheet.numpy()).save(path)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("predictions", [str(path)], step=frames)
