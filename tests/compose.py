"""Compose a training configuration as train.py would, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig

from dactyl_tl.launch import config_directory, prepare_hydra

TOY = "environment._target_=tests.toy.ToyEnv"
"""Replaces the hand by the world of one angle."""


def compose(output: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of ``python train.py <overrides>`` with its run directory at ``output``."""
    prepare_hydra()
    with hydra.initialize_config_dir(str(config_directory()), version_base="1.3"):
        return hydra.compose("train", [f"output_dir={output}", "name=test", *overrides])
