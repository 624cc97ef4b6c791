"""A camera's own clock in terms of the host's.

Readings of the camera's clock, each between two readings of the host's, bound how far the clocks are apart.
The narrowest of the recent ones is used: a reading that was delayed on its way says less, and an old one
has drifted. Quartz clocks differ by less than :data:`DRIFT`, so the error stays below half the width of
the reading plus ``DRIFT * RECENT_NS``: with 0.5 ms readings, below 0.5 ms.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

RECENT_NS = 2_000_000_000
"""How old a reading may be that is used."""

READ_EVERY_NS = 250_000_000
"""Between two readings."""

DRIFT = 1e-4
"""How much faster or slower one clock runs than another, at most: quartz is specified to 50 ppm."""


class Reading(NamedTuple):
    """A look at both clocks.

    Attributes:
        before_ns: The host's, before the camera was asked.
        device_ns: The camera's, by which it stamps frames.
        after_ns: The host's, after the camera had answered.
    """

    before_ns: int
    device_ns: int
    after_ns: int

    @property
    def error_ns(self) -> int:
        """How far its offset may be off."""
        return (self.after_ns - self.before_ns + 1) // 2

    @property
    def offset_ns(self) -> int:
        """What the host's clock is ahead."""
        return (self.before_ns + self.after_ns) // 2 - self.device_ns


class DeviceClock:
    """Times of a camera's clock as times of the host's."""

    def __init__(self) -> None:
        self._readings: deque[Reading] = deque()
        self._best: Reading | None = None

    def add(self, reading: Reading) -> None:
        """Take a reading, newer than those before."""
        readings = self._readings
        readings.append(reading)
        while readings[0].after_ns < reading.after_ns - RECENT_NS:
            readings.popleft()
        self._best = min(readings, key=lambda each: each.error_ns)

    def due(self, now_ns: int) -> bool:
        """Whether it is time for another reading."""
        return not self._readings or now_ns - self._readings[-1].after_ns >= READ_EVERY_NS

    @property
    def error_ns(self) -> int:
        """How far :meth:`host_ns` may be off, the drift included.

        Raises:
            ValueError: There is no reading.
        """
        return self._reading().error_ns + round(DRIFT * RECENT_NS)

    def host_ns(self, device_ns: int) -> int:
        """A time of the camera's clock by the host's.

        Raises:
            ValueError: There is no reading.
        """
        return device_ns + self._reading().offset_ns

    def _reading(self) -> Reading:
        if self._best is None:
            raise ValueError("the camera's clock has not been read")
        return self._best
