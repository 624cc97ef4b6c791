"""What cameras deliver: frames, three of which show one instant, and what a source of them offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.contract import CAMERAS

WIDTH, HEIGHT = 640, 480
"""Pixels of a picture (Appendix B.3)."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture of one camera.

    Attributes:
        camera: One of :data:`dactyl_tl.contract.CAMERAS`.
        picture: RGB, uint8, (480, 640, 3), top row first.
        time_ns: When it was taken, by the host's ``time.monotonic_ns()``.
        device_time: When it was taken, in ticks of the camera's own clock; 0 where it has none.
        sequence: Number that the camera gave it; grows from frame to frame.

    Raises:
        ValueError: Unknown camera, or a picture of another shape or type.
    """

    camera: str
    picture: NDArray[np.uint8] = field(repr=False)
    time_ns: int
    device_time: int
    sequence: int

    def __post_init__(self) -> None:
        if self.camera not in CAMERAS:
            raise ValueError(f"unknown camera {self.camera!r}; choose from {', '.join(CAMERAS)}")
        if self.picture.shape != (HEIGHT, WIDTH, 3) or self.picture.dtype != np.uint8:
            raise ValueError(
                f"a picture of {self.camera} is {self.picture.dtype} {self.picture.shape}; "
                f"expected uint8 {(HEIGHT, WIDTH, 3)}"
            )


@dataclass(frozen=True, eq=False)
class Triple:
    """Frames of all cameras that show the same instant.

    Attributes:
        frames: One of each camera, in the order of :data:`dactyl_tl.contract.CAMERAS`.
    """

    frames: tuple[Frame, Frame, Frame]

    @property
    def time_ns(self) -> int:
        """When the oldest of its frames was taken."""
        return min(frame.time_ns for frame in self.frames)

    @property
    def spread_ns(self) -> int:
        """Time between its oldest and its newest frame."""
        return max(frame.time_ns for frame in self.frames) - self.time_ns

    @property
    def pictures(self) -> NDArray[np.uint8]:
        """RGB, uint8, (cameras, 480, 640, 3)."""
        return np.stack([frame.picture for frame in self.frames])


class Look(NamedTuple):
    """What is to be seen now.

    Attributes:
        triple: None if there is nothing that may be used.
        reason: Why there is not, for a person; empty with a triple.
    """

    triple: Triple | None
    reason: str


@dataclass(frozen=True)
class Report:
    """What came of the frames since a source was opened.

    Attributes:
        triples: That were assembled.
        taken: Frames that were fit to be matched, by camera.
        dropped: How many frames were not used, by camera and reason (:mod:`hardware.cameras.intake`).
    """

    triples: int
    taken: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]]


class Cameras(Protocol):
    """A source of triples: the driver of the real cameras, or pictures of the simulated hand."""

    def open(self) -> None:
        """Connect and begin to take pictures. Opening again, as after an error, connects anew.

        Raises:
            HardwareError: A camera is missing or cannot do what the settings ask for.
        """

    def latest(self, now_ns: int) -> Look:
        """The newest triple, unless it is too old.

        Args:
            now_ns: ``time.monotonic_ns()``.

        Raises:
            HardwareError: A camera has failed; open again.
        """

    def report(self) -> Report:
        """Counts since it was opened."""

    def close(self) -> None:
        """Disconnect; closing twice is fine."""
