"""Where a camera stands in the hand-base frame, from markers that it and motion capture see at once.

A camera is a pinhole with square pixels and the picture's centre as principal point, as an estimator's bundle
describes it: position, orientation (wxyz; it looks along its own -z, y is up) and vertical field of view.
Pixels are counted from the picture's top left corner to the right and down, so the first pixel's centre is at
(0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import rq
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from dactyl_tl.errors import ConfigurationError
from hardware.calibration.robust import cauchy_of_groups

FEWEST_POINTS = 12
"""That a fit is tried with; six determine a camera without any to spare."""

FLATTEST = 0.03
"""Least share of the thinnest in the widest extent of points: in a plane, distance and lens look alike."""

SAMPLES, SAMPLE_SIZE, SAMPLE_SEED = 200, 8, 0
"""Random subsets that the start is tried with, so that wrong points do not spoil it."""

NEAR = 20.0
"""Pixels within which a point agrees with a subset's camera: eight points with errors of a pixel or two, or
a lens with distortion, place others no better."""

ROBUST_SCALES = (8.0, 1.5)
"""Pixels at which the loss turns from squares, first wide."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: (3,) m, hand-base frame.
        rotation: from its axes (right, up, backward) to the hand-base frame's.
        fov: vertical field of view, rad.
        picture: width and height, pixels.
        distortion: radial, of the squared distance from the axis at unit depth; 0 for none.
    """

    position: NDArray[np.float64]
    rotation: Rotation
    fov: float
    picture: tuple[int, int]
    distortion: float = 0.0

    @property
    def focal_length(self) -> float:
        """Pixels."""
        return self.picture[1] / (2.0 * math.tan(self.fov / 2.0))

    def project(self, points: ArrayLike) -> NDArray[np.float64]:
        """Pixels (n, 2) of points (n, 3), m; NaN for points that are not in front of the camera."""
        seen = self.rotation.inv().apply(np.asarray(points, dtype=np.float64) - self.position)
        depth = np.where(seen[:, 2] < 0.0, -seen[:, 2], np.nan)
        plane = seen[:, :2] / depth[:, None]
        plane = plane * (1.0 + self.distortion * np.square(plane).sum(axis=1, keepdims=True))
        return np.array(self.picture) / 2.0 + self.focal_length * plane * (1.0, -1.0)


@dataclass(frozen=True)
class CameraFit:
    """A fitted camera.

    Attributes:
        camera: the result.
        residual: (n,) pixels, of the points that it was fitted to.
        held_out: (m,) pixels, of those that it was not.
        position_deviation, rotation_deviation, fov_deviation: standard deviations that follow from the
            residuals, m (the longest axis), rad (the worst axis) and rad.
    """

    camera: Camera
    residual: NDArray[np.float64]
    held_out: NDArray[np.float64]
    position_deviation: float
    rotation_deviation: float
    fov_deviation: float


def fit_camera(
    points: ArrayLike,
    pixels: ArrayLike,
    picture: tuple[int, int],
    *,
    fov: float | None = None,
    distorted: bool = False,
    every: int = 5,
) -> CameraFit:
    """Fit a camera to what it saw.

    Args:
        points: (n, 3) m, hand-base frame.
        pixels: (n, 2), where it saw them.
        picture: width and height, pixels.
        fov: vertical field of view, rad, where it is known; else it is found too.
        distorted: whether to find the radial distortion too.
        every: so many points one is held out.

    Raises:
        ConfigurationError: too few points, or all in a plane, or no camera that most points agree with.
    """
    world, seen = np.asarray(points, dtype=np.float64), np.asarray(pixels, dtype=np.float64)
    if world.ndim != 2 or world.shape[1] != 3 or seen.shape != (len(world), 2):
        raise ConfigurationError(f"points {world.shape} and pixels {seen.shape} must be (n, 3) and (n, 2)")
    if not (np.isfinite(world).all() and np.isfinite(seen).all()):
        raise ConfigurationError("points and pixels must be finite")
    apart = np.arange(len(world)) % every == every - 1
    if (~apart).sum() < FEWEST_POINTS:
        raise ConfigurationError(
            f"{len(world)} points are too few: {FEWEST_POINTS} besides held-out ones needed"
        )
    extents = np.linalg.svd(world - world.mean(axis=0), compute_uv=False)
    if extents[2] < FLATTEST * extents[0]:
        raise ConfigurationError(
            f"the points lie in a plane (its thickness is {extents[2] / extents[0]:.3f} of its width; "
            f"at least {FLATTEST} is needed): move the marker nearer and further too"
        )
    start = _start(world[~apart], seen[~apart], picture)
    if fov is not None:
        start = replace(start, fov=fov)
    camera, covariance = _refine(start, world[~apart], seen[~apart], fov is None, distorted)
    deviations = np.sqrt(np.diag(covariance))
    return CameraFit(
        camera=camera,
        residual=np.linalg.norm(camera.project(world[~apart]) - seen[~apart], axis=1),
        held_out=np.linalg.norm(camera.project(world[apart]) - seen[apart], axis=1),
        position_deviation=math.sqrt(np.linalg.eigvalsh(covariance[3:6, 3:6])[-1]),
        rotation_deviation=float(deviations[:3].max()),
        fov_deviation=float(deviations[6]) if fov is None else 0.0,
    )


def linear_camera(
    points: NDArray[np.float64], pixels: NDArray[np.float64], picture: tuple[int, int]
) -> Camera:
    """The camera of a direct linear transform, exact for exact data without distortion.

    Args:
        points: (n, 3) m, at least six, not in a plane.
        pixels: (n, 2).
        picture: width and height, pixels.
    """
    centre, scale = points.mean(axis=0), points.std() * math.sqrt(3.0)
    middle, half = np.array(picture) / 2.0, picture[1] / 2.0
    world = np.column_stack(((points - centre) / scale, np.ones(len(points))))
    x, y = ((pixels - middle) / half).T
    zero = np.zeros_like(world)
    rows = np.vstack(
        (np.hstack((world, zero, -x[:, None] * world)), np.hstack((zero, world, -y[:, None] * world)))
    )
    matrix = np.linalg.svd(rows, full_matrices=False)[2][-1].reshape(3, 4)
    if (world @ matrix[2]).mean() < 0.0:
        matrix = -matrix  # points are in front
    intrinsic, rotation = rq(matrix[:, :3])
    signs = np.sign(np.diag(intrinsic))
    intrinsic, rotation = intrinsic * signs, signs[:, None] * rotation
    position = centre - scale * np.linalg.solve(matrix[:, :3], matrix[:, 3])
    # Its axes are (right, down, forward), ours (right, up, backward).
    ours = rotation.T * (1.0, -1.0, -1.0)
    focal = 0.5 * (intrinsic[0, 0] + intrinsic[1, 1]) / intrinsic[2, 2]
    return Camera(
        position,
        Rotation.from_matrix(ours * np.sign(np.linalg.det(ours))),
        2.0 * math.atan(1.0 / focal),
        picture,
    )


def _start(points: NDArray[np.float64], pixels: NDArray[np.float64], picture: tuple[int, int]) -> Camera:
    rng = np.random.default_rng(SAMPLE_SEED)
    best = np.zeros(len(points), dtype=bool)
    for _ in range(SAMPLES):
        sample = rng.choice(len(points), SAMPLE_SIZE, replace=False)
        agrees = _agrees(linear_camera(points[sample], pixels[sample], picture), points, pixels)
        if agrees.sum() > best.sum():
            best = agrees
    if best.sum() < max(SAMPLE_SIZE, len(points) / 2):
        raise ConfigurationError(
            f"no camera explains more than {best.sum()} of {len(points)} points within {NEAR} pixels: "
            "the camera's and motion capture's times or markers do not belong together"
        )
    return linear_camera(points[best], pixels[best], picture)


def _agrees(camera: Camera, points: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
    distances = np.linalg.norm(camera.project(points) - pixels, axis=1)
    return np.asarray(np.nan_to_num(distances, nan=np.inf) < NEAR)


def _refine(
    start: Camera, points: NDArray[np.float64], pixels: NDArray[np.float64], find_fov: bool, distorted: bool
) -> tuple[Camera, NDArray[np.float64]]:
    """The camera, and the covariance of (rotation in its axes, position, then what else is found)."""

    def moved(change: NDArray[np.float64]) -> Camera:
        extra = iter(change[6:])
        return replace(
            start,
            rotation=start.rotation * Rotation.from_rotvec(change[:3]),
            position=start.position + change[3:6],
            fov=start.fov + (next(extra) if find_fov else 0.0),
            distortion=start.distortion + (next(extra) if distorted else 0.0),
        )

    def misfits(change: NDArray[np.float64]) -> NDArray[np.float64]:
        # A point that a trial step puts behind the camera is as wrong as can be.
        return np.nan_to_num(moved(change).project(points) - pixels, nan=1e4).ravel()

    change = np.zeros(6 + find_fov + distorted)
    for scale in ROBUST_SCALES:
        result = least_squares(
            misfits, change, jac="3-point", x_scale="jac", loss=cauchy_of_groups(pixels.size, 2, scale),
            xtol=1e-12, ftol=1e-12, gtol=1e-12,
        )  # fmt: skip
        change = result.x
    distances = np.linalg.norm(misfits(change).reshape(-1, 2), axis=1)
    noise = np.median(distances) / 1.1774  # the median of a two-dimensional Gaussian's distance
    return moved(change), noise**2 * np.linalg.inv(result.jac.T @ result.jac)


def camera_of(description: Mapping[str, Any]) -> Camera:
    """The camera that an entry of an estimator bundle's description means.

    Raises:
        ConfigurationError: an entry that lacks something or is not finite.
    """
    try:
        position = np.array(description["position"], dtype=np.float64)
        orientation = np.array(description["orientation"], dtype=np.float64)
        fov = math.radians(float(description["vertical_fov_degrees"]))
        width, height = (int(side) for side in description["picture"])
        if (
            position.shape != (3,)
            or orientation.shape != (4,)
            or not np.isfinite([*position, *orientation]).all()
        ):
            raise ValueError(f"position {position}, orientation {orientation}")
        rotation = Rotation.from_quat(orientation, scalar_first=True)
        return Camera(position, rotation, fov, (width, height), float(description.get("distortion", 0.0)))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"the camera's description cannot be used: {error!r}") from error


def describe(camera: Camera) -> dict[str, Any]:
    """The inverse of :func:`camera_of`, of JSON types."""
    return {
        "position": camera.position.tolist(),
        "orientation": camera.rotation.as_quat(canonical=True, scalar_first=True).tolist(),
        "vertical_fov_degrees": math.degrees(camera.fov),
        "picture": list(camera.picture),
        "distortion": camera.distortion,
    }
