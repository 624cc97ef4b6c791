"""``python -m hardware calibrate joints``: refine the joint sensors' curves from a recording (App. B.5)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.contract import FINGERS
from dactyl_tl.errors import ConfigurationError
from hardware.calibration.joint_sensors import JointCalibration, angle_passthrough
from hardware.calibration.joint_sensors_fit import Fit, Priors, fingertip_errors, fit_joint_sensors
from hardware.calibration.joint_sensors_kinematics import FingertipKinematics
from hardware.calibration.joint_sensors_poses import POSES, pose_script
from hardware.calibration.joint_sensors_vendor import load_vendor, save_vendor
from hardware.calibration.recording import JointRecording, load_recording
from hardware.lowlevel.joints import ACTUATORS, JOINTS

ANGLES = "angles"
"""Value of ``--factory`` for a recording of the driver's angles instead of raw readings."""

HELD_OUT = 5
"""Every so many poses one is kept apart to measure on."""

BEYOND = 15.0
"""Degrees beyond the outer knots at which a sensor is named."""

UNSEEN = 1.0
"""Degrees: a joint that is less certain than this after the fit is named."""

POSES_KIND = "joint sensor poses"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--recording", type=Path, help="of joint readings and fingertips, .npz or .jsonl")
    parser.add_argument(
        "--factory", help=f"curves to start from: JSON, the vendor's calibration.yaml, or {ANGLES!r}"
    )
    parser.add_argument("--output", type=Path, help="where the refined curves go, JSON")
    parser.add_argument(
        "--vendor-output", type=Path, help="where they go as the vendor's calibration.yaml too"
    )
    parser.add_argument(
        "--offset", type=float, default=1e3 * Priors.offset,
        help="how well fingertip markers sit where the model has them, mm; 0: exactly (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--reference", type=float, default=1e3 * Priors.reference,
        help="the same of the forearm's reference markers, mm (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--write-poses", type=Path, help="only write the poses that are to be recorded, JSON")
    parser.add_argument("--poses", type=int, default=POSES, help="how many (default %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Write the pose script, or calibrate from a recording.

    Raises:
        ConfigurationError: files that are missing or cannot be used.
    """
    if arguments.write_poses:
        write_poses(arguments.write_poses, arguments.poses)
        return 0
    missing = [name for name in ("recording", "factory", "output") if getattr(arguments, name) is None]
    if missing:
        raise ConfigurationError(f"needs --{' and --'.join(missing)}, or --write-poses")
    factory = load_factory(arguments.factory)
    recording = load_recording(arguments.recording)
    priors = Priors(offset=1e-3 * arguments.offset, reference=1e-3 * arguments.reference)
    kinematics = FingertipKinematics()
    poses = recording.held_poses()
    apart = np.arange(len(poses.pose)) % HELD_OUT == HELD_OUT - 1
    if not apart.any():
        raise ConfigurationError(
            f"{arguments.recording} has {len(apart)} poses; at least {HELD_OUT} are needed"
        )
    fit = fit_joint_sensors(kinematics, factory, poses.select(~apart), priors)
    before = fingertip_errors(kinematics, factory, poses.select(apart))
    after = fingertip_errors(kinematics, fit.calibration, poses.select(apart), fit.offsets, fit.frame)
    print(report(factory, fit, poses.select(~apart), before, after))
    fit.calibration.save(
        arguments.output, _record(arguments.recording.name, int((~apart).sum()), fit, before, after)
    )
    if arguments.vendor_output:
        save_vendor(arguments.vendor_output, fit.calibration)
    return 0


def load_factory(name: str) -> JointCalibration:
    """The curves that ``--factory`` means.

    Raises:
        ConfigurationError: they cannot be read.
    """
    if name == ANGLES:
        return angle_passthrough()
    if Path(name).suffix in (".yaml", ".yml"):
        return load_vendor(name)
    return JointCalibration.load(name)


def write_poses(path: Path, poses: int) -> None:
    """Write the pose script as JSON: actuators' names, then steps of 20 targets, rad, in order."""
    steps = pose_script(poses)
    content = {
        "kind": POSES_KIND,
        "version": 1,
        "actuators": [actuator.name for actuator in ACTUATORS],
        "steps": [{"targets_rad": list(step.targets), "recorded": step.recorded} for step in steps],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{poses} poses to record and {len(steps) - poses} stops on the way in {path}")


def report(
    factory: JointCalibration,
    fit: Fit,
    poses: JointRecording,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
) -> str:
    """The table for a person.

    Args:
        factory: where the fit started.
        fit: the outcome.
        poses: it was fitted to.
        before, after: distances (n, 5) m at held-out fingertips, NaN where not seen.
    """
    lines = ["joint  knots  largest change  uncertain by (before)  fingertips mm before  after"]
    for joint, old, new, deviation, prior in zip(
        JOINTS, factory.curves, fit.calibration.curves, fit.deviation, fit.prior_deviation, strict=True
    ):
        change = np.degrees(np.subtract(new.angles, old.angles))
        largest = change[np.argmax(np.abs(change))]
        seen = _fingers_of(joint.name)
        lines.append(
            f"{joint.name:5s}  {len(new.raw):5d}  {largest:+13.2f}°  "
            f"{np.degrees(_rms(deviation)):11.2f}° ({np.degrees(_rms(prior)):5.1f}°)  "
            f"{_median(before[:, seen]):20.2f}  {_median(after[:, seen]):5.2f}"
        )
    lines.append(
        f"all: {len(poses.pose)} poses, held-out fingertips {_median(before):.2f} mm before and "
        f"{_median(after):.2f} mm after (medians; worst tenth {_tenth(before):.2f} and {_tenth(after):.2f}), "
        f"{fit.seconds:.1f} s"
    )
    offsets = ", ".join(
        f"{finger} {1e3 * np.linalg.norm(offset):.1f}"
        for finger, offset in zip(FINGERS, fit.offsets, strict=True)
    )
    lines.append(f"markers are off their places by (mm): {offsets}")
    lines.append(
        f"the hand-base frame is off by {1e3 * np.linalg.norm(fit.frame.shift):.1f} mm, "
        f"{np.degrees(np.linalg.norm(fit.frame.rotation)):.2f}°"
    )
    if not fit.converged:
        lines.append(
            "the fit did not come to rest: the recording and the factory file may be of different hands"
        )
    unsure = [
        joint.name
        for joint, deviation in zip(JOINTS, fit.deviation, strict=True)
        if np.degrees(_rms(deviation)) > UNSEEN
    ]
    if unsure:
        lines.append(f"not seen well, and near the factory's values therefore: {', '.join(unsure)}")
    beyond = np.degrees(fit.calibration.beyond(poses.columns(factory.sensors))).max(axis=0)
    far = [
        f"{joint.name} {value:.0f}°" for joint, value in zip(JOINTS, beyond, strict=True) if value > BEYOND
    ]
    if far:
        lines.append(f"far beyond the outer knots; look at the sensor: {', '.join(far)}")
    return "\n".join(lines)


def _record(name: str, poses: int, fit: Fit, before: NDArray[np.float64], after: NDArray[np.float64]) -> dict:
    return {
        "recording": name,
        "poses": poses,
        "held_out_fingertips_mm": {"before": _median(before), "after": _median(after)},
        "uncertain_by_degrees": {
            joint.name: round(float(np.degrees(_rms(deviation))), 3)
            for joint, deviation in zip(JOINTS, fit.deviation, strict=True)
        },
        "marker_offsets_m": dict(zip(FINGERS, fit.offsets.tolist(), strict=True)),
        "frame_error": {
            "rotation_vector_rad": fit.frame.rotation.tolist(),
            "shift_m": fit.frame.shift.tolist(),
        },
    }


def _fingers_of(joint: str) -> list[int]:
    finger = joint[:2].lower()
    return [FINGERS.index(finger)] if finger in FINGERS else list(range(len(FINGERS)))


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _median(distances: NDArray[np.float64]) -> float:
    return 1e3 * float(np.nanmedian(distances)) if np.isfinite(distances).any() else float("nan")


def _tenth(distances: NDArray[np.float64]) -> float:
    return 1e3 * float(np.nanquantile(distances, 0.9)) if np.isfinite(distances).any() else float("nan")
