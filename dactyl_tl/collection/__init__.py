"""Rollouts: TorchRL collectors in one or several processes, and the data module that yields them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dactyl_tl.collection.collectors import CollectionPlan
    from dactyl_tl.collection.datamodule import RolloutDataModule
    from dactyl_tl.collection.sources import SOURCES

__all__ = ["SOURCES", "CollectionPlan", "RolloutDataModule"]

_MODULES = {"SOURCES": "sources", "CollectionPlan": "collectors", "RolloutDataModule": "datamodule"}


def __getattr__(name: str) -> Any:
    # Imported when asked for: worker processes need the collector, not Lightning.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
