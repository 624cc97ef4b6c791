"""A misplaced hand-base frame, and derivatives of what is seen in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class FrameError:
    """How the measured hand-base frame is misplaced: measured = centre + rotation (true - centre) + shift.

    Attributes:
        centre: (3,) m, of the reference markers.
        rotation: (3,) rotation vector, rad.
        shift: (3,) m.
    """

    centre: NDArray[np.float64]
    rotation: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    shift: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))

    def measured(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (..., 3), m, as they are measured."""
        return self.centre + (points - self.centre) @ self.matrix.T + self.shift

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The rotation as a matrix."""
        return np.asarray(Rotation.from_rotvec(self.rotation).as_matrix())


def cross_matrix(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices (..., 3, 3) of the cross product with vectors (..., 3)."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack(
        (np.stack((zero, -z, y), -1), np.stack((z, zero, -x), -1), np.stack((-y, x, zero), -1)), axis=-2
    )


def left_jacobian(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """How a rotation vector's change turns what it rotates, (3, 3), for angles far below half a turn."""
    angle = np.linalg.norm(rotation)
    matrix = cross_matrix(rotation)
    first = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2  # (1 - cos angle) / angle^2
    second = 1.0 / 6.0 if angle < 1e-4 else (angle - np.sin(angle)) / angle**3
    return np.eye(3) + first * matrix + second * matrix @ matrix
