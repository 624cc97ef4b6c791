"""Shards of a cache with pictures that tell their number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dactyl_tl.vision.cache import encode, write_shard


def smooth_pictures(number: int) -> np.ndarray:
    ramp = np.linspace(0, 200, 200)[None, None, :, None] + np.arange(3)[:, None, None, None] * 10 + number
    return np.broadcast_to(ramp, (3, 200, 200, 3)).astype(np.uint8)


def write(path: Path, sets: int = 4, first: int = 0) -> None:
    numbers = torch.arange(first, first + sets).float()
    write_shard(
        path, [encode(smooth_pictures(int(n))) for n in numbers], numbers[:, None].expand(-1, 3),
        numbers[:, None].expand(-1, 4), numbers[:, None, None, None].expand(-1, 3, 9, 2),
    )  # fmt: skip
