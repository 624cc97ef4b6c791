"""Find the checkpoints and bundles that ``resume=`` and ``policy=`` mean, and take weights from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from dactyl_tl.checkpoint import (
    BundleError,
    actor_from_checkpoint,
    critic_from_checkpoint,
    load_actor,
    load_critic,
    read_environment,
)
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.learning import PPOModule
from dactyl_tl.models import Actor, NetworkConfig
from dactyl_tl.policies import CHECKPOINT_SUFFIX, CHECKPOINTS, LAST, locate

CHECKPOINTS_FIRST = ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "bundles/best", "bundles/last")
"""Where a run holds what training starts from: its bundles have no value network."""


def continuation(run: Path) -> str | None:
    """How to go on with what is in a run's directory; None if there is nothing."""
    if not (run / CHECKPOINTS / LAST).exists():
        return None
    return f"Continue with: python train.py resume={shown(run)}"


def shown(path: Path) -> str:
    """``path`` as one would type it here."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)


def frames_of(checkpoint: Path) -> int:
    """Environment frames that the run at ``checkpoint`` has behind it."""
    return int(
        torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["state_dict"]["frames"]
    )


def resolve_checkpoint(path: str | Path, name: str) -> Path:
    """The checkpoint that ``path`` means: itself, or the last one of a run's directory.

    Args:
        path: a ``.ckpt`` file or a run's directory.
        name: of the setting, for errors.

    Raises:
        ConfigurationError: there is none, or it is not one of this project's.
    """
    path = Path(path)
    checkpoint = path / CHECKPOINTS / LAST if path.is_dir() else path
    if checkpoint.is_file():
        _actor(checkpoint, name)
        return checkpoint
    if path.is_dir():
        raise ConfigurationError(f"{name}={path} has no {CHECKPOINTS}/{LAST}; is it a run's directory?")
    raise ConfigurationError(f"{name}={path} does not exist; give a checkpoint or a run's directory")


def load_weights(module: PPOModule, path: str | Path, name: str = "policy") -> None:
    """Put the weights and statistics of a bundle, a checkpoint or a run's best checkpoint into ``module``.

    Their value network is taken too, where there is one and its sizes are the same. Optimiser and
    counters stay as they are: this starts a training run, it does not continue one.

    Raises:
        ConfigurationError: nothing usable is there, or the network's sizes differ.
    """
    source = resolve_policy(path, name)
    module.actor.load_state_dict(check_sizes(module, source, name).state_dict())
    try:
        from_training = source.suffix == CHECKPOINT_SUFFIX
        critic = critic_from_checkpoint(source) if from_training else load_critic(source)
    except (BundleError, OSError) as error:
        raise ConfigurationError(f"{name}: {error}") from error
    if critic is not None and _shapes(critic) == _shapes(module.critic):
        module.critic.load_state_dict(critic.state_dict())


def _shapes(network: torch.nn.Module) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in network.state_dict().items()}


def resolve_policy(path: str | Path, name: str = "policy") -> Path:
    """The bundle's directory or the checkpoint to take first weights from.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return locate(path, CHECKPOINTS_FIRST)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{name}={error}") from error


def network_of(path: str | Path, name: str = "policy") -> NetworkConfig:
    """Sizes of the network that ``policy=`` means. Raises as :func:`resolve_policy`."""
    return _actor(resolve_policy(path, name), name).config


def actions_of(path: str | Path, name: str = "policy") -> dict[str, Any]:
    """What the actions of ``policy=`` mean, fields of ``ActionConfig``. Raises as :func:`resolve_policy`."""
    return dict(read_environment(resolve_policy(path, name)).get("actions") or {})


def check_sizes(module: PPOModule, path: Path, name: str) -> Actor:
    """The policy at ``path``, if its network is of the same sizes as the one in ``module``.

    Raises:
        ConfigurationError: it is not.
    """
    actor = _actor(path, name)
    for field in ("policy", "dense", "lstm"):
        theirs, ours = getattr(actor.config, field), getattr(module.actor.config, field)
        if theirs != ours:
            raise ConfigurationError(
                f"{name}={path} has network.{field}={theirs}, this run {ours}; set network.{field}={theirs}"
            )
    return actor


def _actor(path: Path, name: str) -> Actor:
    try:
        return actor_from_checkpoint(path) if path.suffix == CHECKPOINT_SUFFIX else load_actor(path)
    except (BundleError, OSError) as error:
        raise ConfigurationError(f"{name}: {error}") from error
