"""The simulations of a worker, from settings that can be sent to its process."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from torchrl.envs import EnvBase


def make_simulations(settings: Mapping[str, Any], seeds: Sequence[int], worker: int) -> EnvBase:
    """Build the environment of worker number ``worker``.

    Args:
        settings: arguments of the environment, and as ``_target_`` the dotted name of what builds it.
        seeds: one for each worker.
        worker: number of this one.
    """
    module, name = settings["_target_"].rsplit(".", 1)
    make = getattr(importlib.import_module(module), name)
    arguments = {key: value for key, value in settings.items() if key != "_target_"}
    return make(**arguments, seed=seeds[worker])
