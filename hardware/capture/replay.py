"""Recordings of frames: a JSON object a line, the first a header; what is not finite is null."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dactyl_tl.errors import ConfigurationError
from hardware.capture.frames import EndOfRecording, Frame, Marker, marker

FORMAT, VERSION = "motion capture", 1
"""What the header says."""


class Recorder:
    """Writes frames to a new file; usable in ``with``.

    Args:
        path: of the file.
        source: name of what the frames come from, for people.
    """

    def __init__(self, path: str | os.PathLike[str], source: str) -> None:
        self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._write({"format": FORMAT, "version": VERSION, "source": source})

    def write(self, frame: Frame) -> None:
        """Add a frame."""
        markers = {}
        for id_, each in frame.markers.items():
            finite = bool(np.isfinite(each.position).all())
            position = each.position.tolist() if finite else None
            markers[id_] = [position, each.valid, each.quality if math.isfinite(each.quality) else None]
        self._write(
            {
                "sequence": frame.sequence,
                "device_time": frame.device_time,
                "received_ns": frame.received_ns,
                "markers": markers,
            }
        )

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(record, allow_nan=False) + "\n")


class Replay:
    """Frames of a recording.

    Args:
        path: of the file, which is read whole.
        paced: hand frames over when as much time has passed as between them when they were recorded, stamped
            with this machine's clock; otherwise one at every poll, with the stamps of the recording.
        looped: begin again at the end; sequence and times go on counting.

    Raises:
        ConfigurationError: there is no such file, or a line of it is no frame.
    """

    def __init__(self, path: str | os.PathLike[str], *, paced: bool = True, looped: bool = False) -> None:
        self.name = f"replay of {path}"
        self._frames = load_recording(path)
        self._paced = paced
        self._looped = looped
        self._next = 0
        self._round = 0
        self._began_ns: int | None = None

    def poll(self) -> list[Frame]:
        """See :class:`hardware.capture.frames.Source`; at the end raises ``EndOfRecording``."""
        now_ns = time.monotonic_ns()
        if self._began_ns is None:
            self._began_ns = now_ns
        if self._next >= len(self._frames) and not self._looped:
            raise EndOfRecording(f"{self.name}: it has no more frames")
        if not self._paced:
            return [self._advance()]
        shift = self._began_ns - self._frames[0].received_ns
        frames = []
        while self._looped or self._next < len(self._frames):
            frame = self._peek()
            if frame.received_ns + shift > now_ns:
                break
            frames.append(replace(self._advance(), received_ns=frame.received_ns + shift))
        return frames

    def close(self) -> None:
        """Nothing is open."""

    def _advance(self) -> Frame:
        frame = self._peek()
        self._next += 1
        return frame

    def _peek(self) -> Frame:
        frames = self._frames
        if self._next == len(frames):
            self._next, self._round = 0, self._round + 1
        frame, first, last = frames[self._next], frames[0], frames[-1]
        between = max(1, len(frames) - 1)  # the pause between two rounds is the mean one between two frames
        device = (last.device_time - first.device_time) * (1.0 + 1.0 / between)
        arrival = (last.received_ns - first.received_ns) * (between + 1) // between
        return replace(
            frame,
            sequence=frame.sequence + self._round * (last.sequence - first.sequence + 1),
            device_time=frame.device_time + self._round * device,
            received_ns=frame.received_ns + self._round * arrival,
        )


def load_recording(path: str | os.PathLike[str]) -> list[Frame]:
    """All frames of a file that :class:`Recorder` wrote.

    Raises:
        ConfigurationError: there is no such file, or a line of it is no frame; names the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the recording {path}: {error}") from None
    frames = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if number > 1:
                frames.append(_frame(record))
            elif (record["format"], record["version"]) != (FORMAT, VERSION):
                raise ValueError(f"version {record['version']}, this program reads {VERSION}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"{path}, line {number}, is no frame of motion capture: {type(error).__name__}: {error}"
            ) from None
    if not frames:
        raise ConfigurationError(f"{path} holds no frames")
    return frames


def _frame(record: Mapping[str, Any]) -> Frame:
    markers = {int(id_): _marker(*values) for id_, values in record["markers"].items()}
    return Frame(int(record["sequence"]), float(record["device_time"]), int(record["received_ns"]), markers)


def _marker(position: list[float] | None, valid: bool, quality: float | None) -> Marker:
    x, y, z = position if position is not None else (math.nan,) * 3
    return marker(x, y, z, seen=valid, quality=math.nan if quality is None else quality)
