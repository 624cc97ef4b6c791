"""A robust loss over points instead of coordinates, for ``scipy.optimize.least_squares``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def cauchy_of_groups(
    rows: int, size: int, scale: float
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Cauchy's loss of a point's distance, the same in every direction; squares for all other rows.

    Args:
        rows: how many residuals, at the beginning, belong to points.
        size: coordinates of a point; they follow each other.
        scale: distance beyond which a point's pull falls.

    Returns:
        What ``least_squares`` takes as ``loss``, with its ``f_scale`` left at 1.
    """

    def loss(squares: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.stack((squares, np.ones_like(squares), np.zeros_like(squares)))
        distances = np.repeat(squares[:rows].reshape(-1, size).sum(axis=1), size) / scale**2
        values[0, :rows] = scale**2 * np.log1p(distances) / size
        values[1, :rows] = 1.0 / (1.0 + distances)
        return values  # without the second derivative: it is negative for outliers, and steps would fail

    return loss
