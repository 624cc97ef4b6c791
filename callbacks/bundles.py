"""A policy bundle beside every checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer

from dactyl_tl.checkpoint import save_bundle


class Bundles(Callback):
    """Export the policy as ``<directory>/last`` and ``<directory>/best`` whenever a checkpoint is written.

    Args:
        directory: of the bundles.
        config: file with the run's resolved configuration, kept in the bundle for the record.
    """

    def __init__(self, directory: str | Path, config: str | Path) -> None:
        self.directory, self._config = Path(directory), Path(config)

    def on_checkpoint(self, trainer: Trainer, pl_module: LightningModule, path: Path) -> None:
        """Write the bundle that belongs to the checkpoint at ``path``."""
        if not trainer.is_global_zero:
            return
        config: Any = OmegaConf.to_container(OmegaConf.load(self._config), resolve=True)
        save_bundle(self.directory / path.stem, pl_module.actor, config)  # type: ignore[arg-type]
