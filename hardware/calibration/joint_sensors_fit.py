"""Refines factory curves of joint sensors until forward kinematics meets the measured fingertips (App. B.5).

Unknown are, of each joint, a shift of its middle knot and the logarithms of the factors on the steps between
its knots, so curves stay monotone whatever is tried; of each fingertip, where its marker really sits in the
distal link; and a small misplacement of the hand-base frame, which follows from reference markers that were
stuck on by hand. Each has a Gaussian prior about zero, so what the fingertips do not show stays at the
factory's value. Derivatives are exact.

Some of these cannot be told apart, and their priors share what is seen: a turn of the frame about the wrist's
axes and a shift of the wrist; a marker that sits further along its path about the distal joint and a shift of
that joint, 2 degrees for a millimetre.

A marker's misfit counts by its distance and by a Cauchy loss: motion capture that takes one marker for
another is off by centimetres and must not pull at all.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from dactyl_tl.contract import NUM_FINGERS, NUM_JOINTS
from dactyl_tl.errors import ConfigurationError
from hardware.calibration.joint_sensors import JointCalibration, JointCurve
from hardware.calibration.joint_sensors_frame import FrameError, cross_matrix, left_jacobian
from hardware.calibration.joint_sensors_kinematics import FingertipKinematics
from hardware.calibration.recording import JointRecording
from hardware.calibration.robust import cauchy_of_groups

NUM_OFFSETS, NUM_FRAME = 3 * NUM_FINGERS, 6

ROBUST_SCALES = (12.0, 3.0)
"""Where the Cauchy loss turns, in standard deviations of a marker: first wide, since factory curves that are
five degrees off look like outliers too."""

MOST_EVALUATIONS = 100
"""Of the residuals at each of the scales. Sound recordings need 5 to 20; what needs more is no recording of
this hand, and is given back as it is then, marked as not converged."""

NEVER_MOVES = 1e-9
"""Standard deviation that stands for zero, of what is not to be estimated."""


@dataclass(frozen=True)
class Priors:
    """Standard deviations.

    Attributes:
        marker: of a measured coordinate of a fingertip about its true place, m.
        shift: of a joint's middle knot about the factory's, rad.
        step: of the logarithm of the factor on a step between knots.
        offset: of a marker's place in its distal link, each coordinate, m; 0 to trust the model's.
        reference: of each coordinate of a reference marker, m; 0 to trust the measured hand-base frame.
    """

    marker: float = 0.001
    shift: float = 0.1
    step: float = 0.15
    offset: float = 0.001
    reference: float = 0.001

    def __post_init__(self) -> None:
        for name in ("marker", "shift", "step"):
            if not 0 < getattr(self, name) < np.inf:
                raise ConfigurationError(
                    f"prior {name} must be positive and finite, not {getattr(self, name)}"
                )
        for name in ("offset", "reference"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ConfigurationError(f"prior {name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class Fit:
    """What came out.

    Attributes:
        calibration: the refined curves.
        offsets: (5, 3) m, of the fingertips' markers from the model's, in the distal links' frames.
        frame: misplacement of the hand-base frame.
        deviation, prior_deviation: of each joint's knots, rad: how uncertain they are after the fit, and
            how uncertain they were before it.
        converged: whether the fit came to rest.
        seconds: that it took.
    """

    calibration: JointCalibration
    offsets: NDArray[np.float64]
    frame: FrameError
    deviation: tuple[NDArray[np.float64], ...]
    prior_deviation: tuple[NDArray[np.float64], ...]
    converged: bool
    seconds: float


class _Curve:
    """A joint's angles, and their derivatives by its parameters: shift, then one logarithm for each step."""

    def __init__(self, curve: JointCurve, raw: NDArray[np.float64]) -> None:
        self.knots = len(curve.raw)
        angles = np.array(curve.angles)
        middle = self.knots // 2
        self._middle, self._steps = angles[middle], np.diff(angles)
        knot, step = np.indices((self.knots, self.knots - 1))
        self._adds = ((step >= middle) & (step < knot)).astype(float) - ((step < middle) & (step >= knot))
        segment = curve.segments(raw)
        left, right = np.take(curve.raw, segment), np.take(curve.raw, segment + 1)
        share = (raw - left) / (right - left)
        rows = np.arange(len(raw))
        self._weights = np.zeros((len(raw), self.knots))
        self._weights[rows, segment] = 1.0 - share
        self._weights[rows, segment + 1] = share

    def at_knots(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Angles at the knots (knots,) and derivatives (knots, knots)."""
        steps = self._steps * np.exp(parameters[1:])
        derivative = np.column_stack((np.ones(self.knots), self._adds * steps))
        return self._middle + parameters[0] + self._adds @ steps, derivative

    def __call__(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Angles at the readings (n,) and derivatives (n, knots)."""
        angles, derivative = self.at_knots(parameters)
        return self._weights @ angles, self._weights @ derivative


class _Problem:
    """Residuals, in standard deviations, of a vector of all parameters, and their exact derivatives."""

    def __init__(
        self,
        kinematics: FingertipKinematics,
        factory: JointCalibration,
        poses: JointRecording,
        priors: Priors,
    ) -> None:
        combined = factory.combined(poses.columns(factory.sensors))
        self._kinematics, self._poses, self._priors = kinematics, poses, priors
        self.curves = [_Curve(curve, combined[:, i]) for i, curve in enumerate(factory.curves)]
        ends = np.cumsum([0, *(curve.knots for curve in self.curves)])
        self.slices = [slice(a, b) for a, b in pairwise(ends.tolist())]
        self.offsets = slice(ends[-1], ends[-1] + NUM_OFFSETS)
        self.frame = slice(self.offsets.stop, self.offsets.stop + NUM_FRAME)
        self.size = self.frame.stop
        self.centre = kinematics.reference.mean(axis=0)
        self.markers = 3 * int(poses.valid.sum())
        self._prior = self._prior_matrix()

    def _prior_matrix(self) -> NDArray[np.float64]:
        matrix = np.zeros((self.size, self.size))
        for part in self.slices:
            deviations = np.full(part.stop - part.start, self._priors.step)
            deviations[0] = self._priors.shift
            matrix[part, part] = np.diag(1.0 / deviations)
        matrix[self.offsets, self.offsets] = np.eye(NUM_OFFSETS) / max(self._priors.offset, NEVER_MOVES)
        # The information that three markers, each with its error, have about the frame fitted to them.
        by_frame = np.vstack(
            [
                np.hstack((-cross_matrix(point - self.centre), np.eye(3)))
                for point in self._kinematics.reference
            ]
        )
        information = by_frame.T @ by_frame / max(self._priors.reference, NEVER_MOVES) ** 2
        matrix[self.frame, self.frame] = np.linalg.cholesky(information).T
        return matrix

    def frame_error(self, parameters: NDArray[np.float64]) -> FrameError:
        rotation, shift = np.split(parameters[self.frame], 2)
        return FrameError(self.centre, rotation, shift)

    def __call__(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Residuals (m,) and derivatives (m, size); three rows for each valid marker, then the priors'."""
        angles = np.empty((len(self._poses.raw), NUM_JOINTS))
        by_curves = []
        for joint, (curve, part) in enumerate(zip(self.curves, self.slices, strict=True)):
            angles[:, joint], by_curve = curve(parameters[part])
            by_curves.append(by_curve)
        offsets = parameters[self.offsets].reshape(NUM_FINGERS, 3)
        points, by_joints, by_offsets = self._kinematics.jacobians(angles, offsets)
        frame = self.frame_error(parameters)
        derivative = np.zeros((*points.shape, self.size))
        for joint, (part, by_curve) in enumerate(zip(self.slices, by_curves, strict=True)):
            derivative[..., part] = by_joints[..., joint, None] * by_curve[:, None, None, :]
        for finger in range(NUM_FINGERS):
            start = self.offsets.start + 3 * finger
            derivative[:, finger, :, start : start + 3] = by_offsets[:, finger]
        derivative = np.einsum("ab,nfbp->nfap", frame.matrix, derivative)
        turned = (points - self.centre) @ frame.matrix.T
        derivative[..., self.frame.start : self.frame.start + 3] = -cross_matrix(turned) @ left_jacobian(
            frame.rotation
        )
        derivative[..., self.frame.start + 3 : self.frame.stop] = np.eye(3)
        seen = self._poses.valid
        misfit = (frame.measured(points) - self._poses.fingertips)[seen] / self._priors.marker
        return (
            np.concatenate((misfit.ravel(), self._prior @ parameters)),
            np.vstack((derivative[seen].reshape(-1, self.size) / self._priors.marker, self._prior)),
        )


def fit_joint_sensors(
    kinematics: FingertipKinematics,
    factory: JointCalibration,
    poses: JointRecording,
    priors: Priors | None = None,
) -> Fit:
    """Refine curves.

    Args:
        kinematics: of the model.
        factory: the curves to start from, and to stay at where nothing is seen.
        poses: one row a pose (:meth:`hardware.calibration.recording.JointRecording.held_poses`).
        priors: standard deviations; None for the defaults.

    Raises:
        ConfigurationError: sensors are missing, or no fingertip was seen.
    """
    started = time.perf_counter()
    problem = _Problem(kinematics, factory, poses, priors or Priors())
    if problem.markers == 0:
        raise ConfigurationError("no fingertip is valid in any pose")
    parameters = np.zeros(problem.size)
    for scale in ROBUST_SCALES:
        last = _Memory(problem)
        result = least_squares(
            last.residuals, parameters, last.derivatives, method="trf", x_scale="jac",
            loss=cauchy_of_groups(problem.markers, 3, scale), xtol=1e-8, ftol=1e-8, gtol=1e-8,
            max_nfev=MOST_EVALUATIONS,
        )  # fmt: skip
        parameters = result.x
    covariance = np.linalg.inv(result.jac.T @ result.jac)
    knots, deviation, before = [], [], []
    for curve, part in zip(problem.curves, problem.slices, strict=True):
        angles, derivative = curve.at_knots(parameters[part])
        knots.append(angles.tolist())
        deviation.append(np.sqrt(np.diag(derivative @ covariance[part, part] @ derivative.T)))
        _, at_factory = curve.at_knots(np.zeros(part.stop - part.start))
        before.append(np.linalg.norm(at_factory @ np.linalg.inv(problem._prior[part, part]), axis=1))
    return Fit(
        calibration=factory.with_angles(knots),
        offsets=parameters[problem.offsets].reshape(NUM_FINGERS, 3),
        frame=problem.frame_error(parameters),
        deviation=tuple(deviation),
        prior_deviation=tuple(before),
        converged=bool(result.status > 0),
        seconds=time.perf_counter() - started,
    )


def fingertip_errors(
    kinematics: FingertipKinematics,
    calibration: JointCalibration,
    poses: JointRecording,
    offsets: NDArray[np.float64] | None = None,
    frame: FrameError | None = None,
) -> NDArray[np.float64]:
    """Distances (n, 5), m, of measured fingertips from those of forward kinematics; NaN where not seen."""
    points = kinematics.positions(calibration.angles(poses.columns(calibration.sensors)), offsets)
    if frame is not None:
        points = frame.measured(points)
    return np.where(poses.valid, np.linalg.norm(points - poses.fingertips, axis=-1), np.nan)


class _Memory:
    """Keeps the last evaluation: scipy asks for residuals and derivatives one after the other."""

    def __init__(self, problem: _Problem) -> None:
        self._problem = problem
        self._at: NDArray[np.float64] | None = None
        self._values: tuple[NDArray[np.float64], NDArray[np.float64]]

    def _evaluate(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self._at is None or not np.array_equal(self._at, parameters):
            self._at, self._values = parameters.copy(), self._problem(parameters)
        return self._values

    def residuals(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._evaluate(parameters)[0]

    def derivatives(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._evaluate(parameters)[1]
