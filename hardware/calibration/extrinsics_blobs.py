"""Finding a lit marker in a dark picture, and pairing it with where motion capture had it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from hardware.calibration.extrinsics_sightings import Sightings

SMOOTHING = 1.0
"""Pixels, of the Gaussian that is laid over a picture before its brightest place is looked for."""

EDGE = 0.3
"""Share of its brightest value at which a blob ends."""

LEAST_CONTRAST = 40.0
"""Grey levels that a marker stands out by."""

LARGEST_AREA = 2000
"""Pixels; what is larger is a lamp or a reflection."""

RIVAL = 0.5
"""A second blob with more than this share of the first one's light makes it uncertain which is the marker."""

LARGEST_GAP_NS = 20_000_000
"""Between two readings of motion capture, if a position between them is to count."""


class Blob(NamedTuple):
    """A bright spot.

    Attributes:
        pixel: (2,) its centre, right and down from the picture's top left corner.
        area: pixels.
        light: sum of grey levels above the background.
    """

    pixel: NDArray[np.float64]
    area: int
    light: float


def brightest_blob(picture: NDArray[np.uint8], background: ArrayLike | None = None) -> Blob | None:
    """The marker in a picture, by the centroid of its light.

    Args:
        picture: (height, width) or (height, width, 3), taken with an exposure at which little else shows.
        background: (height, width) grey levels without the marker, such as the median of many pictures;
            None for the picture's own median.

    Returns:
        The blob, or None if nothing stands out, or two things do, or it is cut off at the picture's edge.
    """
    grey = picture.max(axis=-1).astype(np.float64) if picture.ndim == 3 else picture.astype(np.float64)
    grey = np.maximum(grey - (np.median(grey) if background is None else np.asarray(background)), 0.0)
    smooth = ndimage.gaussian_filter(grey, SMOOTHING)
    peak = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    if grey[peak] < LEAST_CONTRAST:
        return None
    labels, count = ndimage.label(smooth > EDGE * smooth[peak])
    lights = ndimage.sum_labels(grey, labels, np.arange(1, count + 1))
    marker = int(labels[peak])
    others = np.delete(lights, marker - 1)
    if others.size and others.max() > RIVAL * lights[marker - 1]:
        return None
    rows, columns = np.nonzero(labels == marker)
    if len(rows) > LARGEST_AREA or _at_edge(rows, grey.shape[0]) or _at_edge(columns, grey.shape[1]):
        return None
    # Weights that fall to zero at the blob's edge, so that a pixel more or less does not move the centre.
    weights = np.maximum(smooth[rows, columns] - EDGE * smooth[peak], 0.0)
    centre = np.array([columns @ weights, rows @ weights]) / weights.sum() + 0.5
    return Blob(centre, len(rows), float(lights[marker - 1]))


def positions_at(
    times_ns: NDArray[np.int64], track_ns: NDArray[np.int64], track: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where a marker was when pictures were taken.

    Args:
        times_ns: (n,) of the pictures' exposures.
        track_ns: (m,) increasing, of motion capture's valid readings of the marker, on the same clock.
        track: (m, 3) m.

    Returns:
        (n, 3) m, linear between readings; NaN before the first, after the last and in gaps.
    """
    after = np.clip(np.searchsorted(track_ns, times_ns), 1, len(track_ns) - 1)
    gap = track_ns[after] - track_ns[after - 1]
    share = (times_ns - track_ns[after - 1]) / gap
    positions = track[after - 1] + share[:, None] * (track[after] - track[after - 1])
    inside = (share >= 0.0) & (share <= 1.0) & (gap <= LARGEST_GAP_NS)
    return np.where(inside[:, None], positions, np.nan)


def sightings_of(
    pictures: Iterable[tuple[int, NDArray[np.uint8]]],
    track_ns: NDArray[np.int64],
    track: NDArray[np.float64],
    background: ArrayLike | None = None,
) -> Sightings:
    """What one camera saw of the one lit marker, where motion capture had it too.

    Args:
        pictures: time of exposure, ns, and picture.
        track_ns, track, background: see :func:`positions_at` and :func:`brightest_blob`.
    """
    found = [(time, brightest_blob(picture, background)) for time, picture in pictures]
    times = np.array([time for time, blob in found if blob is not None], dtype=np.int64)
    pixels = np.array([blob.pixel for _, blob in found if blob is not None], dtype=np.float64).reshape(-1, 2)
    points = positions_at(times, track_ns, track)
    both = np.isfinite(points).all(axis=1)
    return Sightings(times[both], pixels[both], points[both])


def _at_edge(places: NDArray[np.intp], size: int) -> bool:
    return bool(places.min() == 0 or places.max() == size - 1)
