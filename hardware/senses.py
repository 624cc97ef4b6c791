"""What is known about fingertips and object: by markers, or by markers and cameras."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dactyl_tl import rotations
from dactyl_tl.estimators.bundles import PoseEstimator
from hardware.cameras.frames import Cameras, Triple
from hardware.cameras.seeing import check_estimator, estimator_pictures
from hardware.capture.frames import Source
from hardware.capture.tracker import Tracker
from hardware.capture.tracks import HOLD_NS

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Sight:
    """What is seen at one instant, in the hand-base frame.

    Attributes:
        fingertips: (5, 3) m; None while there is nothing to go by.
        object_position: (3,) m; ``object_orientation`` (4,) wxyz; None likewise.
        age_ns: Of the oldest part of it.
        missing: What cannot be relied on, in words; the hand must hold while there is any.
        held: Of what the last reading is repeated.
        triple: The pictures that the object was seen in, if it was.
    """

    fingertips: Vector | None
    object_position: Vector | None
    object_orientation: Vector | None
    age_ns: int
    missing: tuple[str, ...]
    held: tuple[str, ...] = ()
    triple: Triple | None = None


class Senses(Protocol):
    """Where fingertips and object are."""

    def pump(self) -> None:
        """Take in what has arrived; cheap, and called while there is time."""

    def look(self) -> Sight:
        """What is seen now.

        Raises:
            HardwareError: A system is lost.
        """

    def reset(self) -> None:
        """Forget what was seen, as between two trials, when somebody moves things by hand."""

    def close(self) -> None:
        """Let go of the systems."""


class MarkerSenses:
    """Fingertips and object by motion capture."""

    def __init__(self, source: Source, tracker: Tracker) -> None:
        self._source = source
        self._tracker = tracker

    def pump(self) -> None:
        """See :class:`Senses`."""
        self._tracker.update(self._source.poll(), time.monotonic_ns())

    def look(self) -> Sight:
        """See :class:`Senses`."""
        now = time.monotonic_ns()
        reading = self._tracker.update(self._source.poll(), now)
        ages = [*reading.fingertip_ages_ns, reading.object_age_ns, reading.stream_age_ns]
        missing = [f"{name} not tracked" for name in reading.lost]
        if reading.base_moved:
            missing.append(f"hand base moved by {1000 * reading.base_shift:.1f} mm")
        return Sight(
            reading.fingertips,
            reading.object_position,
            reading.object_orientation,
            max((age for age in ages if age is not None), default=0),
            tuple(missing),
            reading.held,
        )

    def reset(self) -> None:
        """See :class:`Senses`."""
        self._source.poll()  # what was seen before does not count any more
        self._tracker.reset()

    def close(self) -> None:
        """See :class:`Senses`."""
        self._source.close()


class Seen(NamedTuple):
    """Where an object was last seen, and when its pictures were taken."""

    position: Vector
    orientation: Vector
    time_ns: int


class CameraSenses:
    """Fingertips by motion capture, the object by cameras and a pose network.

    Without pictures that may be used, the last pose is repeated for as long as a lost marker's place.

    Args:
        markers: Of the fingertips and the hand base; it needs no markers on the object.
        cameras: Not yet open.
        estimator: Sees the object.

    Raises:
        ConfigurationError: The estimator was trained for other pictures.
        HardwareError: A camera cannot be opened.
    """

    def __init__(self, markers: MarkerSenses, cameras: Cameras, estimator: PoseEstimator) -> None:
        check_estimator(estimator)
        self._markers = markers
        self._cameras = cameras
        self._estimator = estimator
        self._seen: Seen | None = None
        cameras.open()

    def pump(self) -> None:
        """See :class:`Senses`."""
        self._markers.pump()

    def look(self) -> Sight:
        """See :class:`Senses`."""
        found = self._cameras.latest(time.monotonic_ns())
        tips = self._markers.look()
        missing = tuple(each for each in tips.missing if not each.startswith("object"))
        if found.triple is not None:
            position, orientation = self._estimator(torch.from_numpy(estimator_pictures(found.triple)))
            self._seen = Seen(
                position[0].double().numpy(),
                rotations.canonical(orientation[0].double()).numpy(),
                found.triple.time_ns,
            )
        age = time.monotonic_ns() - self._seen.time_ns if self._seen else 0
        if self._seen is None or (found.triple is None and age > HOLD_NS):
            reason = f"object not seen: {found.reason}"
            return Sight(tips.fingertips, None, None, tips.age_ns, (*missing, reason), tips.held)
        held = tips.held if found.triple is not None else (*tips.held, "object")
        return Sight(
            tips.fingertips,
            self._seen.position,
            self._seen.orientation,
            max(tips.age_ns, age),
            missing,
            held,
            found.triple,
        )

    def reset(self) -> None:
        """See :class:`Senses`."""
        self._seen = None
        self._markers.reset()

    def close(self) -> None:
        """See :class:`Senses`."""
        self._cameras.close()
        self._markers.close()
