"""Processes that draw, each with a renderer of its own, which cannot be shared and may abort its process."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from dactyl_tl.errors import CollectionError
from dactyl_tl.processes import die_with_parent
from dactyl_tl.vision.drawing import Artist, Drawing, one_thread_each
from dactyl_tl.vision.pictures import START

ATTEMPTS = 3
"""Times that processes may end, one soon after the other, before drawing is given up."""

Result = TypeVar("Result")

_artist: Artist | None = None


class Artists:
    """A pool of processes whose jobs may ask for :func:`this_artist`; one that ends is replaced.

    A renderer's driver can end its process after hours of drawing. What was lost is drawn again: pictures
    follow from their job, whoever does it.

    Args:
        drawing: What they draw.
        workers: How many.
    """

    def __init__(self, drawing: Drawing, workers: int) -> None:
        self._drawing, self._workers = drawing, workers
        self._pool = self._open()

    def map(self, job: Callable[..., Result], calls: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
        """What ``job`` returns for the arguments of each call, in order.

        Raises:
            CollectionError: Processes ended :data:`ATTEMPTS` times without getting anything done.
        """
        jobs = dict(enumerate(calls))
        done = {number: self._submit(job, call) for number, call in jobs.items()}
        ended = 0
        for number in jobs:
            while (result := _outcome(done[number])) is None:
                ended += 1
                if ended == ATTEMPTS:
                    raise CollectionError(f"processes that draw pictures ended {ended} times in a row")
                self._replace()
                lost = [n for n in jobs if n >= number and _outcome(done[n]) is None]
                done |= {n: self._submit(job, jobs[n]) for n in lost}
            ended = 0
            yield result[0]

    def close(self) -> None:
        """End the processes; what they have not begun is left undone."""
        self._pool.shutdown(cancel_futures=True)

    def _submit(self, job: Callable[..., Result], call: tuple[Any, ...]) -> Future[Result]:
        try:
            return self._pool.submit(job, *call)
        except BrokenProcessPool:  # between two jobs
            self._replace()
            return self._pool.submit(job, *call)

    def _replace(self) -> None:
        warnings.warn("a process that draws pictures ended; it is replaced", stacklevel=2)
        self._pool.shutdown()  # every job has its outcome after it
        self._pool = self._open()

    def _open(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context(START)
        return ProcessPoolExecutor(self._workers, context, _start, (self._drawing, os.getpid()))


def this_artist() -> Artist:
    """What draws in this process of the pool."""
    assert _artist is not None, "this process is none of a pool of artists"
    return _artist


def _outcome(job: Future[Result]) -> tuple[Result] | None:
    """What a job returned; None if its process ended. Raises what the job raised."""
    try:
        return (job.result(),)
    except BrokenProcessPool:
        return None


def _start(drawing: Drawing, parent: int) -> None:
    global _artist
    die_with_parent(parent)
    one_thread_each()
    _artist = drawing.open()
