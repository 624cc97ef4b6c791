"""The poses that a hand is put into to calibrate its joint sensors.

What a fingertip tells of a joint depends on the others. With one pose of the rest, a finger's proximal,
middle and distal joint can trade errors without moving the marker; so can the wrist with all knuckles
together. What tells them apart is moving them independently, over their whole ranges. So poses are spread
evenly over all 20 targets at once (a Sobol sequence), denser towards the ends of the ranges, where the outer
knots are, and those in which links come near each other are left out. Choosing poses greedily by what they
add to the information lowers the expected errors of 120 poses by a further 4 %, and is not done.

A coupled pair's target is the sum of two angles, which the tendon shares out as it likes. A pose has to be
free with the middle joint first, as the vendor's coupling has it without load, and with equal shares. If the
shares were always equal, the proximal joint's zero could hardly be seen: whatever it is off by, functions of
the one angle that the other two have in common make up for it, as far as their knots allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import qmc

from dactyl_tl.contract import NUM_ACTUATORS, NUM_JOINTS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.simulation.scene import build_scene
from hardware.lowlevel.joints import ACTUATORS, DRIVEN, SAFE

POSES = 120
"""How many a calibration takes by default; ``joint_sensors_check --poses`` measures other numbers."""

MOST_POSES = 400

CLEARANCE = 0.0015
"""Links stay this far apart in the model, m. Neighbouring proximal links are never more than 2 mm apart."""

TRAVEL_STEPS = 24
"""Of a way from pose to pose that are checked for collisions."""

CANDIDATES = 8192
"""Of which the free ones are taken in their order."""

MIDDLE_FULL = math.radians(90)
"""Where the middle joint of a coupled pair ends and the distal one goes on."""

OPEN_HAND = tuple(0.0 for _ in range(NUM_ACTUATORS))
"""Straight fingers, from which every pose can be reached; a way that is not free goes through it."""


class PoseStep(NamedTuple):
    """One step of the script.

    Attributes:
        targets: of the 20 actuators, rad.
        recorded: whether to hold still there and record; if not, it is on the way.
    """

    targets: tuple[float, ...]
    recorded: bool


def middle_first(targets: ArrayLike) -> NDArray[np.float64]:
    """Joint angles (..., 24) at targets (..., 20), rad, where a pair's middle joint flexes first."""
    return _shared(targets, lambda total: np.minimum(total, MIDDLE_FULL))


def even(targets: ArrayLike) -> NDArray[np.float64]:
    """Joint angles (..., 24) at targets (..., 20), rad, where both joints of a pair flex alike."""
    return _shared(targets, lambda total: total / 2)


def _shared(
    targets: ArrayLike, middle_share: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    values = np.asarray(targets, dtype=np.float64)
    angles = np.zeros((*values.shape[:-1], NUM_JOINTS))
    for actuator, driven in enumerate(DRIVEN):
        total = values[..., actuator]
        if len(driven) == 1:
            angles[..., driven[0]] = total
        else:
            angles[..., driven[0]] = middle_share(total)
            angles[..., driven[1]] = total - middle_share(total)
    return angles


class SelfCollision:
    """Whether the hand touches itself, by the model's collision geoms."""

    def __init__(self, clearance: float = CLEARANCE) -> None:
        scene = build_scene()
        self._model, self._data = scene.model, mujoco.MjData(scene.model)
        self._model.geom_contype[scene.object_geoms] = 0
        self._model.geom_conaffinity[scene.object_geoms] = 0
        self._model.geom_margin[:] = clearance
        self._model.pair_margin[:] = clearance

    def free(self, angles: ArrayLike) -> bool:
        """Whether in all poses (n, 24), rad, links are further apart than the clearance."""
        for pose in np.atleast_2d(angles):
            self._data.qpos[:NUM_JOINTS] = pose
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_collision(self._model, self._data)
            if self._data.ncon:
                return False
        return True

    def way_free(self, start: Sequence[float], end: Sequence[float]) -> bool:
        """Whether the straight way between two targets (20,), rad, is free however the pairs share it out."""
        way = np.linspace(start, end, TRAVEL_STEPS)
        return self.free(middle_first(way)) and self.free(even(way))


def pose_script(poses: int = POSES, seed: int = 0) -> list[PoseStep]:
    """A free way through poses that together show all joints.

    Args:
        poses: that are recorded.
        seed: of the sequence; the same seed gives the same script.

    Raises:
        ConfigurationError: more poses than the sequence has, or none.
    """
    if not 1 <= poses <= MOST_POSES:
        raise ConfigurationError(f"poses must be 1 to {MOST_POSES}, not {poses}")
    collision = SelfCollision()
    low, high = np.array(SAFE).T
    steps, here = [], OPEN_HAND
    for share in qmc.Sobol(NUM_ACTUATORS, rng=seed).random(CANDIDATES):
        # An arcsine law: dense at both ends.
        targets = tuple((low + (high - low) * 0.5 * (1.0 - np.cos(np.pi * share))).tolist())
        if not (collision.free(middle_first(targets)) and collision.free(even(targets))):
            continue
        if not collision.way_free(here, targets):
            if not (collision.way_free(here, OPEN_HAND) and collision.way_free(OPEN_HAND, targets)):
                continue
            steps.append(PoseStep(OPEN_HAND, recorded=False))
        steps.append(PoseStep(targets, recorded=True))
        here = targets
        if sum(step.recorded for step in steps) == poses:
            return steps
    raise ConfigurationError(f"only {sum(step.recorded for step in steps)} of {poses} poses are free")


def recorded_targets(steps: Sequence[PoseStep]) -> NDArray[np.float64]:
    """Targets (poses, 20), rad, of the poses that are recorded."""
    return np.array([step.targets for step in steps if step.recorded])


def coverage(steps: Sequence[PoseStep]) -> dict[str, float]:
    """By actuator, the share of its safe range between the least and the greatest recorded target."""
    targets = recorded_targets(steps)
    return {
        actuator.name: float(np.ptp(targets[:, i]) / (SAFE[i][1] - SAFE[i][0]))
        for i, actuator in enumerate(ACTUATORS)
    }
