"""A batch of simulations inside a Ray actor, on whichever machine of the cluster it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tensordict.nn import TensorDictModuleBase
from torchrl.envs import EnvBase

from dactyl_tl.collection.arrays import arrays_of
from dactyl_tl.collection.board import Board, Posted
from dactyl_tl.collection.worker import RolloutCollector
from dactyl_tl.machine import installed_version

PACKAGES = ("dactyl_tl", "torch", "torchrl", "tensordict", "mujoco-core")
"""Must be the same on all machines, or a rollout means something else than the learner takes it for."""


@dataclass(frozen=True)
class Delivery:
    """A rollout on its way to the learner.

    Attributes:
        arrays: of the rollout [N, chunks].
        version: of the weights that acted.
        collecting: s that it took.
        waiting: s that the actor waited for the request.
        sent: when it was handed to Ray, by this machine's clock, s.
        latency: s from the request until weights that are new here have arrived, by the clocks of two
            machines; 0 where the actor had them already.
    """

    arrays: dict[Any, np.ndarray]
    version: int
    collecting: float
    waiting: float
    sent: float
    latency: float


class ActorCollector(RolloutCollector):
    """A collector with a board of its own, which is written with every request.

    Args:
        create_env_fn: makes the environment of a number.
        policy_factory: makes the acting networks.
        number: of this actor among all that ever were, which decides its seeds.
        slot: which it fills among those there are at a time, which numbers its simulations.
        threads: of torch.
        packages: versions that the learner has.
        options: of :class:`RolloutCollector`.

    Raises:
        RuntimeError: this machine has other versions.
    """

    def __init__(
        self,
        create_env_fn: Callable[[int], EnvBase],
        *,
        policy_factory: Callable[[], TensorDictModuleBase],
        number: int,
        slot: int,
        threads: int,
        packages: Mapping[str, str],
        worker_idx: int = 0,
        **options: Any,
    ) -> None:
        check_packages(packages)
        torch.set_num_threads(threads)
        super().__init__(
            create_env_fn,
            policy_factory=policy_factory,
            board=Board(policy_factory(), workers=slot + 1),
            worker_idx=number,
            slot=slot,
            **options,
        )

    def __bool__(self) -> bool:
        """Ray asks when an error passes through; a collector's length may then be missing or endless."""
        return True

    def collect(self, posted: Posted, sent: float) -> Delivery:
        """The next rollout, with what was posted; ``sent`` by the clock of who asked, s."""
        latency = time.time() - sent if posted.version != self.weights_version else 0.0
        self._board.take(posted)
        before = self._board.spent
        rollout = self.next()
        collecting, waiting = (now - then for now, then in zip(self._board.spent, before, strict=True))
        return Delivery(arrays_of(rollout), posted.version, collecting, waiting, time.time(), latency)


def installed_packages() -> dict[str, str]:
    """The versions of :data:`PACKAGES` here; "not installed" what is only on the path."""
    return {name: installed_version(name) or "not installed" for name in PACKAGES}


def check_packages(expected: Mapping[str, str]) -> None:
    """Compare :func:`installed_packages` with the learner's.

    Raises:
        RuntimeError: a version differs.
    """
    for name, version in installed_packages().items():
        if version != expected[name]:
            raise RuntimeError(f"{name} is {version} here and {expected[name]} where the learner is")
