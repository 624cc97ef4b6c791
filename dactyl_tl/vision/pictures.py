"""Pictures as data sets: drawn afresh for every minibatch, drawn once for validation, or from a cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

from dactyl_tl.vision.drawing import Artist, Drawing, one_thread_each
from dactyl_tl.vision.poses import PoseAugmentation, object_pose

Sets = tuple[Tensor, Tensor, Tensor, Tensor]
"""Pictures uint8 (n, cameras, height, width, 3), position (n, 3) m and orientation (n, 4) in the hand-base
frame, keypoints in the pictures (n, cameras, k, 2)."""

START = "spawn"
"""How workers start: a copy of a process that has drawn would carry a dead renderer."""


class FreshPictures(IterableDataset):
    """Minibatches without end, every picture of them new. Each worker process has a renderer of its own.

    Args:
        drawing: How.
        qpos: States to choose from, (n, 31).
        poses: What becomes of the object in them.
        batch_size: Sets of pictures in a minibatch.
        entropy: Numbers that no other run, rank or session has together.
    """

    def __init__(
        self,
        drawing: Drawing,
        qpos: Tensor,
        poses: PoseAugmentation,
        batch_size: int,
        entropy: tuple[int, ...],
    ) -> None:
        self._drawing, self._qpos, self._poses = drawing, qpos, poses
        self._batch_size, self._entropy = batch_size, entropy

    def __iter__(self) -> Iterator[Sets]:
        worker = get_worker_info()
        if worker is not None:
            one_thread_each()
        generator = generator_of((*self._entropy, worker.id if worker is not None else 0))
        artist = self._drawing.open()
        try:
            while True:
                chosen = torch.randint(len(self._qpos), (self._batch_size,), generator=generator)
                qpos = self._poses(self._qpos[chosen], generator)
                pictures, points = artist.draw(qpos, generator)
                yield torch.from_numpy(pictures), *object_pose(qpos), points
        finally:
            artist.close()


class DrawnStates(Dataset):
    """One set of pictures of each of a list of states, the same at every time of asking.

    Args:
        drawing: How.
        qpos: States, (n, 31).
        seed: Of the looks.
    """

    def __init__(self, drawing: Drawing, qpos: Tensor, seed: int) -> None:
        self._drawing, self._qpos, self._seed = drawing, qpos, seed
        self._artist: Artist | None = None

    def __len__(self) -> int:
        return len(self._qpos)

    def __getitem__(self, index: int) -> Sets:
        if self._artist is None:
            one_thread_each()
            self._artist = self._drawing.open()
        qpos = self._qpos[index : index + 1]
        pictures, points = self._artist.draw(qpos, generator_of((self._seed, index)))
        position, orientation = object_pose(qpos)
        return torch.from_numpy(pictures[0]), position[0], orientation[0], points[0]


def draw_all(drawing: Drawing, qpos: Tensor, seed: int, workers: int) -> TensorDataset:
    """Pictures of all states in memory, drawn by worker processes. Raises what the renderer raises."""
    loader = DataLoader(
        DrawnStates(drawing, qpos, seed),
        batch_size=max(1, min(16, len(qpos) // workers)),
        num_workers=workers,
        multiprocessing_context=START,
    )
    parts = list(loader)
    return TensorDataset(*(torch.cat(each) for each in zip(*parts, strict=True)))


def generator_of(entropy: tuple[int, ...]) -> torch.Generator:
    """A generator seeded with all of these numbers."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
