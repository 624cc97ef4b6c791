"""The estimator bundle: network, statistics and calibration of the cameras, in files that cannot carry code.

``weights.safetensors`` and ``bundle.json`` as in a policy's bundle (:mod:`dactyl_tl.checkpoint`). The
description states what the pictures have to be: which cameras, where they stand in the hand-base frame,
their lenses, and how their pictures are cropped and scaled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dactyl_tl.bundle import (
    WEIGHTS,
    BundleError,
    digest,
    fill,
    read_json,
    read_weights,
    replace,
    serialized,
)
from dactyl_tl.contract import CONTRACT_VERSION, PICTURE_SIZE
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators import locate_estimator
from dactyl_tl.machine import installed_version
from dactyl_tl.models.config import PoseNetworkConfig
from dactyl_tl.models.description import describe_estimator
from dactyl_tl.models.pictures import standardize
from dactyl_tl.models.pose import PoseNetwork
from dactyl_tl.policies import DESCRIPTION


class PoseEstimator:
    """Sees the object: pictures of all cameras to its pose in the hand-base frame.

    Attributes:
        network: With frozen weights.
        description: What the bundle says.
    """

    def __init__(self, network: PoseNetwork, description: Mapping[str, Any]) -> None:
        self.network = network.eval().requires_grad_(False)
        self.description = dict(description)

    @property
    def task(self) -> str:
        """Whose object it learnt to see, key of :data:`dactyl_tl.simulation.scene.TASKS`."""
        return str(self.description["task"])

    @property
    def look(self) -> str:
        """How that looked, one of :data:`dactyl_tl.rendering.objects.KINDS`."""
        return str(self.description.get("config", {}).get("pictures", {}).get("look", "lettered"))

    @torch.no_grad()
    def __call__(self, pictures: Tensor | NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Estimate.

        Args:
            pictures: RGB, uint8, (n, cameras, height, width, 3), in the order of the description's cameras.

        Returns:
            position (n, 3) m and orientation (n, 4) wxyz.

        Raises:
            ValueError: Pictures of another shape or type.
        """
        pictures = torch.as_tensor(pictures)
        expected = (self.network.config.cameras, PICTURE_SIZE, PICTURE_SIZE, 3)
        if pictures.shape[1:] != expected or pictures.dtype != torch.uint8:
            raise ValueError(
                f"pictures are {pictures.dtype} {list(pictures.shape)}; expected uint8 [n, {expected}]"
            )
        return self.network.pose(self.network(standardize(pictures)))


def save_estimator(
    path: str | os.PathLike[str],
    network: PoseNetwork,
    *,
    task: str,
    cameras: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``network`` as a bundle, replacing the one at ``path`` if there is one.

    Args:
        path: Directory; it is made if need be.
        network: With its statistics.
        task: Whose object it sees.
        cameras: Calibration of each, of JSON types (:func:`dactyl_tl.vision.calibration.camera_calibration`).
        config: The run's resolved configuration, of JSON types, for the record.
        training: How it was trained, of JSON types, for the record.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    weights = serialized(network, half=False)
    description = {
        **describe_estimator(network.config),
        "version": installed_version("dactyl_tl") or "unknown",
        "task": task,
        "cameras": [dict(camera) for camera in cameras],
        "normalization": {"mean": network.mean.tolist(), "deviation": network.deviation.tolist()},
        "sha256": digest(weights),
        **({"training": dict(training)} if training else {}),
        "config": dict(config or {}),
    }
    replace(path / WEIGHTS, weights)
    replace(path / DESCRIPTION, json.dumps(description, indent=2).encode())
    return path


def load_estimator(path: str | os.PathLike[str]) -> PoseEstimator:
    """The pose estimator of a bundle: ``load_estimator("block")``.

    Args:
        path: What :func:`dactyl_tl.estimators.locate_estimator` takes.

    Raises:
        FileNotFoundError: Nothing is there.
        BundleError: It is no estimator's bundle, is damaged, or was made for another contract or cameras.
    """
    directory = locate_estimator(path)
    description = read_json(directory / DESCRIPTION)
    if description.get("kind") != "pose estimator":
        raise BundleError(f"{directory} is no pose estimator but a {description.get('kind', 'policy')}")
    if description.get("contract_version") != CONTRACT_VERSION:
        raise BundleError(
            f"{directory} was made for contract version {description.get('contract_version')}, "
            f"this is {CONTRACT_VERSION}"
        )
    if not (directory / WEIGHTS).is_file():
        raise BundleError(f"{directory} lacks its {WEIGHTS}")
    tensors = read_weights(directory / WEIGHTS, description, "sha256")
    network = _build(description["network"], directory)
    fill(network, tensors, directory / WEIGHTS)
    return PoseEstimator(network, description)


def load_estimator_network(path: str | os.PathLike[str]) -> PoseNetwork:
    """The network of a bundle, to train further.

    Raises:
        ConfigurationError: There is none.
    """
    try:
        return load_estimator(path).network.requires_grad_(True).train()
    except (BundleError, OSError) as error:
        raise ConfigurationError(f"estimator: {error}") from error


def _build(sizes: Mapping[str, Any], directory: Path) -> PoseNetwork:
    known = {field.name for field in fields(PoseNetworkConfig)}
    try:
        given: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in sizes.items() if key in known
        }
        return PoseNetwork(PoseNetworkConfig(**given))
    except (TypeError, ValueError) as error:
        raise BundleError(f"the network of {directory} cannot be built: {error}") from error
