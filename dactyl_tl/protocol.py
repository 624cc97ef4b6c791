"""When a trial ends and what it counts: section 6.2 of the paper, the same for simulation and hand.

A world only reports what happened; the :class:`Referee` turns that into results. So the simulated and
the physical rows of Table 3 are judged by the same lines of code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import torch
from tensordict import TensorDictBase
from torch import Tensor


class TrialInterrupted(RuntimeError):
    """Something broke, and what the trial would have come to is unknown: it does not count."""


class Ending(StrEnum):
    """Why a trial ended."""

    COMPLETED = "completed"
    """All rotations were achieved (50 in the paper)."""
    DROPPED = "dropped"
    """The object fell off the hand."""
    TIMEOUT = "timeout"
    """A goal was not achieved in time (80 s in the paper)."""
    DIVERGED = "diverged"
    """The simulation became unstable; the rotations before that count."""


@dataclass(frozen=True)
class Limits:
    """What a trial may last.

    Attributes:
        rotations: Rotations after which a trial is complete (section 6.2).
        timeout: Seconds allowed for each goal (section 6.2).

    Raises:
        ValueError: If a limit is not positive.
    """

    rotations: int = 50
    timeout: float = 80.0

    def __post_init__(self) -> None:
        if self.rotations < 1:
            raise ValueError(f"limits.rotations must be at least 1, got {self.rotations}")
        if not self.timeout > 0:
            raise ValueError(f"limits.timeout must be a positive number of seconds, got {self.timeout}")


@dataclass(frozen=True)
class Events:
    """What happened in one control step of each of N trials.

    Attributes:
        achieved: The goal was achieved at this step. Bool, shape (N,).
        dropped: The object has fallen. Bool, shape (N,).
        diverged: The simulation became unstable. Bool, shape (N,).
        stopped: The world does not go on with this trial. Bool, shape (N,).
        seconds: Time since the trial began. Float, shape (N,).
    """

    achieved: Tensor
    dropped: Tensor
    diverged: Tensor
    stopped: Tensor
    seconds: Tensor


class World(Protocol):
    """N trials side by side, one control step (80 ms) at a time.

    The physical hand is a world with one trial; :meth:`begin` may then wait for an operator.
    """

    @property
    def num_trials(self) -> int:
        """N, trials that run side by side."""

    def begin(self, seed: int) -> None:
        """Start N new trials. The same seed gives the same trials, whatever policy acts in them."""

    def observe(self) -> TensorDictBase:
        """What the policy may see now.

        Returns:
            Entries ``contract.policy_keys()`` and ``is_init`` (bool, (N, 1), true on a trial's first
            observation), batch size [N].
        """

    def act(self, action: Tensor) -> Events:
        """Apply an action for one control step.

        Args:
            action: Bin of each actuator, int64, shape (N, 20).
        """


_CLOCK_ROUNDING = 1e-3
"""Seconds; a world's clock may be a float32 sum of control steps, over more than an hour."""


@dataclass
class Referee:
    """Counts rotations and ends trials by the rules of section 6.2.

    Attributes:
        limits: The rules' numbers.
        num_trials: N, trials that run side by side.
        running: Which trials go on. Bool, shape (N,).
        successes: Rotations so far. Int64, shape (N,).
        seconds: Duration so far; the final one where a trial has ended. Float64, shape (N,).
        goal_seconds: For each trial, when each rotation was achieved.
        endings: For each trial, why it ended, or None while it runs.
    """

    limits: Limits
    num_trials: int
    running: Tensor = field(init=False)
    successes: Tensor = field(init=False)
    seconds: Tensor = field(init=False)
    goal_seconds: list[list[float]] = field(init=False)
    endings: list[Ending | None] = field(init=False)

    def __post_init__(self) -> None:
        self.running = torch.ones(self.num_trials, dtype=torch.bool)
        self.successes = torch.zeros(self.num_trials, dtype=torch.int64)
        self.seconds = torch.zeros(self.num_trials, dtype=torch.float64)
        self._goal_began = torch.zeros(self.num_trials, dtype=torch.float64)
        self.goal_seconds = [[] for _ in range(self.num_trials)]
        self.endings = [None] * self.num_trials

    @property
    def finished(self) -> bool:
        """Whether every trial has ended."""
        return not bool(self.running.any())

    def watch(self, events: Events) -> None:
        """Take one control step into account. Trials that have ended do not change any more.

        A rotation achieved in the very step in which a trial ends still counts.

        Raises:
            RuntimeError: If the world stopped a trial that, by the rules, goes on.
        """
        running = self.running.clone()
        now = events.seconds.double().cpu()
        self.seconds = torch.where(running, now, self.seconds)

        achieved = events.achieved.cpu() & running
        self.successes += achieved
        self._goal_began = torch.where(achieved, now, self._goal_began)
        for trial in achieved.nonzero().flatten().tolist():
            self.goal_seconds[trial].append(float(now[trial]))

        late = now - self._goal_began >= self.limits.timeout - _CLOCK_ROUNDING
        self._end(self.successes >= self.limits.rotations, Ending.COMPLETED)
        self._end(events.dropped.cpu(), Ending.DROPPED)
        self._end(events.diverged.cpu(), Ending.DIVERGED)
        self._end(late, Ending.TIMEOUT)

        orphans = (events.stopped.cpu() & self.running).nonzero().flatten().tolist()
        if orphans:
            raise RuntimeError(
                f"the world stopped trials {orphans} for no reason of the protocol "
                f"({', '.join(Ending)}); are its own limits narrower than {self.limits}?"
            )

    def _end(self, trials: Tensor, why: Ending) -> None:
        for trial in (trials & self.running).nonzero().flatten().tolist():
            self.endings[trial] = why
            self.running[trial] = False
