"""How far cameras are from where an estimator learnt to see from, measured by its randomization (Table 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.objects import START_POSITION
from hardware.calibration.extrinsics import Camera

RANDOMIZED_POSITION = 0.0015
"""Largest shift of a camera along each axis in training, m (Table 9)."""

RANDOMIZED_ROTATION = math.radians(3.0)
"""Largest turn of a camera in training, rad (Table 9)."""

RANDOMIZED_FOV = math.radians(1.0)
"""Largest change of a camera's field of view in training, rad (Table 9)."""


@dataclass(frozen=True)
class Misplacement:
    """What a camera is off by.

    Attributes:
        position: (3,) m to the camera's own right, up and backward.
        rotation: (3,) rotation vector, rad, about the same axes.
        fov: rad.
        object_shift: pixels by which the object's start is elsewhere in the picture.
        inside: whether each of position, rotation and field of view is within its range of training.
    """

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    fov: float
    object_shift: float
    inside: tuple[bool, bool, bool]


def misplacement(found: Camera, expected: Camera) -> Misplacement:
    """By how much a camera must have been moved from ``expected`` to where it was ``found``.

    The positions' range holds along each axis of the hand-base frame, as in training.
    """
    shift = found.position - expected.position
    rotation = (expected.rotation.inv() * found.rotation).as_rotvec()
    start = np.subtract(START_POSITION, MOUNT_POSITION)[None]
    scale = expected.picture[1] / found.picture[1]
    seen, wanted = found.project(start)[0] * scale, expected.project(start)[0]
    fov = found.fov - expected.fov
    return Misplacement(
        position=expected.rotation.inv().apply(shift),
        rotation=rotation,
        fov=fov,
        object_shift=float(np.linalg.norm(seen - wanted)),
        inside=(
            bool(np.abs(shift).max() <= RANDOMIZED_POSITION),
            bool(np.linalg.norm(rotation) <= RANDOMIZED_ROTATION),
            abs(fov) <= RANDOMIZED_FOV,
        ),
    )
