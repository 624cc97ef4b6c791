"""Processes that draw, each with a renderer of its own, which cannot be shared and may abort its process."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from dactyl_tl.processes import die_with_parent
from dactyl_tl.vision.drawing import Artist, Drawing, one_thread_each
from dactyl_tl.vision.pictures import START

_artist: Artist | None = None


def artists(drawing: Drawing, workers: int) -> ProcessPoolExecutor:
    """A pool whose jobs may ask for :func:`this_artist`."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context(START), _start, (drawing, os.getpid()))


def this_artist() -> Artist:
    """What draws in this process of the pool."""
    assert _artist is not None, "this process is none of a pool of artists"
    return _artist


def _start(drawing: Drawing, parent: int) -> None:
    global _artist
    die_with_parent(parent)
    one_thread_each()
    _artist = drawing.open()
