"""Rigid fits: the pose that puts a layout of markers where they are measured (Kabsch), without outliers."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from dactyl_tl.errors import ConfigurationError

COLLINEAR = 0.005
"""m: markers closer than this to a line, rms, say nothing about the turn about it."""

MOST_PERMUTED = 7
"""Markers up to which all permutations of a layout are tried; beyond, exchanges of two and three."""


class Pose:
    """A frame seen from another: ``seen = rotation.apply(own) + position``.

    Attributes:
        rotation: from the frame to the other.
        position: (3,) m, the frame's origin.
    """

    __slots__ = ("_matrix", "position", "rotation")

    def __init__(self, rotation: Rotation, position: ArrayLike) -> None:
        self.rotation = rotation
        self.position = np.asarray(position, dtype=np.float64)
        self._matrix = rotation.as_matrix()  # a product with it costs a tenth of Rotation.apply

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) of the frame as the other sees them."""
        return points @ self._matrix.T + self.position

    def into(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) that the other frame sees, in this one."""
        return (points - self.position) @ self._matrix

    @property
    def quaternion(self) -> np.ndarray:
        """(4,) wxyz, w not negative."""
        return self.rotation.as_quat(canonical=True, scalar_first=True)


def fit(layout: np.ndarray, measured: np.ndarray) -> tuple[Pose, np.ndarray]:
    """The pose of a layout that least squares give.

    Args:
        layout: (k, 3) m, in the body's frame; k >= 3, not in line.
        measured: (k, 3) m.

    Returns:
        The body's pose in the frame of ``measured``, and the distance (k,) m that each marker keeps.
    """
    centre, seen = layout.mean(axis=0), measured.mean(axis=0)
    rotation, _ = Rotation.align_vectors(measured - seen, layout - centre)
    pose = Pose(rotation, (0.0, 0.0, 0.0))
    pose.position = seen - pose.apply(centre)
    return pose, np.linalg.norm(measured - pose.apply(layout), axis=1)


def rms(residuals: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(residuals))))


def in_line(points: np.ndarray) -> bool:
    """Whether points (k, 3) are fewer than three or lie within :data:`COLLINEAR` of a line."""
    if len(points) < 3:
        return True
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[1] / np.sqrt(len(points)) < COLLINEAR)


def fit_without_outliers(
    layout: np.ndarray, measured: np.ndarray, limit: float
) -> tuple[Pose, np.ndarray, tuple[int, ...]] | None:
    """Fit as many markers as agree: all, or all but one, and so on down to three and to more than half.

    Args:
        layout, measured: (k, 3) m.
        limit: greatest rms residual, m.

    Returns:
        The pose, residuals (of those used) and indices used; None where too few agree, or where two choices
        of equally many fit but not with each other: a marker is wrong and it cannot be told which.
    """
    stretch = np.abs(_distances(measured) - _distances(layout))
    for size in range(len(layout), max(2, len(layout) // 2), -1):
        agreeing = []
        # Two residuals sum to at most sqrt(2) of their norm: no distance between markers is off by more.
        most = limit * np.sqrt(2.0 * size)
        for chosen in combinations(range(len(layout)), size):
            index = list(chosen)
            if stretch[np.ix_(index, index)].max() > most or in_line(layout[index]):
                continue
            pose, residuals = fit(layout[index], measured[index])
            if rms(residuals) <= limit:
                agreeing.append((rms(residuals), pose, residuals, chosen))
        if agreeing:
            agreeing.sort(key=lambda entry: entry[0])
            best = agreeing[0][1].apply(layout)
            if any(
                rms(np.linalg.norm(other.apply(layout) - best, axis=1)) > limit for _, other, _, _ in agreeing
            ):
                return None
            return agreeing[0][1], agreeing[0][2], agreeing[0][3]
    return None


def _distances(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def least_confusion(layout: np.ndarray) -> tuple[float, tuple[int, ...]]:
    """How far a layout is from looking like itself with its markers exchanged.

    Args:
        layout: (k, 3) m.

    Returns:
        The smallest rms residual, m, that any wrong order of the markers leaves, and that order. A symmetric
        layout gives nearly zero: exchanged labels would then pass for a turn of the body.
    """
    orders = _wrong_orders(len(layout))
    centred = layout - layout.mean(axis=0)
    covariances = np.einsum("ki,nkj->nij", centred, centred[np.array(orders)])
    left, singular, right = np.linalg.svd(covariances)
    singular[:, 2] *= np.sign(np.linalg.det(left @ right))  # a body turns, it is not mirrored
    squares = 2.0 * (np.square(centred).sum() - singular.sum(axis=1)) / len(layout)
    residuals = np.sqrt(np.maximum(squares, 0.0))
    least = int(np.argmin(residuals))
    return float(residuals[least]), orders[least]


def _wrong_orders(count: int) -> list[tuple[int, ...]]:
    right = tuple(range(count))
    if count <= MOST_PERMUTED:
        return [order for order in permutations(right) if order != right]
    orders = []
    for size in (2, 3):
        for chosen in combinations(right, size):
            order = list(right)
            for place, source in zip(chosen, chosen[1:] + chosen[:1], strict=True):
                order[place] = source
            orders.append(tuple(order))
    return orders


def check_layout(layout: np.ndarray, least: float) -> float:
    """See that a body's pose can be told from its markers whatever labels are exchanged.

    Args:
        layout: (k, 3) m.
        least: m, what :func:`least_confusion` must reach.

    Returns:
        What it is, m.

    Raises:
        ConfigurationError: fewer than four markers, all in line, or too symmetric.
    """
    if len(layout) < 4:
        raise ConfigurationError(f"the object has {len(layout)} markers: at least 4 are needed")
    if in_line(layout):
        raise ConfigurationError("the object's markers lie in a line: put one at least 2 cm beside it")
    confusion, order = least_confusion(layout)
    if confusion < least:
        raise ConfigurationError(
            f"the object's markers look alike in another order {order} (rms {1000 * confusion:.1f} mm, at "
            f"least {1000 * least:.1f} mm needed): move one by a centimetre, so that all distances between "
            "them differ"
        )
    return confusion
