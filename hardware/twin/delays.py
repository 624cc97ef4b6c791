"""Things that arrive later than they were sent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Delayed(Generic[Thing]):
    """A queue whose things come out in order, each no earlier than its delay."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Thing]] = deque()

    def put(self, thing: Thing, delay: float) -> None:
        """Put something in, for ``delay`` s."""
        self._waiting.append((time.monotonic_ns() + round(delay * 1e9), thing))

    def take(self) -> Iterator[Thing]:
        """What is due."""
        while self._waiting and self._waiting[0][0] <= time.monotonic_ns():
            yield self._waiting.popleft()[1]
