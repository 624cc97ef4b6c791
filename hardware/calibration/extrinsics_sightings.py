"""Files of what cameras and motion capture saw at once: a line of JSON for each marker in each picture.

The first line tells the pictures' size; each other one has ``camera``, ``time_ns``, ``pixel`` (from the top
left corner to the right and down) and ``point`` (m, in the hand-base frame).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.errors import ConfigurationError

KIND, VERSION = "camera sightings", 1


@dataclass(frozen=True)
class Sightings:
    """What one camera saw.

    Attributes:
        time_ns: (n,) of the exposures.
        pixels: (n, 2).
        points: (n, 3) m, hand-base frame.
    """

    time_ns: NDArray[np.int64]
    pixels: NDArray[np.float64]
    points: NDArray[np.float64]


def save_sightings(
    path: str | os.PathLike[str], picture: tuple[int, int], sightings: Mapping[str, Sightings]
) -> None:
    """Write sightings by camera; ``picture`` is the pictures' width and height."""
    lines = [json.dumps({"kind": KIND, "version": VERSION, "picture": list(picture)})]
    for camera, seen in sightings.items():
        for time, pixel, point in zip(seen.time_ns, seen.pixels, seen.points, strict=True):
            row = {"camera": camera, "time_ns": int(time), "pixel": pixel.tolist(), "point": point.tolist()}
            lines.append(json.dumps(row, allow_nan=False))
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def load_sightings(path: str | os.PathLike[str]) -> tuple[tuple[int, int], dict[str, Sightings]]:
    """The pictures' size, and sightings by camera.

    Raises:
        ConfigurationError: no such file, or not such a file; the message says why.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        head, *rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        if head["kind"] != KIND or head["version"] != VERSION:
            raise ValueError(f"it is a {head['kind']!r} of version {head['version']!r}")
        width, height = (int(side) for side in head["picture"])
        cameras = dict.fromkeys(str(row["camera"]) for row in rows)
        sightings = {}
        for camera in cameras:
            own = [row for row in rows if row["camera"] == camera]
            pixels = np.array([row["pixel"] for row in own], dtype=np.float64)
            points = np.array([row["point"] for row in own], dtype=np.float64)
            if pixels.shape != (len(own), 2) or points.shape != (len(own), 3):
                raise ValueError(f"pixels and points of {camera} have shapes {pixels.shape}, {points.shape}")
            if not (np.isfinite(pixels).all() and np.isfinite(points).all()):
                raise ValueError(f"pixels or points of {camera} are not finite")
            time = np.array([row["time_ns"] for row in own], dtype=np.int64)
            sightings[camera] = Sightings(time, pixels, points)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"sightings {os.fspath(path)} cannot be read: {type(error).__name__} {error}"
        ) from error
    return (width, height), sightings
