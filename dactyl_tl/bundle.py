"""Files of a bundle: written whole, described and hashed in JSON, and without code in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from dactyl_tl.policies import DESCRIPTION

WEIGHTS = "weights.safetensors"

PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")


class BundleError(ValueError):
    """A bundle or checkpoint that cannot be used; the message names the file and what was expected."""


def refuse_pickle(path: Path) -> None:
    """Raise :class:`BundleError` for a file that could run code when it is read."""
    if path.suffix.lower() in PICKLES:
        raise BundleError(
            f"{path} is a pickle, which can run code when it is read; a bundle is a directory with "
            f"{WEIGHTS} and {DESCRIPTION}, as written by save_bundle"
        )


def read_json(path: Path) -> dict[str, Any]:
    """A bundle's description.

    Raises:
        BundleError: it is not a JSON object.
    """
    try:
        description = json.loads(path.read_text())
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    if not isinstance(description, dict):
        raise BundleError(f"{path} does not hold a JSON object")
    return description


def serialized(network: nn.Module, half: bool) -> bytes:
    """A network's tensors as a safetensors file.

    Args:
        network: whose.
        half: parameters in half precision; statistics of double precision stay as they are.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        tensors = {name: t.half() if t.dtype == torch.float32 else t for name, t in tensors.items()}
    return save_safetensors(tensors)


def digest(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read_weights(path: Path, description: Mapping[str, Any], entry: str) -> dict[str, Tensor]:
    """The tensors of a file, if they are those that ``description[entry]`` is the hash of.

    Raises:
        BundleError: they are not.
    """
    data = path.read_bytes()
    if digest(data) != description.get(entry):
        raise BundleError(
            f"{path} is damaged or belongs to another bundle: its SHA-256 is {digest(data)}, "
            f"{DESCRIPTION} states {description.get(entry)}"
        )
    try:
        return load_safetensors(data)
    except safetensors.SafetensorError as error:
        raise BundleError(f"{path} is not a safetensors file: {error}") from error


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put ``tensors`` that were read from ``path`` into ``network``.

    Raises:
        BundleError: they are not the network's, or some value is not finite.
    """
    expected = network.state_dict()
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if any(".normalizer." in name for name in missing):
        raise BundleError(
            f"{path} lacks the normalisation statistics {missing}; the policy cannot act without"
        )
    if missing or unexpected:
        raise BundleError(f"{path} does not fit the network: missing {missing}, unexpected {unexpected}")
    for name, tensor in expected.items():
        found = tensors[name]
        halved = found.dtype == torch.float16 and tensor.dtype == torch.float32
        if found.shape != tensor.shape or not (found.dtype == tensor.dtype or halved):
            raise BundleError(
                f"{path}: {name} is {found.dtype} {list(found.shape)}, "
                f"expected {tensor.dtype} {list(tensor.shape)}"
            )
        if not found.isfinite().all():
            raise BundleError(f"{path}: {name} holds values that are not finite")
    network.load_state_dict(dict(tensors))


def replace(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(data)
    temporary.replace(path)
