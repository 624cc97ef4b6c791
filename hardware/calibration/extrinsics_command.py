"""``python -m hardware calibrate cameras``: find where cameras stand, and compare with an estimator."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators import locate_estimator
from dactyl_tl.policies import DESCRIPTION
from hardware.calibration.extrinsics import CameraFit, camera_of, describe, fit_camera
from hardware.calibration.extrinsics_compare import (
    RANDOMIZED_FOV,
    RANDOMIZED_POSITION,
    RANDOMIZED_ROTATION,
    Misplacement,
    misplacement,
)
from hardware.calibration.extrinsics_sightings import load_sightings

KIND, VERSION = "camera calibration", 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--sightings", type=Path, required=True, help="of markers in pictures, .jsonl")
    parser.add_argument("--estimator", default="block", help="bundle to compare with (default %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="where the cameras go, JSON")
    parser.add_argument("--fov", type=float, help="vertical field of view where it is known, degrees")
    parser.add_argument("--distortion", action="store_true", help="find radial distortion too")


def run(arguments: argparse.Namespace) -> int:
    """Fit every camera, print how far it is off, and write the result.

    Raises:
        ConfigurationError: files or options that cannot be used, or a camera that cannot be fitted.
    """
    if arguments.fov is not None and not 1.0 < arguments.fov < 170.0:
        raise ConfigurationError(f"--fov must be between 1 and 170 degrees, not {arguments.fov}")
    picture, sightings = load_sightings(arguments.sightings)
    expected = expected_cameras(arguments.estimator)
    unknown = [name for name in sightings if name not in expected]
    if unknown or not sightings:
        raise ConfigurationError(
            f"{arguments.sightings} has sightings of {', '.join(unknown) or 'no camera'}; the estimator has "
            f"{', '.join(expected)}"
        )
    fits, calibrated = {}, []
    for name, seen in sightings.items():
        try:
            fits[name] = fit_camera(
                seen.points, seen.pixels, picture, distorted=arguments.distortion,
                fov=None if arguments.fov is None else math.radians(arguments.fov),
            )  # fmt: skip
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error}") from error
        entry = {**expected[name], **describe(fits[name].camera)}
        calibrated.append({**entry, "held_out_pixels": round(_median(fits[name].held_out), 4)})
    found = {name: misplacement(fit.camera, camera_of(expected[name])) for name, fit in fits.items()}
    print(report(fits, found))
    for name in expected:
        if name not in sightings:
            print(f"{name}: no sightings; it is left out")
    content = {"kind": KIND, "version": VERSION, "cameras": calibrated}
    arguments.output.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return 0


def expected_cameras(estimator: str) -> dict[str, Mapping[str, Any]]:
    """The cameras that an estimator's bundle describes, by name.

    Raises:
        ConfigurationError: there is no such bundle, or it describes none.
    """
    try:
        path = locate_estimator(estimator) / DESCRIPTION
        return {str(camera["name"]): camera for camera in json.loads(path.read_text())["cameras"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"estimator {estimator}: {error}") from error


def report(fits: Mapping[str, CameraFit], found: Mapping[str, Misplacement]) -> str:
    """The tables for a person."""
    lines = ["camera         points  pixels off (held out)  known to: position  rotation  field of view"]
    for name, fit in fits.items():
        lines.append(
            f"{name:13s}  {len(fit.residual) + len(fit.held_out):6d}  {_median(fit.residual):10.2f} "
            f"({_median(fit.held_out):8.2f})  {1e3 * fit.position_deviation:15.2f} mm  "
            f"{math.degrees(fit.rotation_deviation):7.3f}°  {math.degrees(fit.fov_deviation):12.3f}°"
        )
    lines.append(
        "\noff from where the estimator expects it, along and about the camera's right, up, backward:"
    )
    for name, off in found.items():
        shift, turn = 1e3 * off.position, np.degrees(off.rotation)
        lines.append(
            f"{name:13s}  {np.linalg.norm(shift):6.1f} mm ({_three(shift)}){_mark(off.inside[0])}  "
            f"{np.linalg.norm(turn):5.2f}° ({_three(turn)}){_mark(off.inside[1])}  "
            f"field of view {math.degrees(off.fov):+.2f}°{_mark(off.inside[2])}  "
            f"object {off.object_shift:.0f} pixels"
        )
    lines.append(
        f"in training: {1e3 * RANDOMIZED_POSITION:g} mm along each axis, "
        f"{math.degrees(RANDOMIZED_ROTATION):g}°, field of view {math.degrees(RANDOMIZED_FOV):g}°; "
        "! marks what is outside"
    )
    return "\n".join(lines)


def _three(values: NDArray[np.float64]) -> str:
    return " ".join(f"{value:+.2f}" for value in values)


def _mark(inside: bool) -> str:
    return " " if inside else "!"


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values))
