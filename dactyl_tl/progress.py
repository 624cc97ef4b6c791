"""How far what takes long has come: bars on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS = 60.0
"""Between two lines in a log; what takes less leaves none."""


class Report(Protocol):
    """Told how far something has come."""

    def __call__(self, what: str, done: int, total: int, said: str = "") -> None:
        """Say that ``done`` of ``total`` of ``what`` are done, and what else there is to say."""


def unreported(what: str, done: int, total: int, said: str = "") -> None:
    """The :class:`Report` that nobody hears."""


@contextmanager
def progress_reports(console: Console, seconds: float = SECONDS) -> Iterator[Report]:
    """Show what is reported: a bar for each, gone when it is done; where there is no terminal, lines.

    Args:
        console: where to.
        seconds: between two lines.
    """
    if not console.is_terminal:
        yield _Lines(console, seconds)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"),
    )  # fmt: skip
    bars = Progress(*columns, console=console, transient=True)
    tasks: dict[str, TaskID] = {}

    def show(what: str, done: int, total: int, said: str = "") -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total, said=said)
        bars.update(tasks[what], completed=done, said=said, visible=done < total)
        if bars.finished:  # leaves the screen to others meanwhile
            bars.stop()
        else:
            bars.start()

    try:
        yield show
    finally:
        bars.stop()


class _Lines:
    """A line at most every ``seconds``, the first after as long."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._console, self._seconds = console, seconds
        self._began = self._last = time.monotonic()

    def __call__(self, what: str, done: int, total: int, said: str = "") -> None:
        now = time.monotonic()
        if now - self._last < self._seconds:
            return
        self._last = now
        parts = [f"{what}: {done:,} of {total:,}", *([said] if said else [])]
        words = f"{', '.join(parts)}, {(now - self._began) / 60:.0f} min"
        self._console.print(words, highlight=False, markup=False, soft_wrap=True)
