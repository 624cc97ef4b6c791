"""Training of the network that sees, as a function of a configuration: :func:`train_pose`.

The command is ``train.py experiment=pose``; tests and notebooks call :func:`train_pose`.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from dactyl_tl.configuration import POSE_SCHEMAS, build, check_names, number
from dactyl_tl.errors import ConfigurationError, InterruptedCollection, RankError, TrainingError
from dactyl_tl.estimators.bundles import load_estimator_network
from dactyl_tl.estimators.checkpoints import find_pose_checkpoint, pose_frames_of
from dactyl_tl.learning.pose import PoseConfig, PoseModule
from dactyl_tl.models.config import PoseNetworkConfig
from dactyl_tl.models.pose import PoseNetwork
from dactyl_tl.progress import progress_reports
from dactyl_tl.randomization import resolve_randomization
from dactyl_tl.randomization.images import ImageAugmentation, ImageRandomization
from dactyl_tl.ranks import explain_loss, is_lost_connection, world_size
from dactyl_tl.rendering.objects import look_of, symmetries
from dactyl_tl.rendering.offscreen import RendererError
from dactyl_tl.runs import (
    TrainingResult,
    build_trainer,
    check_disk,
    end,
    instantiate_all,
    plain,
    quiet,
    result_of,
    threads,
    write_config,
)
from dactyl_tl.session import Session
from dactyl_tl.simulation.scene import TASKS
from dactyl_tl.vision.config import PictureConfig
from dactyl_tl.vision.datamodule import PictureDataModule, PicturePlan
from dactyl_tl.vision.drawing import VALIDATIONS, check_renderers
from dactyl_tl.vision.poses import PoseAugmentation


@dataclass(frozen=True)
class PoseSettings:
    """What a training run is, checked."""

    seed: int
    environment: dict[str, Any]
    pictures: PictureConfig
    poses: PoseAugmentation
    images: ImageRandomization
    network: PoseNetworkConfig
    pose: PoseConfig
    minutes: float | None
    frames: int | None


def check_pose(cfg: DictConfig) -> PoseSettings:
    """Check every setting of a configuration that ``conf/pose.yaml`` composes.

    Raises:
        ConfigurationError: with the name, the value and the choices.
    """
    environment: dict[str, Any] = OmegaConf.to_container(cfg.environment, resolve=True)  # type: ignore[assignment]
    try:
        resolve_randomization(environment["randomization"])
        check_names(environment)
        sections: dict[str, Any] = {name: build(kind, cfg[name], name) for name, kind in POSE_SCHEMAS.items()}
        look_of(TASKS[environment["task"]].object_name, sections["pictures"].look)
        return PoseSettings(
            seed=number(cfg.seed, "seed", low=0, whole=True),
            environment=environment,
            minutes=None if cfg.minutes is None else number(cfg.minutes, "minutes", low=0.0),
            frames=None if cfg.frames is None else number(cfg.frames, "frames", low=1, whole=True),
            **sections,
        )
    except ConfigurationError:
        raise
    except ValueError as error:  # raised by a dataclass that refuses a value
        raise ConfigurationError(str(error)) from error


def train_pose(cfg: DictConfig) -> TrainingResult:
    """Train as ``conf/pose.yaml`` and its groups describe.

    Raises:
        ConfigurationError: a setting, path or name cannot be used, or a renderer does not work.
        TrainingError: a process that draws or a rank was lost, or a checkpoint could not be written.
    """
    settings = check_pose(cfg)
    run = Path(cfg.output_dir)
    checkpoint = find_pose_checkpoint(cfg.resume, "resume") if cfg.resume else None
    _check_renderers()
    with quiet(), threads(int(cfg.threads)):
        torch.manual_seed(settings.seed)
        network = _build_network(settings, None if checkpoint else cfg.estimator)
        module = _build_module(settings, network)
        frames = pose_frames_of(checkpoint) if checkpoint else 0
        module.frames.fill_(frames)  # what the run has, even if it ends before it reads its checkpoint
        check_disk(run, module)
        loggers: list[Logger] = instantiate_all(cfg.logger, "logger")
        callbacks: list[Callback] = instantiate_all(cfg.callbacks, "callbacks")
        write_config(cfg, run)
        session = Session(settings.minutes, settings.frames, unit="batch")
        trainer = build_trainer(
            cfg, cfg.patience, loggers, [session, *callbacks], log_every_n_steps=10**9,
            limit_train_batches=settings.pose.report_every, use_distributed_sampler=False,
        )  # fmt: skip
        for logger in loggers:
            logger.log_hyperparams(plain(cfg))
        console = Console(quiet=bool(getattr(rank_zero_only, "rank", 0)))
        plan = _plan(settings, cfg, run, frames)
        say, stopping = rank_zero_only(print), lambda: session.signal is not None
        orderly = False
        try:
            with (
                session.graceful_signals(),
                progress_reports(console) as progress,
                closing(PictureDataModule(plan, progress, say, stopping)) as data,
            ):
                if checkpoint is None and not cfg.estimator:
                    network.set_statistics(*data.statistics())
                trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
            orderly = True
        except InterruptedCollection:
            pass  # before training began; what is in the cache stays
        except RuntimeError as error:
            if isinstance(error, TrainingError) or world_size() == 1 or not is_lost_connection(error):
                raise
            raise RankError(f"{explain_loss()}, in the middle of a batch") from error
        finally:
            end(loggers, trainer, orderly)
    return result_of(run, module, session, trainer)


def _check_renderers() -> None:
    """One draws what is learnt from, the other what is held out."""
    try:
        check_renderers()
    except RendererError as error:
        raise ConfigurationError(str(error)) from error


def _build_network(settings: PoseSettings, estimator: str | None) -> PoseNetwork:
    network = PoseNetwork(settings.network)
    if estimator is None:
        return network
    loaded = load_estimator_network(estimator)
    theirs, ours = asdict(loaded.config), asdict(settings.network)
    for name in (each for each in theirs if theirs[each] != ours[each]):
        raise ConfigurationError(
            f"estimator={estimator} has network.{name}={theirs[name]}, this run {ours[name]}; leave it out"
        )
    return loaded


def _build_module(settings: PoseSettings, network: PoseNetwork) -> PoseModule:
    task = TASKS[settings.environment["task"]]
    same = torch.from_numpy(symmetries(look_of(task.object_name, settings.pictures.look))).float()
    return PoseModule(
        network,
        settings.pose,
        augmentation=ImageAugmentation(settings.images),
        symmetries=same,
        validations=VALIDATIONS,
    )


def _plan(settings: PoseSettings, cfg: DictConfig, run: Path, frames: int) -> PicturePlan:
    return PicturePlan(
        pictures=settings.pictures,
        poses=settings.poses,
        environment=settings.environment,
        policy=cfg.policy,
        batch_size=settings.pose.batch_size,
        seed=settings.seed,
        run=run,
        frames=frames,
    )
