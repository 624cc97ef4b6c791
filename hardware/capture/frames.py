"""One frame for every motion-capture system, and what hands the frames over: a :class:`Source`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hardware.errors import HardwareError

QUEUED = 4096
"""Frames that wait for a poll: over 4 s of the fastest system's (960 Hz). Older ones are dropped."""

PATIENCE = 2.0
"""Seconds without a frame after which a connection counts as lost."""

CLOSING = 5.0
"""Seconds that a reader has to end."""


@dataclass(frozen=True)
class Marker:
    """One marker in one frame.

    Attributes:
        position: (3,) m, in the motion-capture system's frame. Of an invalid marker it means nothing.
        valid: whether the system saw the marker, and its coordinates are finite.
        quality: the system's own figure, NaN where it has none (PhaseSpace: condition; Qualisys, OptiTrack:
            residual).
    """

    position: np.ndarray
    valid: bool
    quality: float


def marker(x: float, y: float, z: float, *, seen: bool, quality: float = float("nan")) -> Marker:
    """A marker at (x, y, z) m, valid if it was seen and its coordinates are finite."""
    position = np.array((x, y, z), dtype=np.float64)
    return Marker(position, bool(seen and np.isfinite(position).all()), float(quality))


@dataclass(frozen=True)
class Frame:
    """What a system saw at one instant.

    Attributes:
        sequence: counts up; equal where a frame is repeated.
        device_time: s, by the system's clock.
        received_ns: when the frame reached this machine, by its monotonic clock.
        markers: by the system's id.
    """

    sequence: int
    device_time: float
    received_ns: int
    markers: Mapping[int, Marker]


class EndOfRecording(HardwareError):
    """A replayed recording has no more frames."""


class Source(Protocol):
    """A motion-capture system that sends frames.

    Attributes:
        name: for people.
    """

    name: str

    def poll(self) -> list[Frame]:
        """All frames that arrived since the last call, oldest first; never waits.

        Raises:
            HardwareError: the connection is lost or the reader has ended, and every frame that came before
                has been handed over.
        """

    def close(self) -> None:
        """End the connection; a second call does nothing."""


class Inbox:
    """Frames between the thread that reads them and the one that polls.

    Attributes:
        dropped: frames that nobody polled in time.
    """

    def __init__(self, name: str, *, patience: float = PATIENCE) -> None:
        self.dropped = 0
        self._name = name
        self._patience = patience
        self._frames: deque[Frame] = deque()
        self._failure: str | None = None
        self._lock = threading.Lock()
        self._heard_ns = time.monotonic_ns()

    def put(self, frame: Frame) -> None:
        """Add a frame; the oldest goes when :data:`QUEUED` wait."""
        with self._lock:
            if len(self._frames) == QUEUED:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append(frame)
            self._heard_ns = frame.received_ns

    def fail(self, reason: str) -> None:
        """No frame comes any more; the first reason given is the one that is told."""
        with self._lock:
            self._failure = self._failure or reason

    def take(self) -> list[Frame]:
        """See :meth:`Source.poll`."""
        with self._lock:
            frames = list(self._frames)
            self._frames.clear()
            silent_s = (time.monotonic_ns() - self._heard_ns) * 1e-9
            if not frames and self._failure is not None:
                raise HardwareError(f"{self._name}: {self._failure}")
        if not frames and silent_s > self._patience:
            raise HardwareError(
                f"{self._name}: no frame for {silent_s:.1f} s; see that it streams and that no firewall "
                "is between"
            )
        return frames


class Reader:
    """A thread that reads a system until it is told to stop or fails; ``poll`` learns of any end."""

    def __init__(self, name: str, read: Callable[[Reader], None], *, patience: float = PATIENCE) -> None:
        self.inbox = Inbox(name, patience=patience)
        self._read = read
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"capture: {name}", daemon=True)

    @property
    def stopping(self) -> bool:
        """Whether ``read`` should return."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Let ``read`` return, and wait until it has, but not for ever: a vendor's call may hang."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(CLOSING)

    def _run(self) -> None:
        try:
            self._read(self)
        except (HardwareError, OSError) as error:
            self.inbox.fail(str(error))
        finally:  # whatever else ended it shows as this thread's traceback
            self.inbox.fail("closed" if self.stopping else "the thread that reads it has ended")
