"""Make a worker's simulations, from settings that can be sent to its process."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torchrl.envs import EnvBase


def make_simulations(settings: Mapping[str, Any], entropy: Sequence[int], worker: int) -> EnvBase:
    """Build the environment of worker number ``worker``.

    Args:
        settings: arguments of the environment, and as ``_target_`` the dotted name of what builds it.
        entropy: what the run's seeds are drawn from.
        worker: number of this one, from 0; any number has a seed of its own.
    """
    module, name = settings["_target_"].rsplit(".", 1)
    make = getattr(importlib.import_module(module), name)
    arguments = {key: value for key, value in settings.items() if key != "_target_"}
    return make(**arguments, seed=seed_of(entropy, worker + 1))


def seed_of(entropy: Sequence[int], stream: int) -> int:
    """The seed of one of the independent streams that ``entropy`` spawns."""
    return int(np.random.SeedSequence(list(entropy), spawn_key=(stream,)).generate_state(1)[0])
