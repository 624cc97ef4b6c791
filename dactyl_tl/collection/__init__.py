"""Rollouts: TorchRL collectors in one or several processes, and the data module that yields them."""

from dactyl_tl.collection.board import Board
from dactyl_tl.collection.collectors import SOURCES, CollectionPlan
from dactyl_tl.collection.datamodule import RolloutDataModule

__all__ = ["SOURCES", "Board", "CollectionPlan", "RolloutDataModule"]
