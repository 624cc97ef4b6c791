"""A simulated hand with wrong Hall sensors, before motion capture: what calibrations are tried on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from dactyl_tl.contract import COUPLED, NUM_FINGERS, NUM_JOINTS
from dactyl_tl.contract import JOINTS as JOINTS_BY_NAME
from hardware.calibration.joint_sensors import JointCalibration, JointCurve, sensors_of
from hardware.calibration.joint_sensors_frame import FrameError
from hardware.calibration.joint_sensors_kinematics import FingertipKinematics
from hardware.calibration.joint_sensors_poses import even, middle_first
from hardware.calibration.recording import JointRecording
from hardware.lowlevel.joints import JOINTS, Joint, vendor_range

MIDDLE, DISTAL = (
    [JOINTS_BY_NAME.index(name) for name in names] for names in zip(*COUPLED.items(), strict=True)
)

COUPLINGS = ("middle_first", "even", "mixed")
"""How the tendons of coupled pairs share out targets: as without load, alike, or in between, by chance."""


@dataclass(frozen=True)
class Planted:
    """What is wrong with the simulated hand and its motion capture.

    Attributes:
        shift: largest error of a joint's factory angles, degrees, uniform.
        scale: largest error of the factory's scale about the middle of the range, share, uniform.
        jitter: standard deviation of each factory knot's own error, degrees.
        count_noise: standard deviation of a raw reading.
        frames: rows that are recorded of a pose.
        marker_noise: standard deviation of each coordinate of a fingertip in a row, m.
        pose_noise: the same of what stays as it is while a pose is held, m.
        swapped: share of fingertips that are taken for another finger's for as long as a pose is held.
        blinks: share of single rows in which they are.
        lost: share of fingertips that are not seen for as long as a pose is held.
        placement: standard deviation of each coordinate of a marker's place in its distal link, m.
        reference: standard deviation of each coordinate of the reference markers, m.
        coupling: one of :data:`COUPLINGS`.
        curved: whether sensors read a sine of the angle; else exactly what some curve with the factory's
            readings says, which no sensor does.
    """

    shift: float = 5.0
    scale: float = 0.08
    jitter: float = 0.7
    count_noise: float = 2.0
    frames: int = 20
    marker_noise: float = 0.001
    pose_noise: float = 0.0003
    swapped: float = 0.02
    blinks: float = 0.01
    lost: float = 0.03
    placement: float = 0.0
    reference: float = 0.0
    coupling: str = "middle_first"
    curved: bool = True


@dataclass(frozen=True)
class Hall:
    """A sensor in a magnet's field: reading = centre + amplitude sin(rate (angle - middle) + phase)."""

    centre: float
    amplitude: float
    rate: float
    middle: float
    phase: float

    def __call__(self, angle: ArrayLike) -> NDArray[np.float64]:
        """Readings, counts, at angles, rad, of any shape."""
        return self.centre + self.amplitude * np.sin(
            self.rate * (np.asarray(angle) - self.middle) + self.phase
        )


