"""Puts a hand through the pose script and records it, for whatever hand and motion capture there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hardware.calibration.joint_sensors_poses import PoseStep
from hardware.calibration.recording import MOVING, JointRecording
from hardware.errors import HardwareError

SPEED = 1.0
"""Of the fastest target on the way, rad/s: every target arrives together with it."""

PERIOD = 0.02
"""Seconds between two targets on the way, and between two rows."""

SETTLING = 0.7
"""Seconds that the hand is left to come to rest in a pose before rows count."""

ROWS = 20
"""Of a pose."""

BLIND_POSES = 5
"""Poses in a row without any fingertip after which there is no use in going on."""


class Sample(NamedTuple):
    """What is measured at an instant.

    Attributes:
        time_ns: ``time.monotonic_ns()``.
        raw: (sensors,) readings.
        fingertips: (5, 3) m, hand-base frame.
        valid: (5,) bool.
    """

    time_ns: int
    raw: ArrayLike
    fingertips: ArrayLike
    valid: ArrayLike


def record_poses(
    steps: Sequence[PoseStep],
    sensors: Sequence[str],
    *,
    start: Sequence[float],
    send: Callable[[tuple[float, ...]], None],
    sample: Callable[[], Sample],
    wait: Callable[[float], None],
) -> JointRecording:
    """Go through the script.

    Args:
        steps: of :func:`hardware.calibration.joint_sensors_poses.pose_script`.
        sensors: names of what ``sample`` reads.
        start: (20,) targets, rad, of the hand before the first step: the open hand, from which the script
            is free of collisions.
        send: gives the hand its targets, (20,) rad.
        sample: measures.
        wait: lets so many seconds pass.

    Raises:
        HardwareError: motion capture sees no fingertip in several poses one after the other.
    """
    samples: list[Sample] = []
    poses: list[int] = []
    here, pose, blind = tuple(start), 0, 0
    for step in steps:
        for targets in _way(here, step.targets):
            send(targets)
            wait(PERIOD)
            samples.append(sample())
            poses.append(MOVING)
        here = step.targets
        if not step.recorded:
            continue
        wait(SETTLING)
        for _ in range(ROWS):
            wait(PERIOD)
            samples.append(sample())
            poses.append(pose)
        blind = 0 if any(np.any(each.valid) for each in samples[-ROWS:]) else blind + 1
        if blind == BLIND_POSES:
            raise HardwareError(
                f"motion capture saw no fingertip in poses {pose - blind + 1} to {pose}: "
                "check that it runs, its markers' numbers and the hand-base frame"
            )
        pose += 1
    return JointRecording(
        tuple(sensors),
        np.array([each.time_ns for each in samples], dtype=np.int64),
        np.array(poses, dtype=np.int64),
        np.array([each.raw for each in samples], dtype=np.float64),
        np.array([each.fingertips for each in samples], dtype=np.float64),
        np.array([each.valid for each in samples], dtype=np.bool_),
    )


def duration(steps: Sequence[PoseStep], start: Sequence[float]) -> float:
    """Seconds that :func:`record_poses` takes."""
    here, seconds = tuple(start), 0.0
    for step in steps:
        seconds += PERIOD * sum(1 for _ in _way(here, step.targets))
        seconds += (SETTLING + ROWS * PERIOD) * step.recorded
        here = step.targets
    return seconds


def _way(start: Sequence[float], end: Sequence[float]) -> Iterator[tuple[float, ...]]:
    count = max(int(np.ceil(np.abs(np.subtract(end, start)).max() / (SPEED * PERIOD))), 1)
    for targets in np.linspace(start, end, count + 1)[1:]:
        yield tuple(targets.tolist())
