"""Find the checkpoints and bundles that ``resume=`` and ``policy=`` mean, and take weights from them."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from dactyl_tl.checkpoint import DESCRIPTION, BundleError, actor_from_checkpoint, load_actor
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.learning import PPOModule
from dactyl_tl.models import Actor

CHECKPOINTS, LAST, BEST, BUNDLES = "checkpoints", "last.ckpt", "best.ckpt", "bundles"
"""Names in a run's directory."""

CRITIC_PREFIX = "loss.critic_network."


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


def resolve_checkpoint(path: str | Path, name: str, preferred: tuple[str, ...] = (LAST,)) -> Path:
    """The checkpoint that ``path`` means: itself, or the ``preferred`` one of a run's directory.

    Args:
        path: a ``.ckpt`` file or a run's directory.
        name: of the setting, for errors.
        preferred: file names, the first that exists is taken.

    Raises:
        ConfigurationError: there is none, or it is not one of this project's.
    """
    path = Path(path)
    candidates = [path / CHECKPOINTS / file for file in preferred] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            _actor(candidate, name)
            return candidate
    if path.is_dir():
        raise ConfigurationError(
            f"{name}={path} has no {CHECKPOINTS}/{preferred[0]}; is it a run's directory?"
        )
    raise ConfigurationError(f"{name}={path} does not exist; give a checkpoint or a run's directory")


def load_weights(module: PPOModule, path: str | Path, name: str = "policy") -> None:
    """Put the weights and statistics of a bundle, a checkpoint or a run's best checkpoint into ``module``.

    A checkpoint has a value network too, which is taken where its sizes are the same. Optimiser and
    counters stay as they are: this starts a training run, it does not continue one.

    Raises:
        ConfigurationError: nothing usable is there, or the network's sizes differ.
    """
    path = Path(path)
    if (path / DESCRIPTION).is_file() or path.name == DESCRIPTION:
        _copy_actor(module, path, name)
        return
    checkpoint = resolve_checkpoint(path, name, (BEST, LAST))
    _copy_actor(module, checkpoint, name)
    tensors = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    critic = {k.removeprefix(CRITIC_PREFIX): v for k, v in tensors.items() if k.startswith(CRITIC_PREFIX)}
    own = module.critic.state_dict()
    if critic.keys() == own.keys() and all(critic[k].shape == own[k].shape for k in own):
        module.critic.load_state_dict(critic)


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


def _copy_actor(module: PPOModule, path: Path, name: str) -> None:
    module.actor.load_state_dict(check_sizes(module, path, name).state_dict())


def _actor(path: Path, name: str) -> Actor:
    try:
        return actor_from_checkpoint(path) if path.suffix == ".ckpt" else load_actor(path)
    except (BundleError, OSError) as error:
        raise ConfigurationError(f"{name}: {error}") from error
