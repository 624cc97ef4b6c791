"""The policy bundle: the only thing of a training run that crosses to the robot.

A bundle is a directory of two files, neither of which can carry code:

``weights.safetensors``
    parameters and the frozen normalisation statistics;
``bundle.json``
    the contract they were trained under, the network's sizes, the run's resolved configuration, and
    the SHA-256 of the weights.

A bundle that does not fit this version's contract is refused rather than adapted: a policy whose
joints or inputs are in another order still runs, and moves the hand wrongly.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from dactyl_tl.models import Actor, DeployedPolicy, NetworkConfig, build_actor
from dactyl_tl.models.description import CHECKPOINT_ENTRY, contract_description, describe
from dactyl_tl.versions import installed_version

WEIGHTS = "weights.safetensors"
DESCRIPTION = "bundle.json"

ACTOR_PREFIX = "loss.actor_network."
"""Of the policy's tensors in a training checkpoint's state dict."""

PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")


class BundleError(ValueError):
    """A bundle or checkpoint that cannot be used; the message names the file and what was expected."""


def save_bundle(path: str | os.PathLike[str], actor: Actor, config: Mapping[str, Any] | None = None) -> Path:
    """Write ``actor`` as a bundle, replacing the one at ``path`` if there is one.

    Args:
        path: directory; it is made if need be.
        actor: the policy with its normalisation statistics as they are now.
        config: the run's resolved configuration, of JSON types, kept for the record.

    Returns:
        the directory.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in actor.state_dict().items()}
    weights = save_safetensors(tensors)
    description = {
        **describe(actor.config),
        "version": installed_version("dactyl_tl") or "unknown",
        "normalized_frames": int(actor.normalizer.count),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "config": dict(config or {}),
    }
    # The description names the weights' hash, so a write cut short between the two is noticed.
    _replace(path / WEIGHTS, weights)
    _replace(path / DESCRIPTION, json.dumps(description, indent=2).encode())
    return path


def load_policy(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> DeployedPolicy:
    """The policy of a bundle, ready to act: ``env.rollout(100, load_policy(path))``.

    Normalisation and recurrent state are inside. See :class:`DeployedPolicy`.

    Args:
        path: of the bundle's directory.
        device: to put the policy on.

    Raises:
        FileNotFoundError: nothing is there.
        BundleError: it is not a bundle, is damaged or incomplete, or was made for another contract.
    """
    return DeployedPolicy(load_actor(path, device))


def load_actor(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Actor:
    """The trainable policy network of a bundle, to continue training from. Raises as :func:`load_policy`."""
    directory = Path(path)
    _refuse_pickle(directory)
    if directory.name in (WEIGHTS, DESCRIPTION):
        directory = directory.parent
    if not directory.exists():
        raise FileNotFoundError(f"there is no bundle at {directory}")
    if not directory.is_dir():
        raise BundleError(
            f"{directory} is no bundle: a directory with {WEIGHTS} and {DESCRIPTION} was expected"
        )
    for name in (DESCRIPTION, WEIGHTS):
        if not (directory / name).is_file():
            raise BundleError(f"{directory} is no bundle: it has no {name}")
    description = _read_description(directory / DESCRIPTION)
    _check_contract(description, directory / DESCRIPTION)
    tensors = _read_weights(directory / WEIGHTS, description)
    return _actor(description, tensors, directory / WEIGHTS).to(device)


def read_description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``bundle.json`` of the bundle at ``path`` says, for example its ``"config"``."""
    return _read_description(Path(path) / DESCRIPTION)


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
        name.removeprefix(ACTOR_PREFIX): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if name.startswith(ACTOR_PREFIX)
    }
    return _actor(description, tensors, path).to(device)


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in PICKLES:
        raise BundleError(
            f"{path} is a pickle, which can run code when it is read; a bundle is a directory with "
            f"{WEIGHTS} and {DESCRIPTION}, as written by save_bundle"
        )


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_text())
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    if not isinstance(description, dict):
        raise BundleError(f"{path} does not hold a JSON object")
    return description


def _check_contract(description: Mapping[str, Any], path: Path) -> None:
    for name, expected in contract_description().items():
        if name not in description:
            raise BundleError(f"{path} does not state its {name}; expected {expected!r}")
        if description[name] != expected:
            raise BundleError(
                f"{path} was made for another contract: its {name} is {description[name]!r}, "
                f"this version's is {expected!r}"
            )


def _read_weights(path: Path, description: Mapping[str, Any]) -> dict[str, Tensor]:
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != description.get("sha256"):
        raise BundleError(
            f"{path} is damaged or belongs to another bundle: its SHA-256 is {digest}, "
            f"{DESCRIPTION} states {description.get('sha256')}"
        )
    try:
        return load_safetensors(data)
    except safetensors.SafetensorError as error:
        raise BundleError(f"{path} is not a safetensors file: {error}") from error


def _actor(description: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path) -> Actor:
    network = description.get("network")
    if not isinstance(network, dict):
        raise BundleError(f"{path.parent / DESCRIPTION} does not state the network's sizes")
    try:
        actor = build_actor(NetworkConfig(**network))
    except (TypeError, ValueError) as error:
        raise BundleError(f"the network described beside {path} cannot be built: {error}") from error
    expected = actor.state_dict()
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if any(".normalizer." in name for name in missing):
        raise BundleError(
            f"{path} lacks the normalisation statistics {missing}; the policy cannot act without"
        )
    if missing or unexpected:
        raise BundleError(f"{path} does not fit the network: missing {missing}, unexpected {unexpected}")
    for name, tensor in expected.items():
        found = tensors[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise BundleError(
                f"{path}: {name} is {found.dtype} {list(found.shape)}, "
                f"expected {tensor.dtype} {list(tensor.shape)}"
            )
        if not found.isfinite().all():
            raise BundleError(f"{path}: {name} holds values that are not finite")
    actor.load_state_dict(dict(tensors))
    return actor


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(data)
    temporary.replace(path)
