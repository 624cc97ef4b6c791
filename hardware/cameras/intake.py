"""Where a source's threads put frames, and where the control loop asks for the newest triple.

What a camera delivers is not always new: a stalled sensor, driver or link repeats a picture under new
numbers and times. Two pictures of a real sensor are never equal in each of a million values, because of its
noise, so a picture that equals the one before it is no picture, and a camera that delivers only such is
silent. So is one that is covered.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from hardware.cameras.frames import Frame, Look, Report, Triple
from hardware.cameras.matcher import Matcher
from hardware.errors import HardwareError

REPEATED = "repeated"
"""A frame with a number that was there before, or with the picture before it."""

DARK = "dark"
"""A frame whose mean is below the limit."""

FAILED = "failed"
"""A frame that did not arrive as a whole."""

UNSURE = "unsure"
"""A frame of which it is not known when it was taken."""

EVERY = 8
"""Of the rows and columns of a picture, those that its brightness is taken from."""


@dataclass(frozen=True)
class Limits:
    """What pictures may be used.

    Attributes:
        tolerance: Between the times of a triple's frames, s.
        age: Of a triple when it is asked for, s. A control period: what is older shows a state before the
            last action.
        darkness: Mean value of a picture, 0 to 255, below which the camera is taken for covered.

    Raises:
        ConfigurationError: A value that cannot be used.
    """

    tolerance: float = 0.002
    age: float = 0.080
    darkness: float = 8.0

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < self.age:
            raise ConfigurationError(
                f"limits.tolerance={self.tolerance} must be above 0 and below limits.age={self.age} s"
            )
        if not 0 <= self.darkness < 255:
            raise ConfigurationError(f"limits.darkness={self.darkness} must be within 0 and 255")


class Intake:
    """Screens frames, matches them and keeps the newest triple. All methods may be called by any thread.

    Args:
        limits: What may be used.
    """

    def __init__(self, limits: Limits) -> None:
        self._tolerance, self._age = round(limits.tolerance * 1e9), round(limits.age * 1e9)
        self._darkness = limits.darkness
        self._matcher = Matcher(self._tolerance, self._age)
        self._lock = threading.Lock()
        self._sequence: dict[str, int] = {}
        self._picture: dict[str, NDArray[np.uint8]] = {}
        self._good: dict[str, int] = {}
        self._taken: Counter[str] = Counter()
        self._dropped: Counter[tuple[str, str]] = Counter()
        self._since: dict[str, Counter[str]] = {name: Counter() for name in CAMERAS}
        self._triple: Triple | None = None
        self._triples = 0
        self._error: str | None = None

    def add(self, frame: Frame) -> None:
        """Take a frame, use it or count why not."""
        with self._lock:
            if (fault := self._screen(frame)) is not None:
                self._drop(frame.camera, fault)
                return
            self._good[frame.camera] = max(frame.time_ns, self._good.get(frame.camera, frame.time_ns))
            self._since[frame.camera].clear()
            self._taken[frame.camera] += 1
            triple = self._matcher.add(frame)
            if triple is not None:
                self._triple = triple
                self._triples += 1

    def drop(self, camera: str, reason: str) -> None:
        """Count a frame that a source could not hand in."""
        with self._lock:
            self._drop(camera, reason)

    def restart(self, camera: str) -> None:
        """Expect a camera's numbers to begin anew."""
        with self._lock:
            self._sequence.pop(camera, None)

    def fail(self, text: str) -> None:
        """Let :meth:`latest` raise from now on; the first failure is told."""
        with self._lock:
            self._error = self._error or text

    def latest(self, now_ns: int) -> Look:
        """The newest triple, or why there is none; see :class:`~hardware.cameras.frames.Cameras`.

        Raises:
            HardwareError: A source has failed.
        """
        with self._lock:
            if self._error is not None:
                raise HardwareError(self._error)
            triple = self._triple
            if triple is not None and -self._tolerance <= now_ns - triple.time_ns <= self._age:
                return Look(triple, "")
            return Look(None, self._reason(now_ns))

    def report(self) -> Report:
        """Counts so far."""
        with self._lock:
            counts = self._dropped + self._matcher.dropped
            dropped: dict[str, dict[str, int]] = {name: {} for name in CAMERAS}
            for (camera, reason), count in sorted(counts.items()):
                dropped[camera][reason] = count
            return Report(self._triples, {name: self._taken[name] for name in CAMERAS}, dropped)

    def _screen(self, frame: Frame) -> str | None:
        """What is wrong with a frame by itself."""
        camera, picture = frame.camera, frame.picture
        if frame.sequence <= self._sequence.get(camera, frame.sequence - 1):
            return REPEATED
        self._sequence[camera] = frame.sequence
        before, self._picture[camera] = self._picture.get(camera), picture
        if before is not None and np.array_equal(before, picture):
            return REPEATED
        if picture[::EVERY, ::EVERY].mean() < self._darkness:
            return DARK
        return None

    def _drop(self, camera: str, reason: str) -> None:
        self._dropped[camera, reason] += 1
        self._since[camera][reason] += 1

    def _reason(self, now_ns: int) -> str:
        good = self._good
        silent = [name for name in CAMERAS if name not in good or now_ns - good[name] > self._age]
        if silent:
            return "; ".join(self._silence(name, now_ns) for name in silent)
        times = [good[name] for name in CAMERAS]
        if self._triple is not None and self._triple.time_ns > now_ns:
            return f"pictures are dated {_ms(self._triple.time_ns - now_ns)} ahead of the host's clock"
        return (
            f"no pictures of one instant: the cameras' newest lie {_ms(max(times) - min(times))} apart, "
            f"more than {_ms(self._tolerance)}, or were taken while their counterparts were lost"
        )

    def _silence(self, camera: str, now_ns: int) -> str:
        if camera not in self._good:
            text = f"{camera} has delivered nothing"
        else:
            text = f"{camera} has shown nothing new for {_ms(now_ns - self._good[camera])}"
        faults = ", ".join(f"{count} {reason}" for reason, count in sorted(self._since[camera].items()))
        return f"{text} ({faults})" if faults else text


def _ms(time_ns: int) -> str:
    return f"{time_ns / 1e6:.1f} ms"
