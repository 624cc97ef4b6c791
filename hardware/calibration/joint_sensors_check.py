"""``python -m hardware.calibration.joint_sensors_check``: how well the calibration of joint sensors does.

A simulated hand has Hall sensors whose field is a sine of the angle and a factory calibration that is wrong
by a shift, a scale and a jitter of every joint. It goes through the pose script, motion capture sees its
fingertips with noise, gaps and swapped markers, and the calibration is refined from that recording. What is
left is measured on other poses, against angles and places that a lab would not know.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hardware.calibration.joint_sensors import JointCalibration
from hardware.calibration.joint_sensors_fit import Priors, fingertip_errors, fit_joint_sensors
from hardware.calibration.joint_sensors_kinematics import FingertipKinematics
from hardware.calibration.joint_sensors_poses import POSES, pose_script, recorded_targets
from hardware.calibration.joint_sensors_simulated import COUPLINGS, Planted, SimulatedHand
from hardware.lowlevel.joints import JOINTS

HELD_OUT_POSES, HELD_OUT_SEED = 60, 1
"""Poses of another sequence, which no calibration sees."""


@dataclass(frozen=True)
class Outcome:
    """Errors on held-out poses.

    Attributes:
        before, after: (24,) degrees, mean absolute, of the factory's and the refined calibration.
        best: the same of the best that a piecewise-linear function through the factory's readings could do
            if its knots were right.
        fingertips_before, fingertips_after: mean distance, mm, of fingertips from forward kinematics.
        seconds: of the fit.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]
    best: NDArray[np.float64]
    fingertips_before: float
    fingertips_after: float
    seconds: float


def simulate(
    planted: Planted,
    *,
    seed: int = 0,
    poses: int = POSES,
    priors: Priors | None = None,
    kinematics: FingertipKinematics | None = None,
) -> Outcome:
    """Plant errors, calibrate and measure."""
    kinematics = kinematics or FingertipKinematics()
    hand = SimulatedHand(planted, kinematics, np.random.default_rng(seed))
    recording = hand.record(hand.angles(recorded_targets(pose_script(poses))))
    fit = fit_joint_sensors(kinematics, hand.factory, recording.held_poses(), priors)
    others = hand.angles(recorded_targets(pose_script(HELD_OUT_POSES, seed=HELD_OUT_SEED)))
    unseen = hand.exact(others)

    def degrees(calibration: JointCalibration) -> NDArray[np.float64]:
        return np.degrees(np.abs(calibration.angles(unseen.raw) - others)).mean(axis=0)

    return Outcome(
        before=degrees(hand.factory),
        after=degrees(fit.calibration),
        best=degrees(hand.best),
        fingertips_before=1e3 * float(fingertip_errors(kinematics, hand.factory, unseen).mean()),
        fingertips_after=1e3
        * float(fingertip_errors(kinematics, fit.calibration, unseen, fit.offsets, fit.frame).mean()),
        seconds=fit.seconds,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures for every seed and, of all seeds together, each joint's."""
    parser = argparse.ArgumentParser(prog="python -m hardware.calibration.joint_sensors_check")
    parser.add_argument("--seeds", type=int, default=5, help="simulated hands")
    parser.add_argument(
        "--poses", type=int, nargs="+", default=[POSES], help="recorded poses; several to compare"
    )
    parser.add_argument("--coupling", choices=COUPLINGS, default=Planted.coupling)
    parser.add_argument(
        "--exact-curves", action="store_true", help="sensors that are piecewise linear themselves"
    )
    parser.add_argument("--frames", type=int, default=Planted.frames, help="recorded rows of a pose")
    parser.add_argument("--placement", type=float, default=0.0, help="error of fingertip markers' places, mm")
    parser.add_argument("--reference", type=float, default=0.0, help="error of reference markers' places, mm")
    parser.add_argument("--prior-offset", type=float, help="assumed error of fingertip markers' places, mm")
    parser.add_argument(
        "--prior-reference", type=float, help="assumed error of reference markers' places, mm"
    )
    given = parser.parse_args(arguments)
    planted = Planted(
        placement=1e-3 * given.placement,
        reference=1e-3 * given.reference,
        coupling=given.coupling,
        frames=given.frames,
        curved=not given.exact_curves,
    )
    priors = Priors()
    if given.prior_offset is not None:
        priors = replace(priors, offset=1e-3 * given.prior_offset)
    if given.prior_reference is not None:
        priors = replace(priors, reference=1e-3 * given.prior_reference)
    kinematics = FingertipKinematics()
    print("poses seed  degrees before  after (best)  worst joint    fingertips mm before  after  seconds")
    for poses in given.poses:
        outcomes = []
        for seed in range(given.seeds):
            each = simulate(planted, seed=seed, poses=poses, priors=priors, kinematics=kinematics)
            outcomes.append(each)
            _print_row(poses, str(seed), each)
        _print_row(poses, "all", _mean(outcomes))
    print("\njoint  degrees before  after (best)")
    mean = _mean(outcomes)
    for joint, before, after, best in zip(JOINTS, mean.before, mean.after, mean.best, strict=True):
        print(f"{joint.name:5s}  {before:14.2f}  {after:5.2f} ({best:.2f})")
    return 0


def _print_row(poses: int, seed: str, outcome: Outcome) -> None:
    worst = int(np.argmax(outcome.after))
    print(
        f"{poses:5d} {seed:>4s}  {outcome.before.mean():14.2f}  {outcome.after.mean():5.2f} "
        f"({outcome.best.mean():.2f})  {JOINTS[worst].name} {outcome.after[worst]:6.2f}  "
        f"{outcome.fingertips_before:22.2f}  {outcome.fingertips_after:5.2f}  {outcome.seconds:7.2f}"
    )


def _mean(outcomes: Sequence[Outcome]) -> Outcome:
    def over(name: str) -> NDArray[np.float64]:
        return np.mean([getattr(outcome, name) for outcome in outcomes], axis=0)

    return Outcome(
        over("before"), over("after"), over("best"), float(over("fingertips_before")),
        float(over("fingertips_after")), float(over("seconds")),
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
