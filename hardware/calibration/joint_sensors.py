"""Angles of the 24 joints from the raw readings of the Hall sensors (Appendix B.5).

A joint's angle is a monotone piecewise-linear function through three to five knots, its truth points. Two
joints have two sensors each, the wrist's pitch and the thumb's base; the vendor averages their readings and
has one function for the average, and so does this.

Beyond the outer knots the function goes on linearly and is not clamped: truth points end at the vendor's
limits, which a joint passes by a few degrees; a clamped joint would seem to stand still there, with a
velocity of zero, and whoever watches limits could not see it pass them. How far a reading is beyond is
:meth:`JointCalibration.beyond`; a sensor that is broken or unplugged is far beyond.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dactyl_tl.errors import ConfigurationError
from hardware.lowlevel.joints import JOINTS, Joint, vendor_range

KIND, VERSION = "joint calibration", 1

FEWEST_KNOTS, MOST_KNOTS = 3, 5
"""Truth points of a joint (Appendix B.5)."""

TWO_SENSORS = ("WRJ0", "THJ4")
"""Joints with two sensors, A and B."""


def sensors_of(joint: Joint) -> tuple[str, ...]:
    """The vendor's names of a joint's sensors, as in its driver's raw data."""
    return (f"{joint.vendor}A", f"{joint.vendor}B") if joint.name in TWO_SENSORS else (joint.vendor,)


@dataclass(frozen=True)
class JointCurve:
    """One joint's angle as a function of its raw reading.

    Attributes:
        joint: our name.
        sensors: names of its sensors; the raw reading is the mean of theirs.
        raw: of the knots, increasing, in the sensor's unit.
        angles: at the knots, rad, increasing or decreasing.

    Raises:
        ConfigurationError: too few or too many knots, or values that are not finite or not monotone.
    """

    joint: str
    sensors: tuple[str, ...]
    raw: tuple[float, ...]
    angles: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.raw)
        if not FEWEST_KNOTS <= count <= MOST_KNOTS or len(self.angles) != count:
            raise ConfigurationError(
                f"{self.joint} has {count} raw readings and {len(self.angles)} angles; "
                f"it needs {FEWEST_KNOTS} to {MOST_KNOTS} of each"
            )
        if not self.sensors:
            raise ConfigurationError(f"{self.joint} has no sensor")
        if not all(map(math.isfinite, (*self.raw, *self.angles))):
            raise ConfigurationError(f"{self.joint} has knots that are not finite: {self.raw}, {self.angles}")
        if not _increasing(self.raw):
            raise ConfigurationError(f"{self.joint}: raw readings must increase: {self.raw}")
        if not _increasing(self.angles) and not _increasing(self.angles[::-1]):
            raise ConfigurationError(
                f"{self.joint}: angles must increase or decrease all along: {self.angles} rad"
            )

    @property
    def slopes(self) -> NDArray[np.float64]:
        """Of the segments between knots, (knots - 1,) rad per unit."""
        return np.diff(self.angles) / np.diff(self.raw)

    def segments(self, raw: ArrayLike) -> NDArray[np.intp]:
        """The segment in which, or beyond which, readings of any shape are."""
        return np.clip(np.searchsorted(self.raw, raw) - 1, 0, len(self.raw) - 2)

    def __call__(self, raw: ArrayLike) -> NDArray[np.float64]:
        """Angles, rad, of readings of any shape."""
        segment = self.segments(raw)
        return np.take(self.angles, segment) + self.slopes[segment] * (
            np.asarray(raw, dtype=np.float64) - np.take(self.raw, segment)
        )

    def reading(self, angles: ArrayLike) -> NDArray[np.float64]:
        """The inverse: raw readings of angles, rad, of any shape."""
        order = slice(None) if self.angles[0] < self.angles[-1] else slice(None, None, -1)
        knots, raw = np.array(self.angles)[order], np.array(self.raw)[order]
        segment = np.clip(np.searchsorted(knots, angles) - 1, 0, len(knots) - 2)
        slopes = np.diff(raw) / np.diff(knots)
        return raw[segment] + slopes[segment] * (np.asarray(angles, dtype=np.float64) - knots[segment])


