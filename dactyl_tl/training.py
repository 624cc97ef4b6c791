"""Training as a function of a configuration: :func:`train`.

The command is ``train.py``; tests and notebooks call :func:`train` with a composed configuration.
"""

from __future__ import annotations

import logging
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from dactyl_tl.collection.collectors import CollectionPlan
from dactyl_tl.collection.datamodule import RolloutDataModule
from dactyl_tl.collection.simulations import make_simulations, seed_of
from dactyl_tl.configuration import Settings, check
from dactyl_tl.errors import (
    ConfigurationError,
    InterruptedCollection,
    RankError,
    TrainingError,
)
from dactyl_tl.learning import PPOModule
from dactyl_tl.models import build_actor, build_critic, check_backend
from dactyl_tl.policies import CHECKPOINTS, LAST, RUN_CONFIG
from dactyl_tl.ranks import explain_loss, is_lost_connection, world_size
from dactyl_tl.resources import out_of_memory
from dactyl_tl.restoring import check_sizes, frames_of, load_weights, resolve_checkpoint
from dactyl_tl.session import Session
from dactyl_tl.simulation.engines import resolve_engine
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
        frames: environment frames in total, earlier sessions of a resumed run included.
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


def train(cfg: DictConfig) -> TrainingResult:
    """Train as ``conf/train.yaml`` and its groups describe.

    Raises:
        ConfigurationError: a setting, path or name cannot be used; no worker was started.
        TrainingError: a worker process or a rank was lost, a checkpoint could not be written, or a GPU
            has too little memory for the sizes asked for.
    """
    settings = check(cfg)
    run = Path(cfg.output_dir)
    checkpoint = resolve_checkpoint(cfg.resume, "resume") if cfg.resume else None
    with _quiet(), _threads(settings.collection.learner_threads):
        module = _build_module(settings, None if checkpoint else cfg.policy)
        if checkpoint is not None:
            check_sizes(module, checkpoint, "resume")
        _check_disk(run, module)
        loggers: list[Logger] = _instantiate(cfg.logger, "logger")
        callbacks: list[Callback] = _instantiate(cfg.callbacks, "callbacks")
        _write_config(cfg, run)
        session = Session(settings.minutes, settings.frames)
        trainer = _build_trainer(cfg, settings, loggers, [session, *callbacks])
        device = trainer.strategy.root_device
        _check_backend(settings, device)
        data = RolloutDataModule(
            collection_plan(
                settings, trainer.global_rank, device, frames_of(checkpoint) if checkpoint else 0
            ),
            module.actor,
            settings.collection.kind,
            settings.collection.window,
            stopping=lambda: session.signal is not None,
        )
        for logger in loggers:
            logger.log_hyperparams(_plain(cfg))
        orderly = False
        try:
            with session.graceful_signals():
                trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
            orderly = True
        except InterruptedCollection:
            pass  # the checkpoint holds all updates, and the session knows the signal
        except torch.OutOfMemoryError as error:
            raise TrainingError(out_of_memory(settings, session.learning, device)) from error
        except RuntimeError as error:
            if isinstance(error, TrainingError) or world_size() == 1 or not is_lost_connection(error):
                raise
            raise RankError(f"{explain_loss()}, before an update was complete") from error
        finally:
            data.close()
            _finish(loggers)
            if isinstance(trainer.strategy, RankStrategy):
                trainer.strategy.close(orderly)
    last = run / CHECKPOINTS / LAST
    return TrainingResult(
        run=run,
        checkpoint=last if last.exists() else None,
        frames=int(module.frames),
        seconds=session.seconds,
        metrics={key: float(value) for key, value in trainer.callback_metrics.items()},
        interrupted=session.signal,
    )


