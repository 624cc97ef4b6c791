"""Pictures on disk, for machines where drawing is slow: shards of JPEG pictures with the poses in them.

A shard is a safetensors file, written whole or not at all. What cannot be read as it was written is
counted and left out. Building goes on where it was interrupted.
"""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import Dataset

from dactyl_tl.contract import CAMERAS

SHARD = "pictures-{:05d}.safetensors"

JPEG_QUALITY = 95


def encode(pictures: NDArray[np.uint8]) -> bytes:
    """One set of pictures (cameras, height, width, 3), side by side, as JPEG of full colour resolution."""
    file = io.BytesIO()
    Image.fromarray(np.concatenate(list(pictures), axis=1)).save(
        file, "jpeg", quality=JPEG_QUALITY, subsampling=0
    )
    return file.getvalue()


def decode(data: bytes) -> NDArray[np.uint8]:
    """What :func:`encode` wrote, but for JPEG's losses."""
    wide = np.asarray(Image.open(io.BytesIO(data)))
    return np.stack(np.split(wide, len(CAMERAS), axis=1))


def write_shard(
    path: Path, pictures: list[bytes], position: Tensor, orientation: Tensor, points: Tensor
) -> None:
    """Write encoded sets with the object's pose in each, whole or not at all.

    Args:
        path: Of the shard.
        pictures: n encoded sets.
        position: Hand-base frame, m, (n, 3).
        orientation: Hand-base frame, wxyz, (n, 4).
        points: Keypoints in the pictures, (n, cameras, k, 2).
    """
    data = b"".join(pictures)
    ends = torch.tensor([len(each) for each in pictures]).cumsum(0)
    tensors = {
        "pictures": torch.frombuffer(bytearray(data), dtype=torch.uint8),
        "ends": ends,
        "position": position.contiguous(),
        "orientation": orientation.contiguous(),
        "points": points.contiguous(),
    }
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(save(tensors, {"crc32": str(zlib.crc32(data))}))
    partial.replace(path)


@dataclass(frozen=True)
class Shard:
    """A shard that was read as it was written; its pictures stay on disk, mapped into memory."""

    pictures: NDArray[np.uint8]
    ends: Tensor
    position: Tensor
    orientation: Tensor
    points: Tensor

    def __len__(self) -> int:
        return len(self.ends)

    def encoded(self, index: int) -> bytes:
        """One set, as :func:`encode` gave it."""
        begin = int(self.ends[index - 1]) if index else 0
        return self.pictures[begin : int(self.ends[index])].tobytes()


def read_shard(path: Path) -> Shard | None:
    """A shard, or None where the file is not what was once written."""
    try:
        with safe_open(path, "pt") as file:
            crc = (file.metadata() or {}).get("crc32")
            ends, *truth = (file.get_tensor(n) for n in ("ends", "position", "orientation", "points"))
        pictures = _mapped(path, int(ends[-1]))
    except (OSError, ValueError, KeyError, IndexError, safetensors.SafetensorError):
        return None
    if crc != str(zlib.crc32(pictures.data)) or any(len(each) != len(ends) for each in truth):
        return None
    return Shard(pictures, ends, *truth)


def _mapped(path: Path, size: int) -> NDArray[np.uint8]:
    """The ``pictures`` of a safetensors file, mapped: its layout is a length, a JSON header, the data."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    begin, end = header["pictures"]["data_offsets"]
    if end - begin != size:
        raise ValueError(f"{path} holds {end - begin} bytes of pictures, not {size}")
    return np.memmap(path, np.uint8, "r", 8 + length + begin, (size,))


class PictureCache(Dataset):
    """The sets of pictures in a directory of shards, in the order of the shards.

    Attributes:
        damaged: Shards that were left out.

    Args:
        directory: Of the shards.
        most: Shards to read at most; None for all.
    """

    def __init__(self, directory: Path, most: int | None = None) -> None:
        paths = sorted(directory.glob(SHARD.replace("{:05d}", "*")))[:most]
        shards = [read_shard(path) for path in paths]
        self._shards = [shard for shard in shards if shard is not None]
        self.damaged = len(shards) - len(self._shards)
        self._ends = np.cumsum([len(shard) for shard in self._shards])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures (cameras, height, width, 3), position (3,), orientation (4,), points (cameras, k, 2)."""
        number = int(np.searchsorted(self._ends, index, side="right"))
        shard = self._shards[number]
        within = index - (int(self._ends[number - 1]) if number else 0)
        pictures = torch.from_numpy(decode(shard.encoded(within)))
        return pictures, shard.position[within], shard.orientation[within], shard.points[within]


def unusable_shards(directory: Path, count: int) -> tuple[list[int], list[int]]:
    """Numbers of the first ``count`` shards that are not there, and of those that are damaged."""
    paths = [directory / SHARD.format(number) for number in range(count)]
    absent = [number for number, path in enumerate(paths) if not path.exists()]
    damaged = [
        number for number, path in enumerate(paths) if number not in absent and read_shard(path) is None
    ]
    return absent, damaged
