"""Training as a function of a configuration: :func:`train`.

The command is ``train.py``; tests and notebooks call :func:`train` with a composed configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback
from pytorch_lightning.loggers import Logger

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
from dactyl_tl.ranks import explain_loss, is_lost_connection, world_size
from dactyl_tl.resources import out_of_memory
from dactyl_tl.restoring import check_sizes, frames_of, load_weights, resolve_checkpoint
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
from dactyl_tl.simulation.engines import resolve_engine


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
    with quiet(), threads(settings.collection.learner_threads):
        module = _build_module(settings, None if checkpoint else cfg.policy)
        if checkpoint is not None:
            check_sizes(module, checkpoint, "resume")
        frames = frames_of(checkpoint) if checkpoint else 0
        module.frames.fill_(frames)  # what the run has, even if it ends before it reads its checkpoint
        check_disk(run, module)
        loggers: list[Logger] = instantiate_all(cfg.logger, "logger")
        callbacks: list[Callback] = instantiate_all(cfg.callbacks, "callbacks")
        write_config(cfg, run)
        session = Session(settings.minutes, settings.frames)
        trainer = build_trainer(
            cfg, settings.collection.patience, loggers, [session, *callbacks], log_every_n_steps=1
        )
        device = trainer.strategy.root_device
        _check_backend(settings, device)
        data = RolloutDataModule(
            collection_plan(settings, trainer.global_rank, device, frames),
            module.actor,
            settings.collection.kind,
            settings.collection.window,
            stopping=lambda: session.signal is not None,
        )
        for logger in loggers:
            logger.log_hyperparams(plain(cfg))
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
            end(loggers, trainer, orderly)
    return result_of(run, module, session, trainer)


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
