"""Compose a training configuration as train.py would, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig

from dactyl_tl.config_files import config_directory
from dactyl_tl.launch import POSE, configuration_of, prepare_hydra

TOY = "environment._target_=tests.toy.ToyEnv"
"""Replaces the hand by the world of one angle."""


def compose(output: Path, overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of ``python train.py <overrides>`` with its run directory at ``output``."""
    prepare_hydra()
    with hydra.initialize_config_dir(str(config_directory()), version_base="1.3"):
        return hydra.compose(
            configuration_of(list(overrides)), [f"output_dir={output}", "name=test", *overrides]
        )


def experiments(sees: bool = False) -> list[str]:
    """Names of the experiments that train a policy, or of those that train the network that sees."""
    names = sorted(file.stem for file in (config_directory() / "experiment").glob("*.yaml"))
    return [name for name in names if (configuration_of([f"experiment={name}"]) == POSE) == sees]
