"""The policy bundle: the only thing of a training run that crosses to the robot.

A bundle is a directory of two or three files, none of which can carry code:

``weights.safetensors``
    parameters and the frozen normalisation statistics;
``bundle.json``
    the contract they were trained under, the network's sizes, the run's resolved configuration, and
    the SHA-256 of the weights;
``value.safetensors``
    the value network, where the policy is meant to be trained further. Nobody who acts reads it.

A bundle that does not fit this version's contract is refused rather than adapted: a policy whose
joints or inputs are in another order still runs, and moves the hand wrongly.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from omegaconf import OmegaConf
from torch import Tensor

from dactyl_tl.bundle import (
    WEIGHTS,
    BundleError,
    digest,
    fill,
    read_json,
    read_weights,
    refuse_pickle,
    replace,
    serialized,
)
from dactyl_tl.machine import installed_version
from dactyl_tl.models import Actor, Critic, DeployedPolicy, NetworkConfig, build_actor, build_critic
from dactyl_tl.models.description import CHECKPOINT_ENTRY, contract_description, describe
from dactyl_tl.policies import CHECKPOINT_SUFFIX, DESCRIPTION, RUN_CONFIG, locate

VALUE = "value.safetensors"

ACTOR_PREFIX, CRITIC_PREFIX = "loss.actor_network.", "loss.critic_network."
"""Of the policy's and the value network's tensors in a training checkpoint's state dict."""

Network = TypeVar("Network", Actor, Critic)


