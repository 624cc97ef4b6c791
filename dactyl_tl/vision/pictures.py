"""Pictures as data sets: drawn afresh for every minibatch, drawn once for validation, or from a cache."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, default_collate

from dactyl_tl.vision.artists import Artists, this_artist
from dactyl_tl.vision.cache import PictureCache
from dactyl_tl.vision.drawing import Drawing
from dactyl_tl.vision.poses import PoseAugmentation, object_pose

Sets = tuple[Tensor, Tensor, Tensor, Tensor]
"""Pictures uint8 (n, cameras, height, width, 3), position (n, 3) m and orientation (n, 4) in the hand-base
frame, keypoints in the pictures (n, cameras, k, 2)."""

SETS_AT_ONCE = 16
"""Sets that one process draws while others draw the rest of a minibatch."""

BATCHES_AHEAD = 2
"""Minibatches that are read from a cache while one is learnt."""


class Minibatches(IterableDataset):
    """A stream of minibatches without end. Whoever asks again, as every epoch does, is told how it goes on.

    Args:
        stream: Of :func:`fresh` or :func:`cached`.
    """

    def __init__(self, stream: Generator[Sets, None, None]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Sets]:
        return self._stream

    def close(self) -> None:
        """End what draws or reads; nothing comes after it."""
        self._stream.close()


def fresh(
    drawing: Drawing,
    qpos: Tensor,
    poses: PoseAugmentation,
    batch_size: int,
    entropy: tuple[int, ...],
    workers: int,
) -> Generator[Sets, None, None]:
    """Minibatches, every picture of them new; they do not depend on the number of workers.

    Args:
        drawing: How.
        qpos: States to choose from, (n, 31).
        poses: What becomes of the object in them.
        batch_size: Sets of pictures in a minibatch.
        entropy: Numbers that no other run, rank or session has together.
        workers: Processes that draw.

    Raises:
        CollectionError: They end again and again, or a renderer does not work.
    """

    def states() -> Iterator[Tensor]:
        generator = generator_of(entropy)
        while True:
            chosen = torch.randint(len(qpos), (batch_size,), generator=generator)
            yield from poses(qpos[chosen], generator).split(SETS_AT_ONCE)

    parts = -(-batch_size // SETS_AT_ONCE)
    with closing(Artists(drawing, workers)) as artists:
        sets = _drawn(artists, states(), entropy)
        while True:
            yield join(islice(sets, parts))


def cached(
    cache: PictureCache, batch_size: int, entropy: tuple[int, ...], workers: int
) -> Generator[Sets, None, None]:
    """Minibatches of what is in a cache, in ever new random orders.

    Threads read: pictures are decoded side by side, and what is mapped into memory need not be copied to
    other processes.

    Args:
        cache: What there is, at least one set.
        batch_size: Sets of pictures in a minibatch.
        entropy: As for :func:`fresh`.
        workers: Threads.
    """

    def order() -> Iterator[int]:
        generator = generator_of(entropy)
        while True:
            yield from torch.randperm(len(cache), generator=generator).tolist()

    indices = order()
    with ThreadPoolExecutor(workers) as pool:
        begun: deque[Iterator[Sets]] = deque()
        while True:
            while len(begun) <= BATCHES_AHEAD:
                begun.append(pool.map(cache.__getitem__, islice(indices, batch_size)))
            pictures, position, orientation, points = default_collate(list(begun.popleft()))
            yield pictures, position, orientation, points


def draw_all(drawing: Drawing, qpos: Tensor, seed: int, workers: int) -> Iterator[Sets]:
    """Pictures of states (n, 31) in their order, some at a time; the same at every time of asking.

    Args:
        drawing: How.
        qpos: States.
        seed: Of the looks.
        workers: Processes that draw.

    Raises:
        CollectionError: They end again and again, or a renderer does not work.
    """
    at_once = max(1, min(SETS_AT_ONCE, len(qpos) // workers))
    with closing(Artists(drawing, workers)) as artists:
        yield from _drawn(artists, qpos.split(at_once), (seed,))


def join(parts: Iterable[Sets]) -> Sets:
    """One tuple of what several hold."""
    pictures, position, orientation, points = (torch.cat(each) for each in zip(*parts, strict=True))
    return pictures, position, orientation, points


def _drawn(artists: Artists, parts: Iterable[Tensor], entropy: tuple[int, ...]) -> Iterator[Sets]:
    """Pictures of each part of a list of states; looks follow from a set's place in the list."""

    def calls() -> Iterator[tuple[Tensor, tuple[int, ...], int]]:
        first = 0
        for qpos in parts:
            yield qpos, entropy, first
            first += len(qpos)

    return artists.map(_draw, calls())


def _draw(qpos: Tensor, entropy: tuple[int, ...], first: int) -> Sets:
    artist = this_artist()
    drawn = [
        artist.draw(one, generator_of((*entropy, first + number))) for number, one in enumerate(qpos.split(1))
    ]
    pictures, points = zip(*drawn, strict=True)
    return torch.from_numpy(np.concatenate(pictures)), *object_pose(qpos), torch.cat(points)


def generator_of(entropy: tuple[int, ...]) -> torch.Generator:
    """A generator seeded with all of these numbers."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
