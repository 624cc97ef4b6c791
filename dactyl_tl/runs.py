"""What every training run needs: a trainer, loggers, room on the disk, its configuration in a file."""

from __future__ import annotations

import logging
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.policies import CHECKPOINTS, LAST, RUN_CONFIG
from dactyl_tl.session import Session
from dactyl_tl.strategy import RankStrategy

FREE_SPACE = 8
"""A run needs this many times the networks' size on disk: two checkpoints with Adam's two moments,
one of them twice while it is replaced, and bundles."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training run left behind.

    Attributes:
        run: directory of the run.
        checkpoint: to resume from, if one was written.
        frames: environment frames, or sets of pictures, in total, earlier sessions of a resumed run included.
        seconds: wall-clock time of this session's training.
        metrics: last values of all metrics.
        interrupted: the signal that ended it early, or None.
    """

    run: Path
    checkpoint: Path | None
    frames: int
    seconds: float
    metrics: dict[str, float]
    interrupted: signal.Signals | None


def build_trainer(
    cfg: DictConfig, patience: float, loggers: list[Logger], callbacks: list[Callback], **options: Any
) -> Trainer:
    """Lightning's trainer as the section ``trainer`` says; ``options`` are what the kind of training needs.

    Args:
        cfg: of the run.
        patience: seconds that a rank may be silent.
        loggers, callbacks: of the run.
        options: of Lightning's ``Trainer``, before those of the section.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    options |= plain(cfg.trainer)
    alone = str(options.get("devices", 1)) == "1" and options.get("num_nodes", 1) == 1
    if not alone and options.get("strategy", "auto") in ("auto", "ddp"):
        options["strategy"] = RankStrategy(patience, Path(cfg.output_dir))
    try:
        return Trainer(
            max_epochs=-1,
            logger=loggers,
            callbacks=callbacks,
            enable_checkpointing=any(isinstance(each, Checkpoint) for each in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=cfg.output_dir,
            **options,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigurationError(f"trainer: {error}") from error


def finish(loggers: list[Logger]) -> None:
    """End what a logger runs beside us; W&B's service would outlive a run in a notebook or a test."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish()


def end(loggers: list[Logger], trainer: Trainer, orderly: bool) -> None:
    """End what runs beside a training: loggers and other ranks, ``orderly`` or because something failed."""
    finish(loggers)
    if isinstance(trainer.strategy, RankStrategy):
        trainer.strategy.close(orderly)


def result_of(run: Path, module: LightningModule, session: Session, trainer: Trainer) -> TrainingResult:
    """What the training in ``run`` left behind."""
    last = run / CHECKPOINTS / LAST
    return TrainingResult(
        run=run,
        checkpoint=last if last.exists() else None,
        frames=int(module.frames),  # type: ignore[arg-type]
        seconds=session.seconds,
        metrics={key: float(value) for key, value in trainer.callback_metrics.items()},
        interrupted=session.signal,
    )


def instantiate_all(group: DictConfig | None, name: str) -> list[Any]:
    """Every entry of a group that is not switched off with null."""
    try:
        return [
            instantiate(entry, _convert_="all", _recursive_=False)
            for entry in (group or {}).values()
            if entry is not None
        ]
    except InstantiationException as error:
        raise ConfigurationError(f"{name}: {error.__cause__ or error}") from error


def check_disk(run: Path, module: LightningModule) -> None:
    """Find out now, not at the first checkpoint, that the run's directory cannot take one."""
    needed = FREE_SPACE * sum(p.numel() * p.element_size() for p in module.parameters())
    try:
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run):
            pass
    except OSError as error:
        raise ConfigurationError(f"cannot write to the run's directory {run}: {error.strerror}") from error
    free = shutil.disk_usage(run).free
    if free < needed:
        raise ConfigurationError(
            f"{run} has {free / 1e6:.0f} MB left; checkpoints of these networks need {needed / 1e6:.0f} MB"
        )


@rank_zero_only
def write_config(cfg: DictConfig, run: Path) -> None:
    """The configuration beside the results, from which a resumed run starts.

    Resolved but for the run's own directory, so that it can be moved, and bundles do not tell where it was.
    """
    movable = cfg.copy()
    movable.output_dir = r"\${output_dir}"
    settings = plain(movable) | {"output_dir": ".", "resume": None}
    OmegaConf.save(OmegaConf.create(settings), run / RUN_CONFIG)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A section as plain types, resolved."""
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


@contextmanager
def threads(number: int) -> Iterator[None]:
    """With ``number`` threads in torch's operations; 0 leaves them as they are."""
    before = torch.get_num_threads()
    if number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Without messages that say nothing to somebody who trains."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning", "torchrl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # One rollout is one batch: neither loader workers nor validation make sense.
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*`IterableDataset` has `__len__` defined.*")
            # Epochs that end with a report have as many minibatches as are asked for.
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            warnings.filterwarnings("ignore", message=".*persistent_workers=True.*")
            # Of Slurm's being installed where the run is not one of its jobs.
            warnings.filterwarnings("ignore", message=".*The `srun` command is available.*")
            # Lightning's own use of torch.
            warnings.filterwarnings("ignore", message=".*`isinstance.treespec, LeafSpec.` is deprecated.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
