"""Truth points as the vendor's driver has them, ``calibration.yaml``: the factory's, or refined ones.

It lists, of each joint by the vendor's name, pairs of a raw reading and an angle in degrees in the vendor's
sign. Newer hands have the thumb's two distal joints in a second list, ``sr_calibrations_coupled``, as a table
over both readings; such a pair cannot be one curve a joint, and is refused.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import yaml

from dactyl_tl.errors import ConfigurationError
from hardware.calibration.joint_sensors import JointCalibration, JointCurve, sensors_of
from hardware.lowlevel.joints import JOINTS, Joint

TABLE, COUPLED_TABLE = "sr_calibrations", "sr_calibrations_coupled"


def load_vendor(path: str | os.PathLike[str]) -> JointCalibration:
    """Read the vendor's file.

    Raises:
        ConfigurationError: no such file, a joint is missing or coupled, or its points are no calibration.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{os.fspath(path)} cannot be read: {error}") from error
    if not isinstance(content, dict) or TABLE not in content:
        raise ConfigurationError(f"{os.fspath(path)} has no {TABLE}: it is not the vendor's calibration.yaml")
    try:
        points = {str(name): table for name, table in content[TABLE]}
        coupled = {str(name) for names, _ in content.get(COUPLED_TABLE) or () for name in names}
        return JointCalibration(tuple(_curve(joint, points, coupled) for joint in JOINTS))
    except ConfigurationError as error:
        raise ConfigurationError(f"{os.fspath(path)}: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{os.fspath(path)} is damaged: {error}") from error


def save_vendor(path: str | os.PathLike[str], calibration: JointCalibration) -> None:
    """Write the vendor's file; angles survive a return to within rounding of degrees.

    Raises:
        ConfigurationError: the calibration is not of the vendor's sensors.
    """
    lines = []
    for joint, curve in zip(JOINTS, calibration.curves, strict=True):
        if curve.sensors != sensors_of(joint):
            raise ConfigurationError(
                f"{joint.name} reads {', '.join(curve.sensors)}, which are not the vendor's sensors "
                f"{', '.join(sensors_of(joint))}: there is no file of the vendor's for it"
            )
        points = sorted(
            (
                (raw, joint.sign * math.degrees(angle))
                for raw, angle in zip(curve.raw, curve.angles, strict=True)
            ),
            key=lambda point: point[1],
        )
        lines.append(f"{json.dumps([joint.vendor, points])},\n")
    Path(path).write_text(f"{TABLE}: [\n{''.join(lines)}]\n", encoding="utf-8")


def _curve(joint: Joint, points: dict[str, Any], coupled: set[str]) -> JointCurve:
    if joint.vendor in coupled:
        raise ConfigurationError(
            f"{joint.vendor} is calibrated by a table over two readings ({COUPLED_TABLE}); calibrate the "
            "driver's angles instead: --factory angles"
        )
    if joint.vendor not in points:
        raise ConfigurationError(f"{joint.vendor} is missing from {TABLE}")
    pairs = sorted(
        (float(raw), joint.sign * math.radians(float(degrees))) for raw, degrees in points[joint.vendor]
    )
    return JointCurve(
        joint.name, sensors_of(joint), tuple(raw for raw, _ in pairs), tuple(angle for _, angle in pairs)
    )
