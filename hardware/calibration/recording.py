"""Recordings of raw joint readings beside measured fingertips, from which joint sensors are calibrated.

A row is an instant. ``.npz`` holds one array per field and ``.jsonl`` one object a line, after a first line
that names the sensors; neither can carry code.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.contract import NUM_FINGERS
from dactyl_tl.errors import ConfigurationError

KIND, VERSION = "joint recording", 1

MOVING = -1
"""Pose number of rows in which the hand is on its way."""

SEEN_SHARE = 0.5
"""A marker counts in a pose where it is valid in at least this share of the pose's rows."""


@dataclass(frozen=True)
class JointRecording:
    """Rows of simultaneous readings.

    Attributes:
        sensors: names of the columns of ``raw``.
        time_ns: (n,) int64, ``time.monotonic_ns()``.
        pose: (n,) int64, number of the pose that the hand holds still, :data:`MOVING` between poses.
        raw: (n, sensors) in the sensors' unit.
        fingertips: (n, 5, 3) m in the hand-base frame.
        valid: (n, 5) bool, whether motion capture saw the fingertip.

    Raises:
        ConfigurationError: shapes that do not fit, or values that are not finite where they count.
    """

    sensors: tuple[str, ...]
    time_ns: NDArray[np.int64]
    pose: NDArray[np.int64]
    raw: NDArray[np.float64]
    fingertips: NDArray[np.float64]
    valid: NDArray[np.bool_]

    def __post_init__(self) -> None:
        rows = len(self.time_ns)
        expected = {
            "time_ns": (rows,),
            "pose": (rows,),
            "raw": (rows, len(self.sensors)),
            "fingertips": (rows, NUM_FINGERS, 3),
            "valid": (rows, NUM_FINGERS),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ConfigurationError(f"{name} has shape {getattr(self, name).shape}; expected {shape}")
        if rows == 0:
            raise ConfigurationError("the recording is empty")
        if not np.isfinite(self.raw).all():
            row, column = np.argwhere(~np.isfinite(self.raw))[0]
            raise ConfigurationError(f"sensor {self.sensors[column]} has no finite reading in row {row}")
        if not np.isfinite(self.fingertips[self.valid]).all():
            raise ConfigurationError("a fingertip that is marked valid is not finite")

    def columns(self, sensors: Sequence[str]) -> NDArray[np.float64]:
        """Readings (n, len(sensors)) of the named sensors.

        Raises:
            ConfigurationError: the recording lacks one.
        """
        missing = [name for name in sensors if name not in self.sensors]
        if missing:
            raise ConfigurationError(
                f"the recording lacks sensors {', '.join(missing)}; it has {', '.join(self.sensors)}"
            )
        return self.raw[:, [self.sensors.index(name) for name in sensors]]

    def held_poses(self) -> JointRecording:
        """One row a pose: medians over the rows in which it was held, in the order of their numbers.

        Medians, because one frame with swapped markers would move a mean. Rows on the way are left out.

        Raises:
            ConfigurationError: no pose was held.
        """
        numbers = [number for number in np.unique(self.pose) if number != MOVING]
        if not numbers:
            raise ConfigurationError("the recording has no row with a pose number, only ways between poses")
        time, raw, fingertips, valid = [], [], [], []
        for number in numbers:
            rows = self.pose == number
            seen = self.valid[rows]
            time.append(int(np.median(self.time_ns[rows])))
            raw.append(np.median(self.raw[rows], axis=0))
            valid.append(seen.mean(axis=0) >= SEEN_SHARE)
            points = np.where(seen[..., None], self.fingertips[rows], np.nan)
            fingertips.append(
                [
                    np.nanmedian(points[:, i], axis=0) if seen[:, i].any() else np.zeros(3)
                    for i in range(NUM_FINGERS)
                ]
            )
        return JointRecording(
            self.sensors,
            np.array(time),
            np.array(numbers),
            np.array(raw),
            np.array(fingertips),
            np.array(valid),
        )

    def select(self, rows: NDArray[np.bool_]) -> JointRecording:
        """The rows (n,) that are true."""
        return JointRecording(
            self.sensors, self.time_ns[rows], self.pose[rows], self.raw[rows], self.fingertips[rows],
            self.valid[rows],
        )  # fmt: skip


def save_recording(path: str | os.PathLike[str], recording: JointRecording) -> None:
    """Write as ``.npz`` or ``.jsonl``, by the name.

    Raises:
        ConfigurationError: another ending.
    """
    path = Path(path)
    if path.suffix == ".npz":
        np.savez_compressed(
            path, kind=KIND, version=VERSION, sensors=np.array(recording.sensors), time_ns=recording.time_ns,
            pose=recording.pose, raw=recording.raw, fingertips=recording.fingertips, valid=recording.valid,
        )  # fmt: skip
    elif path.suffix == ".jsonl":
        lines = [json.dumps({"kind": KIND, "version": VERSION, "sensors": list(recording.sensors)})]
        for i in range(len(recording.time_ns)):
            points = [
                point.tolist() if seen else None
                for point, seen in zip(recording.fingertips[i], recording.valid[i], strict=True)
            ]
            lines.append(
                json.dumps(
                    {
                        "time_ns": int(recording.time_ns[i]),
                        "pose": int(recording.pose[i]),
                        "raw": recording.raw[i].tolist(),
                        "fingertips": points,
                    }
                )
            )
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        raise ConfigurationError(f"a recording ends in .npz or .jsonl, not {path.name}")


def load_recording(path: str | os.PathLike[str]) -> JointRecording:
    """Read what :func:`save_recording` wrote.

    Raises:
        ConfigurationError: no such file, or no valid recording; the message says why.
    """
    path = Path(path)
    try:
        if path.suffix == ".npz":
            return _load_npz(path)
        if path.suffix == ".jsonl":
            return _load_lines(path)
    except ConfigurationError as error:
        raise ConfigurationError(f"recording {path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"recording {path} cannot be read: {type(error).__name__} {error}"
        ) from error
    raise ConfigurationError(f"a recording ends in .npz or .jsonl, not {path.name}")


def _load_npz(path: Path) -> JointRecording:
    with np.load(path, allow_pickle=False) as archive:
        _check(str(archive["kind"]), int(archive["version"]))
        return JointRecording(
            tuple(map(str, archive["sensors"])),
            archive["time_ns"].astype(np.int64),
            archive["pose"].astype(np.int64),
            archive["raw"].astype(np.float64),
            archive["fingertips"].astype(np.float64),
            archive["valid"].astype(np.bool_),
        )


def _load_lines(path: Path) -> JointRecording:
    head, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    _check(head["kind"], head["version"])
    return JointRecording(
        tuple(map(str, head["sensors"])),
        np.array([row["time_ns"] for row in rows], dtype=np.int64),
        np.array([row["pose"] for row in rows], dtype=np.int64),
        np.array([row["raw"] for row in rows], dtype=np.float64),
        np.array(
            [[point or (0.0, 0.0, 0.0) for point in row["fingertips"]] for row in rows], dtype=np.float64
        ),
        np.array([[point is not None for point in row["fingertips"]] for row in rows], dtype=np.bool_),
    )


def _check(kind: str, version: int) -> None:
    if kind != KIND or version != VERSION:
        raise ConfigurationError(f"it is a {kind!r} of version {version!r}, not a {KIND!r} of {VERSION}")
