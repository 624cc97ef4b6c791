"""Workers that neither answer nor end: stopped, or waiting for something that never comes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dactyl_tl.processes import computed, stopped

POLL = 1.0
"""Seconds between two looks at the workers. Looks are counted, not the clock, which runs on while the
learner itself is stopped."""


class Patience:
    """Kills a worker that the learner waits for in vain, so that it counts as any other that ended.

    A sign of life is time on a processor: a worker that computes for long is slow, not lost. On systems
    without ``/proc`` nothing happens.

    Args:
        pids: process ids of the workers.
        seconds: without a sign of life after which a worker counts as lost.

    Attributes:
        lost: why a worker was killed, by its number.
    """

    def __init__(self, pids: Sequence[int], seconds: float) -> None:
        self._pids, self._seconds = pids, seconds
        self.lost: dict[int, str] = {}

    @contextmanager
    def waiting(self, late: Callable[[], Sequence[int]]) -> Iterator[None]:
        """While the learner waits for the workers whose numbers ``late`` returns."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over, late), name="patience", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, over: threading.Event, late: Callable[[], Sequence[int]]) -> None:
        poll = min(POLL, self._seconds / 5)
        quiet, before = [0.0] * len(self._pids), [computed(pid) for pid in self._pids]
        while not over.wait(poll):
            now = [computed(pid) for pid in self._pids]
            expected = late()
            for index, pid in enumerate(self._pids):
                silent = index in expected and now[index] is not None and now[index] == before[index]
                quiet[index] = quiet[index] + poll if silent else 0.0
                if quiet[index] >= self._seconds and index not in self.lost:
                    state = "stopped" if stopped(pid) else "stuck"
                    self.lost[index] = f"gave no sign of life for {self._seconds:g} s; it was {state}"
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            before = now
