"""Frames of three cameras, as they come in any order, to triples that show one instant.

Each camera's frames arrive by themselves: the newest of each may be of different instants when one camera
is a frame ahead. So frames are matched by the time at which they were taken, and by nothing else.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import product

from dactyl_tl.contract import CAMERAS
from hardware.cameras.frames import Frame, Triple

LATE = "late"
"""A frame that is not newer than the one before it."""

UNMATCHED = "unmatched"
"""A frame without counterparts within the tolerance."""


class Matcher:
    """Assembles triples. It reads no clock, so what it returns follows from the frames alone.

    A triple's frames lie within the tolerance of one another, none is used twice, and those of a camera are
    used in the order of their times. With a tolerance of less than half the time between two pictures,
    frames of two instants are never together.

    Args:
        tolerance_ns: Between the oldest and the newest frame of a triple.
        memory_ns: How long a frame waits for its counterparts, by the frames' own times.

    Attributes:
        dropped: How many frames were not used, by camera and one of :data:`LATE` and :data:`UNMATCHED`.
    """

    def __init__(self, tolerance_ns: int, memory_ns: int) -> None:
        self._tolerance, self._memory = tolerance_ns, memory_ns
        self._waiting: dict[str, deque[Frame]] = {name: deque() for name in CAMERAS}
        self._newest: dict[str, int] = {}
        self.dropped: Counter[tuple[str, str]] = Counter()

    @property
    def waiting(self) -> int:
        """How many frames wait for counterparts."""
        return sum(len(frames) for frames in self._waiting.values())

    def add(self, frame: Frame) -> Triple | None:
        """Take a frame.

        Returns:
            The triple that it completes, if it does. Older frames that wait are dropped then.
        """
        camera = frame.camera
        if frame.time_ns <= self._newest.get(camera, frame.time_ns - 1):
            self.dropped[camera, LATE] += 1
            return None
        self._newest[camera] = frame.time_ns
        for name in CAMERAS:
            self._forget(name, frame.time_ns - self._memory)
        self._waiting[camera].append(frame)
        triple = self._closest(frame)
        if triple is None or triple.spread_ns > self._tolerance:
            return None
        for used in triple.frames:
            self._forget(used.camera, used.time_ns)
            self._waiting[used.camera].popleft()
        return triple

    def _closest(self, frame: Frame) -> Triple | None:
        """The triple with ``frame`` whose times are closest together; None without a frame of each camera."""
        choices = [
            [frame]
            if name == frame.camera
            else [
                each for each in self._waiting[name] if abs(each.time_ns - frame.time_ns) <= self._tolerance
            ]
            for name in CAMERAS
        ]
        triples = (Triple((left, front, right)) for left, front, right in product(*choices))
        return min(triples, key=lambda triple: triple.spread_ns, default=None)

    def _forget(self, camera: str, before_ns: int) -> None:
        frames = self._waiting[camera]
        while frames and frames[0].time_ns < before_ns:
            frames.popleft()
            self.dropped[camera, UNMATCHED] += 1
