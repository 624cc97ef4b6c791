"""A bundle beside every checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer

from dactyl_tl.checkpoint import save_bundle
from dactyl_tl.estimators.bundles import save_estimator
from dactyl_tl.vision.calibration import camera_calibration


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
        self._save(self.directory / path.stem, pl_module, config)

    def _save(self, directory: Path, module: Any, config: dict[str, Any]) -> None:
        save_bundle(directory, module.actor, config)


class EstimatorBundles(Bundles):
    """The same of a network that sees."""

    def _save(self, directory: Path, module: Any, config: dict[str, Any]) -> None:
        save_estimator(
            directory,
            module.network,
            task=config["environment"]["task"],
            cameras=camera_calibration(),
            config=config,
        )
