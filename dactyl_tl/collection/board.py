"""What the learner posts and the workers read between two rollouts: weights, their version, knobs.

A worker that shares memory with the learner's own parameters acts, in the middle of a rollout, on
weights the optimiser is changing. TorchRL's weight synchronisation applies new weights from a
background thread, also in the middle of a rollout, and waits for ever for a worker that was killed.
Here a worker copies what was posted at the start of a rollout, under a lock, and at no other time:
every rollout has one version.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import nn

from dactyl_tl.collection.arrays import arrays_of, copy_arrays

KNOBS = ("goal_angle", "randomization_scale")
"""Attributes of the environment that may be changed during training, as by a curriculum."""


@dataclass(frozen=True)
class Posted:
    """What a board said at one moment, as it can be sent to another machine.

    Attributes:
        version: of the weights.
        weights: parameters and buffers of the policy, by name.
        knobs: the knobs that were turned, and their values.
    """

    version: int
    weights: dict[Any, np.ndarray]
    knobs: dict[str, float]


class Board:
    """Weights and knobs in memory that the learner and all workers see.

    Args:
        policy: the acting networks; their present parameters and buffers are posted as version 0.
        context: the ``multiprocessing`` context of the workers, or None when they live in this process.
        device: where the posted weights are kept; other processes can read them on the CPU only.
        workers: that read here.
    """

    def __init__(self, policy: nn.Module, context: Any = None, device: str = "cpu", workers: int = 1) -> None:
        self._weights = _weights(policy).to(device).clone()
        self._values = torch.full((len(KNOBS),), math.nan, dtype=torch.float64)
        self._version = torch.zeros((), dtype=torch.int64)
        self._spent = torch.zeros(workers, 2, dtype=torch.float64)
        self._completed = torch.zeros(workers, dtype=torch.int64)
        self._lock: AbstractContextManager[Any] = nullcontext()
        if context is not None:
            self._weights.share_memory_()
            self._values.share_memory_()
            self._version.share_memory_()
            self._spent.share_memory_()
            self._completed.share_memory_()
            self._lock = context.Lock()

    @property
    def version(self) -> int:
        """Number of times that weights were posted."""
        return int(self._version)

    @property
    def knobs(self) -> dict[str, float]:
        """The knobs that were turned, and their values."""
        values = zip(KNOBS, self._values.tolist(), strict=True)
        return {name: value for name, value in values if not math.isnan(value)}

    @property
    def spent(self) -> tuple[float, float]:
        """s that all workers together have collected, and have waited to be asked, so far."""
        collecting, waiting = self._spent.sum(0).tolist()
        return collecting, waiting

    @property
    def completed(self) -> list[int]:
        """Rollouts that each worker has made so far."""
        return self._completed.tolist()

    def complete(self, worker: int, collecting: float, waiting: float) -> None:
        """Count a worker's rollout, and what it has spent on it, s; each worker writes its own place."""
        self._spent[worker] += torch.tensor([collecting, waiting], dtype=torch.float64)
        self._completed[worker] += 1

    def post(self, policy: nn.Module) -> None:
        """Copy the parameters and buffers of ``policy`` here as a new version."""
        with self._lock:
            self._weights.update_(_weights(policy))
            self._version += 1

    def turn(self, name: str, value: float) -> None:
        """Set a knob; workers apply it to their environments before their next rollout.

        Raises:
            KeyError: ``name`` is not a knob.
        """
        if name not in KNOBS:
            raise KeyError(f"unknown knob {name!r}; choose from {', '.join(KNOBS)}")
        with self._lock:
            self._values[KNOBS.index(name)] = value

    def read(self, policy: nn.Module) -> int:
        """Copy the posted weights into ``policy``; returns their version."""
        with self._lock:
            _weights(policy).update_(self._weights)
            return int(self._version)

    def posted(self) -> Posted:
        """All that is posted now, in memory of its own."""
        with self._lock:
            return Posted(self.version, arrays_of(self._weights.clone()), self.knobs)

    def take(self, posted: Posted) -> None:
        """Post what another board said, under its version."""
        with self._lock:
            copy_arrays(posted.weights, self._weights)
            self._version.fill_(posted.version)
        for name, value in posted.knobs.items():
            self.turn(name, value)

    def state_dict(self) -> dict[str, Any]:
        """Version and knobs; the weights belong to the learner's own state."""
        return {"version": self.version, "knobs": self.knobs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore version and knobs."""
        self._version.fill_(state["version"])
        for name, value in state["knobs"].items():
            self.turn(name, value)


def _weights(policy: nn.Module) -> TensorDictBase:
    """Parameters and buffers of ``policy`` as views."""
    return TensorDict.from_module(policy).data
