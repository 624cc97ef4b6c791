"""When something that costs time is due."""

from __future__ import annotations

import time


class Schedule:
    """Due at once, then every so many minutes of wall-clock time.

    Args:
        minutes: between the end of one and the start of the next.

    Raises:
        ValueError: ``minutes`` is not positive.
    """

    def __init__(self, minutes: float) -> None:
        if not minutes > 0:
            raise ValueError(f"minutes is {minutes!r}; it must be above 0")
        self._period = 60.0 * minutes
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self._next

    def done(self) -> None:
        """Begin to wait again."""
        self._next = time.monotonic() + self._period