@dataclass(frozen=True)
class JointCalibration:
    """All joints' curves, in the order of ``hardware.lowlevel.joints.JOINTS``.

    Attributes:
        curves: of each joint.

    Raises:
        ConfigurationError: a joint is missing, unknown or out of order, or a sensor belongs to two.
    """

    curves: tuple[JointCurve, ...]

    def __post_init__(self) -> None:
        expected, given = [joint.name for joint in JOINTS], [curve.joint for curve in self.curves]
        if given != expected:
            raise ConfigurationError(f"calibrated joints are {given}; they must be {expected}")
        if len(set(self.sensors)) != len(self.sensors):
            raise ConfigurationError(f"a sensor belongs to two joints: {self.sensors}")

    @property
    def sensors(self) -> tuple[str, ...]:
        """Names of the sensors, in the order of the joints: the columns of raw readings."""
        return tuple(sensor for curve in self.curves for sensor in curve.sensors)

    def combined(self, raw: ArrayLike) -> NDArray[np.float64]:
        """Each joint's reading, (..., 24), of the sensors' readings (..., sensors).

        Raises:
            ValueError: another number of sensors.
        """
        values = np.asarray(raw, dtype=np.float64)
        if values.shape[-1:] != (len(self.sensors),):
            raise ValueError(f"raw readings have shape {values.shape}; expected (..., {len(self.sensors)})")
        ends = np.cumsum([len(curve.sensors) for curve in self.curves])
        parts = np.split(values, ends[:-1], axis=-1)
        return np.stack([part.mean(axis=-1) for part in parts], axis=-1)

    def angles(self, raw: ArrayLike) -> NDArray[np.float64]:
        """Joint angles (..., 24), rad, of raw readings (..., sensors); see :meth:`combined`."""
        combined = self.combined(raw)
        return np.stack([curve(combined[..., i]) for i, curve in enumerate(self.curves)], axis=-1)

    def raw(self, angles: ArrayLike) -> NDArray[np.float64]:
        """What the sensors (..., sensors) would read at joint angles (..., 24), rad."""
        values = np.asarray(angles, dtype=np.float64)
        return np.stack(
            [curve.reading(values[..., i]) for i, curve in enumerate(self.curves) for _ in curve.sensors],
            axis=-1,
        )

    def beyond(self, raw: ArrayLike) -> NDArray[np.float64]:
        """How far each joint (..., 24) is beyond its outer knots, rad; zero between them."""
        angles = self.angles(raw)
        ends = np.sort([(curve.angles[0], curve.angles[-1]) for curve in self.curves], axis=-1)
        return np.maximum(0.0, np.maximum(ends[:, 0] - angles, angles - ends[:, 1]))

    def with_angles(self, angles: Sequence[Sequence[float]]) -> JointCalibration:
        """The same raw knots with other angles, rad, of each joint."""
        return JointCalibration(
            tuple(
                JointCurve(curve.joint, curve.sensors, curve.raw, tuple(map(float, knots)))
                for curve, knots in zip(self.curves, angles, strict=True)
            )
        )

    def save(self, path: str | os.PathLike[str], record: Mapping[str, Any] | None = None) -> None:
        """Write as JSON; floats survive exactly.

        Args:
            path: of the file, replaced if it is there.
            record: of JSON types, how the calibration came about.
        """
        content = {
            "kind": KIND,
            "version": VERSION,
            "joints": [
                {
                    "joint": curve.joint,
                    "sensors": list(curve.sensors),
                    "raw": list(curve.raw),
                    "angles_rad": list(curve.angles),
                }
                for curve in self.curves
            ],
            **({"record": dict(record)} if record else {}),
        }
        partial = Path(path).with_name(Path(path).name + ".partial")
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> JointCalibration:
        """Read what :meth:`save` wrote.

        Raises:
            ConfigurationError: no such file, or not a valid calibration; the message says why.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"joint calibration {os.fspath(path)} cannot be read: {error}"
            ) from error
        try:
            if content["kind"] != KIND or content["version"] != VERSION:
                raise ConfigurationError(
                    f"it is a {content['kind']!r} of version {content['version']!r}, "
                    f"not a {KIND!r} of {VERSION}"
                )
            return JointCalibration(tuple(_curve(entry) for entry in content["joints"]))
        except ConfigurationError as error:
            raise ConfigurationError(f"joint calibration {os.fspath(path)}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"joint calibration {os.fspath(path)} is damaged: {type(error).__name__} {error}"
            ) from error


def angle_passthrough(knots: int = MOST_KNOTS) -> JointCalibration:
    """The calibration whose "raw readings" are angles already, rad, named ``angle:JOINT`` in our signs.

    For a hand whose driver gives angles and no raw readings: refined, it corrects the driver's.

    Args:
        knots: of each joint, evenly over the vendor's range.
    """
    curves = []
    for joint in JOINTS:
        angles = tuple(np.linspace(*vendor_range(joint), knots).tolist())
        curves.append(JointCurve(joint.name, (f"angle:{joint.name}",), angles, angles))
    return JointCalibration(tuple(curves))


def _curve(entry: Mapping[str, Any]) -> JointCurve:
    sensors = entry["sensors"]
    if not isinstance(sensors, list) or not all(isinstance(sensor, str) for sensor in sensors):
        raise ConfigurationError(f"{entry['joint']}: sensors must be a list of names, not {sensors!r}")
    return JointCurve(
        str(entry["joint"]),
        tuple(sensors),
        tuple(float(value) for value in entry["raw"]),
        tuple(float(value) for value in entry["angles_rad"]),
    )


def _increasing(values: Iterable[float]) -> bool:
    return bool((np.diff(list(values)) > 0).all())
