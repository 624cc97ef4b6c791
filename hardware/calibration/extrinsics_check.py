"""``python -m hardware.calibration.extrinsics_check``: how well planted places of cameras are found."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dactyl_tl.contract import CAMERAS
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.objects import START_POSITION
from hardware.calibration.extrinsics import Camera, camera_of, fit_camera
from hardware.calibration.extrinsics_command import expected_cameras
from hardware.calibration.extrinsics_sightings import Sightings

WAVED = (0.15, 0.15, 0.12)
"""Half the sides of the box about the object's start in which the marker is waved, m."""


@dataclass(frozen=True)
class Planted:
    """What is wrong with simulated sightings, and where cameras stand.

    Attributes:
        shift: standard deviation of a camera's place along each axis, m.
        turn: of its orientation about each axis, rad.
        fov: of its field of view, rad.
        distortion: of its lens.
        pixel_noise: of a centroid's coordinates, pixels.
        marker_noise: of motion capture's coordinates, m.
        wrong: share of sightings that are of something else.
    """

    shift: float = 0.01
    turn: float = math.radians(2.0)
    fov: float = math.radians(0.7)
    distortion: float = 0.0
    pixel_noise: float = 0.3
    marker_noise: float = 0.0005
    wrong: float = 0.03


class Errors(NamedTuple):
    """Of one camera: position mm, orientation and field of view degrees, held-out residual pixels."""

    position: float
    rotation: float
    fov: float
    pixels: float


def planted_camera(expected: Camera, planted: Planted, rng: np.random.Generator) -> Camera:
    """A camera that somebody mounted by eye."""
    return replace(
        expected,
        position=expected.position + rng.normal(0.0, planted.shift, 3),
        rotation=expected.rotation * Rotation.from_rotvec(rng.normal(0.0, planted.turn, 3)),
        fov=expected.fov + rng.normal(0.0, planted.fov),
        distortion=planted.distortion,
    )


def sight(camera: Camera, count: int, planted: Planted, rng: np.random.Generator) -> Sightings:
    """A marker waved about the object's start; what leaves the picture is not seen."""
    centre = np.subtract(START_POSITION, MOUNT_POSITION)
    points = np.empty((0, 3))
    while len(points) < count:
        more = centre + rng.uniform(-1.0, 1.0, (4 * count, 3)) * WAVED
        inside = (
            (camera.project(more) > 5.0) & (camera.project(more) < np.subtract(camera.picture, 5.0))
        ).all(axis=1)
        points = np.concatenate((points, more[inside]))[:count]
    pixels = camera.project(points) + rng.normal(0.0, planted.pixel_noise, (count, 2))
    wrong = rng.random((count, 1)) < planted.wrong
    pixels = np.where(wrong, rng.uniform(0.0, camera.picture, (count, 2)), pixels)
    return Sightings(
        10**7 * np.arange(count), pixels, points + rng.normal(0.0, planted.marker_noise, (count, 3))
    )


def simulate(
    planted: Planted, *, seed: int, count: int, known_fov: bool = False, distorted: bool = False
) -> list[Errors]:
    """The errors of each of the estimator's cameras, planted and found again."""
    rng = np.random.default_rng(seed)
    errors = []
    for description in expected_cameras("block").values():
        true = planted_camera(camera_of(description), planted, rng)
        seen = sight(true, count, planted, rng)
        fit = fit_camera(
            seen.points, seen.pixels, true.picture, fov=true.fov if known_fov else None, distorted=distorted
        )
        errors.append(
            Errors(
                1e3 * float(np.linalg.norm(fit.camera.position - true.position)),
                math.degrees((true.rotation.inv() * fit.camera.rotation).magnitude()),
                math.degrees(abs(fit.camera.fov - true.fov)),
                float(np.median(fit.held_out)),
            )
        )
    return errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Print mean and worst errors against the number of sightings."""
    parser = argparse.ArgumentParser(prog="python -m hardware.calibration.extrinsics_check")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--points", type=int, nargs="+", default=[30, 100, 300, 1000])
    parser.add_argument("--known-fov", action="store_true")
    parser.add_argument("--distortion", type=float, default=0.0, help="planted, and looked for where not 0")
    given = parser.parse_args(arguments)
    planted = Planted(distortion=given.distortion)
    print("points  position mm mean (worst)  rotation ° mean (worst)  fov ° mean (worst)  held-out pixels")
    for count in given.points:
        table = _table(
            [
                simulate(
                    planted,
                    seed=seed,
                    count=count,
                    known_fov=given.known_fov,
                    distorted=given.distortion != 0.0,
                )
                for seed in range(given.seeds)
            ]
        )
        mean, worst = table.mean(axis=0), table.max(axis=0)
        print(
            f"{count:6d}  {mean[0]:16.2f} ({worst[0]:5.2f})  {mean[1]:16.3f} ({worst[1]:5.3f})  "
            f"{mean[2]:10.3f} ({worst[2]:5.3f})  {mean[3]:15.2f}"
        )
    return 0


def _table(runs: Sequence[Sequence[Errors]]) -> NDArray[np.float64]:
    return np.array(runs).reshape(len(runs) * len(CAMERAS), len(Errors._fields))


if __name__ == "__main__":
    raise SystemExit(main())