class SimulatedHand:
    """A hand with Hall sensors.

    Attributes:
        factory: its wrong calibration.
        best: the calibration whose knots are right, at the same readings.
        frame: how its hand-base frame is misplaced.
    """

    def __init__(self, planted: Planted, kinematics: FingertipKinematics, rng: np.random.Generator) -> None:
        self._planted, self._kinematics, self._rng = planted, kinematics, rng
        self._sensors: list[list[Hall]] = []
        factory: list[JointCurve] = []
        best: list[JointCurve] = []
        for joint in JOINTS:
            knots = truth_points(joint)
            wrong = (
                math.radians(rng.uniform(-planted.shift, planted.shift))
                + rng.uniform(-planted.scale, planted.scale) * (knots - knots.mean())
                + np.radians(rng.normal(0.0, planted.jitter, len(knots)))
            )
            true = knots + wrong
            halls = [_hall(knots, rng) for _ in sensors_of(joint)]
            if len(halls) == 2:  # they must agree in direction, or their mean would lose it
                halls[1] = replace(halls[1], amplitude=abs(halls[1].amplitude) * np.sign(halls[0].amplitude))
            readings = np.mean([hall(true) for hall in halls], axis=0)
            order = np.argsort(readings)
            for curves, angles in ((factory, knots), (best, true)):
                curves.append(
                    JointCurve(
                        joint.name,
                        sensors_of(joint),
                        tuple(readings[order].tolist()),
                        tuple(angles[order].tolist()),
                    )
                )
            self._sensors.append(halls)
        self.factory, self.best = JointCalibration(tuple(factory)), JointCalibration(tuple(best))
        self._offsets = rng.normal(0.0, planted.placement, (NUM_FINGERS, 3))
        self.frame = _fitted_frame(
            kinematics.reference, kinematics.reference + rng.normal(0.0, planted.reference, (3, 3))
        )

    def angles(self, targets: ArrayLike) -> NDArray[np.float64]:
        """Joint angles (n, 24), rad, at targets (n, 20)."""
        first, alike = middle_first(targets), even(targets)
        if self._planted.coupling == "mixed":
            share = self._rng.random((len(first), NUM_JOINTS))
            share[:, DISTAL] = share[:, MIDDLE]
            return share * first + (1.0 - share) * alike
        return first if self._planted.coupling == "middle_first" else alike

    def raw(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Readings (n, 26), without noise."""
        if not self._planted.curved:
            return self.best.raw(angles)
        return np.stack(
            [hall(angles[:, i]) for i, halls in enumerate(self._sensors) for hall in halls], axis=-1
        )

    def fingertips(self, angles: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where motion capture without noise has the markers, (n, 5, 3) m."""
        return self.frame.measured(self._kinematics.positions(angles, self._offsets))

    def record(self, angles: NDArray[np.float64]) -> JointRecording:
        """Rows of poses (n, 24), rad, that are held one after the other."""
        planted, rng = self._planted, self._rng
        poses, frames = len(angles), planted.frames
        held = self.fingertips(angles)
        held = np.where(
            _chance(rng, (poses, NUM_FINGERS, 1), planted.swapped), np.roll(held, 1, axis=1), held
        )
        held = held + rng.normal(0.0, planted.pose_noise, held.shape)
        valid = ~_chance(rng, (poses, NUM_FINGERS), planted.lost)
        fingertips = np.repeat(held, frames, axis=0)
        blinks = _chance(rng, (len(fingertips), NUM_FINGERS, 1), planted.blinks)
        fingertips = np.where(blinks, np.roll(fingertips, 2, axis=1), fingertips)
        fingertips = fingertips + rng.normal(0.0, planted.marker_noise, fingertips.shape)
        raw = np.repeat(self.raw(angles), frames, axis=0)
        return JointRecording(
            self.factory.sensors,
            10**7 * np.arange(poses * frames),
            np.repeat(np.arange(poses), frames),
            raw + rng.normal(0.0, planted.count_noise, raw.shape),
            fingertips,
            np.repeat(valid, frames, axis=0),
        )

    def exact(self, angles: NDArray[np.float64]) -> JointRecording:
        """One row a pose, without noise."""
        rows = np.arange(len(angles))
        return JointRecording(
            self.factory.sensors, 10**7 * rows, rows, self.raw(angles), self.fingertips(angles),
            np.ones((len(angles), NUM_FINGERS), dtype=bool),
        )  # fmt: skip


def truth_points(joint: Joint) -> NDArray[np.float64]:
    """Angles, rad, at which a factory would take a joint's truth points: evenly, where targets can go."""
    low, high = vendor_range(joint)
    if joint.name[2:] == "J2" and joint.name != "THJ2":
        low = 0.0  # hyperextension is no target
    span = math.degrees(high - low)
    return np.linspace(low, high, 3 if span < 40 - 1e-9 else 4 if span < 80 else 5)


def _chance(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> NDArray[np.bool_]:
    return rng.random(shape) < share


def _hall(knots: NDArray[np.float64], rng: np.random.Generator) -> Hall:
    span = knots[-1] - knots[0]
    reach = 1.6 * min(1.0, span / math.radians(40))  # of the phase, over the range
    return Hall(
        centre=rng.uniform(1900.0, 2200.0),
        amplitude=rng.uniform(1200.0, 1600.0) * rng.choice((-1.0, 1.0)),
        rate=reach / span,
        middle=float(knots.mean()),
        phase=rng.uniform(-0.3, 0.3),
    )


def _fitted_frame(true: NDArray[np.float64], placed: NDArray[np.float64]) -> FrameError:
    """Who fits the true layout to markers that are elsewhere takes true points for moved ones."""
    centre, moved = true.mean(axis=0), placed.mean(axis=0)
    rotation, _ = Rotation.align_vectors(true - centre, placed - moved)
    # measured = centre + rotation (point - moved)
    return FrameError(centre, rotation.as_rotvec(), rotation.apply(centre - moved))
