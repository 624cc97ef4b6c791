"""Training checkpoints of the network that sees."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.models.description import ESTIMATOR_ENTRY
from dactyl_tl.policies import CHECKPOINTS, LAST


def find_pose_checkpoint(path: str | Path, name: str) -> Path:
    """The checkpoint that ``path`` means: itself, or the last one of a run's directory.

    Raises:
        ConfigurationError: There is none, or it is not one of a pose estimator.
    """
    path = Path(path)
    checkpoint = path / CHECKPOINTS / LAST if path.is_dir() else path
    if not checkpoint.is_file():
        raise ConfigurationError(f"{name}={path} has no checkpoint; give a checkpoint or a run's directory")
    if ESTIMATOR_ENTRY not in _read_checkpoint(checkpoint, name):
        raise ConfigurationError(f"{name}={path} is no run of a pose estimator")
    return checkpoint


def pose_frames_of(checkpoint: Path) -> int:
    """Sets of pictures that the run at ``checkpoint`` has learnt from."""
    return int(_read_checkpoint(checkpoint, "resume")["state_dict"]["frames"])


def _read_checkpoint(path: Path, name: str) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise ConfigurationError(
            f"{name}: {path} cannot be read as a checkpoint of tensors: {error}"
        ) from error