def collection_plan(
    settings: Settings, rank: int = 0, learner: torch.device | str = "cpu", frames: int = 0
) -> CollectionPlan:
    """How to collect, with seeds that no two workers, ranks or runs of other seeds share.

    Nor two sessions of a run: where simulations begin anew after it was resumed, as on another number of
    ranks, they do not repeat its first episodes. Simulations that a checkpoint holds go on as they were.

    Args:
        settings: of the run.
        rank: of this process among those that train together.
        learner: device of the learner.
        frames: that the run has behind it.
    """
    collection = settings.collection
    environment = dict(settings.environment)
    environment |= {"num_envs": collection.num_envs, "num_threads": collection.threads}
    entropy = (settings.seed, rank, *([frames] if frames else []))
    return CollectionPlan(
        make_env=partial(make_simulations, environment, entropy),
        make_policy=partial(build_actor, settings.network),
        workers=collection.workers,
        steps=collection.steps,
        chunk=settings.ppo.chunk,
        seed=seed_of(entropy, 0),
        threads=collection.threads,
        device=_acting_device(settings, learner),
        simulations=f"{collection.num_envs} of the {_engine(environment)} engine",
        keep_simulations=collection.keep_simulations,
        patience=collection.patience,
        address=collection.address,
        max_age=collection.max_age,
        gpus=collection.gpus,
    )


def _acting_device(settings: Settings, learner: torch.device | str) -> str:
    """Where the policy acts: with the learner, with the simulations of a Ray actor, or on the CPU."""
    if settings.collection.device == "learner":
        return str(learner)
    if settings.collection.kind == "ray":
        return str(settings.environment.get("device", "cpu"))
    return "cpu"


def _engine(environment: Mapping[str, Any]) -> str:
    # Runs of earlier versions have no device.
    return resolve_engine(environment["engine"], environment.get("device", "cpu"))


def _build_trainer(
    cfg: DictConfig, settings: Settings, loggers: list[Logger], callbacks: list[Callback]
) -> Trainer:
    options = _plain(cfg.trainer)
    alone = str(options.get("devices", 1)) == "1" and options.get("num_nodes", 1) == 1
    if not alone and options.get("strategy", "auto") in ("auto", "ddp"):
        options["strategy"] = RankStrategy(settings.collection.patience, Path(cfg.output_dir))
    try:
        return Trainer(
            max_epochs=-1,
            logger=loggers,
            callbacks=callbacks,
            enable_checkpointing=any(isinstance(each, Checkpoint) for each in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            default_root_dir=cfg.output_dir,
            **options,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigurationError(f"trainer: {error}") from error


def _build_module(settings: Settings, policy: str | None) -> PPOModule:
    torch.manual_seed(settings.seed)
    actor, critic = build_actor(settings.network), build_critic(settings.network)
    module = PPOModule(actor, critic, settings.ppo, keep_states=settings.collection.keep_simulations)
    if policy:
        load_weights(module, policy)
    return module


def _check_backend(settings: Settings, device: torch.device) -> None:
    try:
        check_backend(settings.network.backend, device)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _finish(loggers: list[Logger]) -> None:
    """End what a logger runs beside us; W&B's service would outlive a run in a notebook or a test."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish()


def _instantiate(group: DictConfig | None, name: str) -> list[Any]:
    """Every entry of a group that is not switched off with null."""
    try:
        return [
            instantiate(entry, _convert_="all", _recursive_=False)
            for entry in (group or {}).values()
            if entry is not None
        ]
    except InstantiationException as error:
        raise ConfigurationError(f"{name}: {error.__cause__ or error}") from error


def _check_disk(run: Path, module: PPOModule) -> None:
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
def _write_config(cfg: DictConfig, run: Path) -> None:
    """The configuration beside the results, from which a resumed run starts.

    Resolved but for the run's own directory, so that it can be moved, and bundles do not tell where it was.
    """
    movable = cfg.copy()
    movable.output_dir = r"\${output_dir}"
    settings = _plain(movable) | {"output_dir": ".", "resume": None}
    OmegaConf.save(OmegaConf.create(settings), run / RUN_CONFIG)


def _plain(cfg: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """With ``number`` threads in torch's operations; 0 leaves them as they are."""
    before = torch.get_num_threads()
    if number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
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
            # Of Slurm's being installed where the run is not one of its jobs.
            warnings.filterwarnings("ignore", message=".*The `srun` command is available.*")
            # Lightning's own use of torch.
            warnings.filterwarnings("ignore", message=".*`isinstance.treespec, LeafSpec.` is deprecated.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
