"""One trial's record: an MCAP file of JSON messages, each on its way to the disk before the next.

Any MCAP viewer opens it. Floats are written so that they come back bit for bit; what is not finite is null.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mcap.exceptions import McapError
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import Writer
from numpy.typing import NDArray
from PIL import Image

from hardware.errors import HardwareError

LIBRARY = "dactyl_tl"
ANYTHING = b'{"type": "object"}'
PICTURE = "foxglove.CompressedImage"

JPEG_QUALITY = 95
"""Of pictures: 4 ms and 0.2 MB for 640 x 480, where PNG takes longer than a control step."""

RESERVE = 200_000_000
"""Bytes that must be free where a trial's record begins: an hour takes 160 MB without pictures."""


class RecordError(HardwareError):
    """A record cannot be written or read."""


class Entry(NamedTuple):
    """One message of a record.

    Attributes:
        topic: What it is about.
        time_ns: When it was written, ns since the epoch.
        fields: What it says.
    """

    topic: str
    time_ns: int
    fields: dict[str, Any]


class Record:
    """A file that grows with its trial.

    Args:
        path: Of the file, which must not exist.

    Raises:
        RecordError: It cannot be made, or the disk is nearly full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            space = os.statvfs(path.parent)
            if space.f_bavail * space.f_frsize < RESERVE:
                raise RecordError(
                    f"{path.parent} has {space.f_bavail * space.f_frsize / 1e6:.0f} MB left; a trial needs "
                    f"{RESERVE / 1e6:.0f} MB: make room, or choose another output directory"
                )
            self._file = path.open("xb")
            self._writer = Writer(self._file, use_chunking=False, enable_data_crcs=True)
            self._writer.start(library=LIBRARY)
        except OSError as error:
            raise RecordError(f"cannot record to {path}: {error.strerror}") from error
        self._channels: dict[str, int] = {}

    def write(self, topic: str, **fields: Any) -> None:
        """Add a message.

        Raises:
            RecordError: The disk does not take it; what was written before is intact.
        """
        self._add(topic, "dactyl_tl." + topic, ANYTHING, fields)

    def picture(self, topic: str, picture: NDArray[Any]) -> None:
        """Add a picture, uint8 RGB (height, width, 3), as JPEG; raises as :meth:`write`."""
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "jpeg", quality=JPEG_QUALITY, subsampling=0)
        now = time.time_ns()
        seconds, nanoseconds = divmod(now, 1_000_000_000)
        fields = {
            "timestamp": {"sec": seconds, "nsec": nanoseconds},
            "frame_id": topic,
            "data": base64.b64encode(buffer.getvalue()).decode(),
            "format": "jpeg",
        }
        self._add(topic, PICTURE, ANYTHING, fields)

    def close(self) -> None:
        """End the file; after this it is on the disk.

        Raises:
            RecordError: The disk does not take the end; what was written before is intact.
        """
        with self._writing():
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()

    def _add(self, topic: str, name: str, schema: bytes, fields: Mapping[str, Any]) -> None:
        now = time.time_ns()
        data = json.dumps(_plain(fields), allow_nan=False).encode()
        with self._writing():
            if topic not in self._channels:
                schema_id = self._writer.register_schema(name, "jsonschema", schema)
                self._channels[topic] = self._writer.register_channel(topic, "json", schema_id)
            self._writer.add_message(self._channels[topic], now, data, now)
            self._file.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Once the disk has not taken a message nothing may follow it: its beginning may be in the file."""
        if self._file.closed:
            raise RecordError(
                f"{self.path} takes no more messages: it was closed, or could not be written to"
            )
        try:
            yield
        except OSError as error:
            self._file.raw.close()  # without the buffer, which the disk would not take now either
            raise RecordError(f"cannot record to {self.path}: {error.strerror}") from error


def read_record(path: Path, pictures: bool = False) -> tuple[list[Entry], bool]:
    """The messages of a record, and whether it is whole: one that was cut off gives what it holds.

    Args:
        path: Of the file.
        pictures: Whether to read those too, of which a long record holds gigabytes.

    Raises:
        RecordError: It is none.
    """
    schemas: dict[int, str] = {}
    channels: dict[int, Channel] = {}
    entries: list[Entry] = []
    begun = False
    try:
        with path.open("rb") as file:
            for each in StreamReader(file, validate_crcs=True, record_size_limit=1 << 28).records:
                begun = True
                if isinstance(each, Schema):
                    schemas[each.id] = each.name
                elif isinstance(each, Channel):
                    channels[each.id] = each
                elif isinstance(each, Message):
                    channel = channels[each.channel_id]
                    if pictures or schemas[channel.schema_id] != PICTURE:
                        entries.append(Entry(channel.topic, each.log_time, json.loads(each.data)))
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error
    except (McapError, ValueError, KeyError, struct.error) as error:
        if not begun:
            raise RecordError(f"{path} is no record: {str(error) or 'it is empty'}") from error
        return entries, False
    return entries, True


def _plain(value: Any) -> Any:
    """JSON's types, with null for what is not finite."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