def save_bundle(
    path: str | os.PathLike[str],
    actor: Actor,
    config: Mapping[str, Any] | None = None,
    *,
    critic: Critic | None = None,
    training: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write ``actor`` as a bundle, replacing the one at ``path`` if there is one.

    Args:
        path: directory; it is made if need be.
        actor: the policy with its normalisation statistics as they are now.
        config: the run's resolved configuration, of JSON types, kept for the record.
        critic: the value network, for whoever trains the policy further.
        training: how it was trained, of JSON types, kept for the record.
        half: parameters in half precision: half the size, each rounded to 11 bits.

    Returns:
        the directory.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    weights = serialized(actor, half)
    value = serialized(critic, half) if critic is not None else None
    description = {
        **describe(actor.config),
        "version": installed_version("dactyl_tl") or "unknown",
        "normalized_frames": int(actor.normalizer.count),
        "sha256": digest(weights),
        **({"value_sha256": digest(value)} if value is not None else {}),
        **({"training": dict(training)} if training else {}),
        "config": dict(config or {}),
    }
    # The description names the weights' hash, so a write cut short between the two is noticed.
    replace(path / WEIGHTS, weights)
    if value is not None:
        replace(path / VALUE, value)
    else:
        (path / VALUE).unlink(missing_ok=True)
    replace(path / DESCRIPTION, json.dumps(description, indent=2).encode())
    return path


def load_policy(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> DeployedPolicy:
    """The policy of a bundle, ready to act: ``env.rollout(100, load_policy("block_none"))``.

    Normalisation and recurrent state are inside. See :class:`DeployedPolicy`.

    Args:
        path: name of a policy that comes with the package (:func:`dactyl_tl.policies.shipped_policies`),
            or a bundle's or a training run's directory.
        device: to put the policy on.

    Raises:
        FileNotFoundError: nothing is there.
        BundleError: it is not a bundle, is damaged or incomplete, or was made for another contract.
    """
    return DeployedPolicy(load_actor(path, device))


def load_actor(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Actor:
    """The trainable policy network of a bundle, to continue training from. Raises as :func:`load_policy`."""
    directory = _bundle_directory(path)
    description = read_json(directory / DESCRIPTION)
    _check_contract(description, directory / DESCRIPTION)
    tensors = read_weights(directory / WEIGHTS, description, "sha256")
    return _filled(build_actor, description, tensors, directory / WEIGHTS).to(device)


def load_critic(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Critic | None:
    """The value network of a bundle; None for a bundle without one. Raises as :func:`load_policy`."""
    directory = _bundle_directory(path)
    description = read_json(directory / DESCRIPTION)
    if "value_sha256" not in description:
        return None
    if not (directory / VALUE).is_file():
        raise BundleError(f"{directory} lacks its {VALUE}")
    tensors = read_weights(directory / VALUE, description, "value_sha256")
    return _filled(build_critic, description, tensors, directory / VALUE).to(device)


def read_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``bundle.json`` of the bundle at ``path`` says, for example its ``"config"``."""
    return read_json(_bundle_directory(path) / DESCRIPTION)


def bundle_digest(path: str | os.PathLike[str]) -> str:
    """What tells a policy from every other, for the record of a trial: SHA-256, hexadecimal.

    Of a bundle's description, which states the hash of the weights; of the whole file for a training
    checkpoint.

    Args:
        path: what :func:`load_policy` takes, or a run's checkpoint.

    Raises:
        FileNotFoundError: nothing is there.
        BundleError: it is no bundle.
    """
    located = locate(path)
    if located.suffix == CHECKPOINT_SUFFIX:
        return digest(located.read_bytes())
    return digest((_bundle_directory(located) / DESCRIPTION).read_bytes())


def read_run_config(run: Path) -> Any:
    """The configuration of the training run in the directory ``run``, of JSON types."""
    return OmegaConf.to_container(OmegaConf.load(run / RUN_CONFIG), resolve=True)


def read_command(run: Path) -> str:
    """The command line that began the training run in the directory ``run``."""
    overrides = run / "hydra" / "overrides.yaml"
    words = list(OmegaConf.load(overrides)) if overrides.is_file() else []
    return " ".join(["python train.py", *map(str, words)])


def read_environment(path: str | os.PathLike[str]) -> dict[str, Any]:
    """How the environment was set up in which the policy of a bundle or a training checkpoint learnt.

    Args:
        path: what :func:`load_policy` takes, or a run's checkpoint.

    Returns:
        the ``environment`` section of the run's configuration; empty where none was kept.
    """
    path = Path(path)
    run = path.parent.parent
    if path.suffix != CHECKPOINT_SUFFIX:
        config = read_description(path).get("config")
    else:
        config = read_run_config(run) if (run / RUN_CONFIG).is_file() else None
    environment = config.get("environment") if isinstance(config, dict) else None
    return dict(environment or {})


def policy_from_checkpoint(
    path: str | os.PathLike[str], device: str | torch.device = "cpu"
) -> DeployedPolicy:
    """The policy of one of Lightning's training checkpoints, ready to act.

    Read with ``weights_only=True``: a checkpoint that would run code is refused.

    Raises:
        FileNotFoundError: nothing is there.
        BundleError: it is not a checkpoint of this project, or was made for another contract.
    """
    return DeployedPolicy(actor_from_checkpoint(path, device))


def actor_from_checkpoint(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Actor:
    """The trainable policy network of a training checkpoint. Raises as :func:`policy_from_checkpoint`."""
    return _from_checkpoint(build_actor, ACTOR_PREFIX, path).to(device)


def critic_from_checkpoint(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Critic:
    """The value network of a training checkpoint. Raises as :func:`policy_from_checkpoint`."""
    return _from_checkpoint(build_critic, CRITIC_PREFIX, path).to(device)


def _from_checkpoint(
    build: Callable[[NetworkConfig], Network], prefix: str, path: str | os.PathLike[str]
) -> Network:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise BundleError(f"{path} cannot be read as a checkpoint of tensors: {error}") from error
    description = checkpoint.get(CHECKPOINT_ENTRY) if isinstance(checkpoint, dict) else None
    if not isinstance(description, dict) or "state_dict" not in checkpoint:
        raise BundleError(
            f"{path} is not a training checkpoint of dactyl_tl: it has no {CHECKPOINT_ENTRY!r} entry"
        )
    _check_contract(description, path)
    tensors = {
        name.removeprefix(prefix): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith(prefix)
    }
    return _filled(build, description, tensors, path)


def _bundle_directory(path: str | os.PathLike[str]) -> Path:
    refuse_pickle(Path(path))
    directory = locate(path)
    if directory.name == WEIGHTS:
        directory = directory.parent
    if not directory.is_dir():
        raise BundleError(
            f"{directory} is no bundle: a directory with {WEIGHTS} and {DESCRIPTION} was expected"
        )
    for name in (DESCRIPTION, WEIGHTS):
        if not (directory / name).is_file():
            raise BundleError(f"{directory} is no bundle: it has no {name}")
    return directory


def _check_contract(description: Mapping[str, Any], path: Path) -> None:
    for name, expected in contract_description().items():
        if name not in description:
            raise BundleError(f"{path} does not state its {name}; expected {expected!r}")
        if description[name] != expected:
            raise BundleError(
                f"{path} was made for another contract: its {name} is {description[name]!r}, "
                f"this version's is {expected!r}"
            )


def _filled(
    build: Callable[[NetworkConfig], Network],
    description: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    path: Path,
) -> Network:
    """The network that ``description`` describes, with ``tensors`` read from ``path`` in it."""
    sizes = description.get("network")
    if not isinstance(sizes, dict):
        raise BundleError(f"{path.parent / DESCRIPTION} does not state the network's sizes")
    try:
        network = build(NetworkConfig(**sizes))
    except (TypeError, ValueError) as error:
        raise BundleError(f"the network described beside {path} cannot be built: {error}") from error
    fill(network, tensors, path)
    return network
