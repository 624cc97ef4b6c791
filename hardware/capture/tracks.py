"""Where a marker or a body was last, and whether what is seen now can be the same thing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from scipy.optimize import linear_sum_assignment

from dactyl_tl.errors import ConfigurationError

HOLD_NS = 240_000_000
"""How long a lost marker's last reading is repeated: three control periods."""


@dataclass(frozen=True)
class Limits:
    """What is believed.

    Attributes:
        hold_ns: longest age of a reading that is still repeated.
        stream_ns: longest age of the newest frame.
        base_residual, object_residual: greatest rms distance, m, between a fitted layout and its markers.
        speed: greatest speed of any marker, m/s. A block reaches 2 after a fall of 20 cm.
        slack: m that a marker may jump besides, by noise.
        confirm: frames in a row after which a marker or body is believed wherever it is.
        base_calm, base_still: the reference markers are averaged over about this time, s, while they stay
            within this rms distance, m, of their average; their noise would show in all else.
        base_shift: rms distance, m, of the reference markers from where they were calibrated that counts as
            moved.
        reach_centre, reach: (3,) and m: the ball in the hand-base frame that holds every fingertip; the
            simulated hand's come 0.18 m from its centre.
        drift: how much the two clocks may drift apart, s/s.

    Raises:
        ConfigurationError: a limit that is not greater than 0.
    """

    hold_ns: int = HOLD_NS
    stream_ns: int = 50_000_000
    base_residual: float = 0.003
    object_residual: float = 0.003
    speed: float = 2.0
    slack: float = 0.005
    confirm: int = 3
    base_calm: float = 0.2
    base_still: float = 0.002
    base_shift: float = 0.005
    reach_centre: tuple[float, float, float] = (0.0, -0.39, 0.04)
    reach: float = 0.22
    drift: float = 1e-4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "reach_centre" and not (math.isfinite(value) and value > 0):
                raise ConfigurationError(f"{name}={value}: a number greater than 0 is needed")


T = TypeVar("T")


class Track(Generic[T]):
    """One marker, or one body by its markers.

    Attributes:
        reading: the last one believed; None before the first.
        read_ns: when its frame was received.
        points: (k, 3) m, where its markers are thought to be; None while that is not known.
        mislabelled: whether the markers were last seen under another's label.
    """

    def __init__(self, limits: Limits) -> None:
        self.reading: T | None = None
        self.read_ns = 0
        self.points: np.ndarray | None = None
        self.mislabelled = False
        self._limits = limits
        self._time = 0.0
        self._candidate: np.ndarray | None = None
        self._candidate_time = 0.0
        self._seen = 0

    def offer(self, points: np.ndarray, reading: T, time: float, received_ns: int) -> bool:
        """Believe what is seen at ``points`` (k, 3) at ``time`` (s, the system's clock), or do not.

        What is near enough to where it was is believed. After a jump it is not, until it is back there or
        :meth:`forget` was called; then it must stay for :attr:`Limits.confirm` frames.
        """
        if self.points is not None:
            near = self._near(points, self.points, time - self._time)
            self._time = time
            if not near:
                return False
        elif not self._confirmed(points, time):
            return False
        self.points, self.reading, self.read_ns = points, reading, received_ns
        self._time = time
        self.mislabelled = False
        return True

    def follow(self, points: np.ndarray, time: float) -> None:
        """The markers are at ``points``, but under a wrong label: nothing is read."""
        self.points, self._time, self.mislabelled = points, time, True

    def forget(self) -> None:
        """What is seen next may be anywhere; a wrong label is still remembered."""
        if not self.mislabelled and self.points is not None:
            self.points = None
            self._seen = 0

    def _near(self, new: np.ndarray, old: np.ndarray, elapsed: float) -> bool:
        step = float(np.linalg.norm(new - old, axis=1).max())
        return step <= self._limits.slack + self._limits.speed * elapsed

    def _confirmed(self, points: np.ndarray, time: float) -> bool:
        same = self._candidate is not None and self._near(
            points, self._candidate, time - self._candidate_time
        )
        self._seen = self._seen + 1 if same else 1
        self._candidate, self._candidate_time = points, time
        return self._seen >= self._limits.confirm


def exchanged(tracks: np.ndarray, seen: np.ndarray, slack: float) -> dict[int, int]:
    """Which markers carry each other's labels.

    Another assignment of what is seen to the tracks counts as the true one where it explains the markers that
    it exchanges with less than half their summed distance: no two fingertips change places between frames.

    Args:
        tracks: (k, 3) m, where each was.
        seen: (k, 3) m, where its label is.
        slack: m; markers that moved less than this on average are not exchanged.

    Returns:
        Index of a track -> index of what is seen there, for those exchanged.
    """
    distance = np.linalg.norm(tracks[:, None] - seen[None], axis=2)
    _, best = linear_sum_assignment(distance)
    moved = np.flatnonzero(best != np.arange(len(best)))
    if len(moved) == 0:
        return {}
    as_labelled = float(distance[moved, moved].sum())
    as_assigned = float(distance[moved, best[moved]].sum())
    if as_labelled <= slack * len(moved) or 2.0 * as_assigned >= as_labelled:
        return {}
    return {int(index): int(best[index]) for index in moved}
