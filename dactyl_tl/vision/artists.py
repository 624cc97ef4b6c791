"""Processes that draw, each with a renderer of its own, which cannot be shared and may abort its process."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from dactyl_tl.errors import CollectionError
from dactyl_tl.processes import die_with_parent, shielded_children
from dactyl_tl.rendering.offscreen import RendererError
from dactyl_tl.vision.drawing import Artist, Drawing, one_thread_each

START = "spawn"
"""How processes start: a copy of one that has drawn would carry a dead renderer."""

ATTEMPTS = 3
"""Times that processes may end, one soon after the other, before drawing is given up."""

PATIENCE_SECONDS = 600.0
"""How long a process may be at one job, of which the longest take half a minute on one slow core."""

AHEAD = 4
"""Jobs for each process that are begun or done before their results are asked for."""

Result = TypeVar("Result")

_drawing: Drawing | None = None
_artist: Artist | None = None


class Artists:
    """A pool of processes whose jobs may ask for :func:`this_artist`; one that ends is replaced.

    A renderer's driver can end its process after hours of drawing, or hang in it; a process that hangs ends
    itself and says where it was. What was lost is drawn again: pictures follow from their job, whoever does
    it.

    Args:
        drawing: What they draw.
        workers: How many.
        patience_seconds: For each job.
    """

    def __init__(self, drawing: Drawing, workers: int, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._drawing, self._workers, self._patience = drawing, workers, patience_seconds
        self._pool = self._open()

    def map(self, job: Callable[..., Result], calls: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
        """What ``job`` returns for the arguments of each call, in order; there may be calls without end.

        Raises:
            CollectionError: Processes ended :data:`ATTEMPTS` times without getting anything done, or a
                renderer failed.
        """
        calls, ended = iter(calls), 0
        begun: deque[tuple[tuple[Any, ...], Future[Result]]] = deque()
        while True:
            room = AHEAD * self._workers - len(begun)
            begun.extend((call, self._submit(job, call)) for call in islice(calls, room))
            if not begun:
                return
            if (result := _outcome(begun[0][1])) is not None:
                ended = 0
                begun.popleft()
                yield result[0]
                continue
            ended += 1
            if ended == ATTEMPTS:
                raise CollectionError(f"processes that draw pictures ended {ended} times in a row")
            self._replace()
            begun = deque(
                (call, self._submit(job, call) if _outcome(future) is None else future)
                for call, future in begun
            )

    def close(self) -> None:
        """End the processes; what they have not begun is left undone."""
        self._pool.shutdown(cancel_futures=True)

    def _submit(self, job: Callable[..., Result], call: tuple[Any, ...]) -> Future[Result]:
        try:
            with shielded_children():  # the first job starts the processes
                return self._pool.submit(_in_time, self._patience, job, call)
        except BrokenProcessPool as error:  # lost before it was begun
            lost: Future[Result] = Future()
            lost.set_exception(error)
            return lost

    def _replace(self) -> None:
        warnings.warn("a process that draws pictures ended; it is replaced", stacklevel=2)
        self._pool.shutdown()  # every job has its outcome after it
        self._pool = self._open()

    def _open(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context(START)
        return ProcessPoolExecutor(self._workers, context, _start, (self._drawing, os.getpid()))


def this_artist() -> Artist:
    """What draws in this process of the pool. Raises what the renderer raises."""
    global _artist
    assert _drawing is not None, "this process is none of a pool of artists"
    if _artist is None:
        _artist = _drawing.open()
    return _artist


def _outcome(job: Future[Result]) -> tuple[Result] | None:
    """What a job returned; None if its process ended. Raises the job's errors, a renderer's as ours."""
    try:
        return (job.result(),)
    except BrokenProcessPool:
        return None
    except RendererError as error:
        raise CollectionError(str(error)) from error


def _in_time(patience: float, job: Callable[..., Result], call: tuple[Any, ...]) -> Result:
    """What ``job`` returns. This process ends if it takes longer: a driver that hangs may hold Python's lock.

    Watched from inside, as a pool does not tell which of its processes is at a job and which idles.
    """
    faulthandler.dump_traceback_later(patience, exit=True)
    try:
        return job(*call)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _start(drawing: Drawing, parent: int) -> None:
    global _drawing
    die_with_parent(parent)
    os.setsid()  # a signal to the parent's group, as by a terminal, is the parent's business
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])  # with it a broken pool ends what is left
    one_thread_each()
    _drawing = drawing
