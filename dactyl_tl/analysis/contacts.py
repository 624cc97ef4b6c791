"""Which parts of the hand touch the object, where, and whether they slip: recorded from trials."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import mujoco
import numpy as np
from numpy.typing import NDArray

from dactyl_tl.contract import FINGERS
from dactyl_tl.evaluation.worlds import SimulatedWorld
from dactyl_tl.protocol import Referee, World
from dactyl_tl.simulation.hand import PREFIX
from dactyl_tl.simulation.objects import OBJECT_BODY
from dactyl_tl.simulation.scene import Scene

FINGER_NAMES = {"ff": "index", "mf": "middle", "rf": "ring", "lf": "little", "th": "thumb"}

PARTS = (
    *(f"{FINGER_NAMES[finger]} tip" for finger in FINGERS),
    *(f"{FINGER_NAMES[finger]} side" for finger in FINGERS),
    "palm",
)
"""Distal phalanx of each finger, its other phalanges, and everything else."""

TIPS = slice(0, 5)
SIDES = slice(5, 10)
PALM = 10
THUMB = FINGERS.index("th")

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Recording:
    """T control steps of N trials; the parts of the hand are in the order of :data:`PARTS`.

    Attributes:
        running: (T, N) whether the trial still went on; what follows means nothing where not.
        touching: (T, N, 11) which parts touch the object.
        points: (T, N, 11, 3) m, where they do, in the object's frame; NaN where not.
        slip: (T, N, 11) m/s, speed at which they slide over its surface; 0 where they do not touch.
        orientation: (T, N, 4) wxyz of the object in the world.
        angular_velocity: (T, N, 3) rad/s of the object in the world.
        qpos: (T, N, 31), to draw.
        goal: (T, N, 4) wxyz in the world, to draw.
        successes: (T, N) rotations so far.
    """

    running: Mask
    touching: Mask
    points: Array
    slip: Array
    orientation: Array
    angular_velocity: Array
    qpos: Array
    goal: Array
    successes: NDArray[np.int64]


@dataclass
class ContactRecorder:
    """Records trials while they run; see :data:`dactyl_tl.evaluation.trials.Watcher`."""

    _frames: list[dict[str, NDArray]] = field(default_factory=list)
    _parts: NDArray[np.int64] | None = None

    def __call__(self, world: World, referee: Referee) -> None:
        """Record one control step of every trial that goes on."""
        assert isinstance(world, SimulatedWorld), "contacts are known in simulation only"
        n = world.num_trials
        frame: dict[str, NDArray] = {
            "running": referee.running.numpy().copy(),
            "touching": np.zeros((n, len(PARTS)), bool),
            "points": np.full((n, len(PARTS), 3), np.nan),
            "slip": np.zeros((n, len(PARTS))),
            "orientation": np.zeros((n, 4)),
            "angular_velocity": np.zeros((n, 3)),
            "qpos": np.zeros((n, world.env.physics.qpos.shape[1])),
            "goal": np.zeros((n, 4)),
            "successes": referee.successes.numpy().copy(),
        }
        if self._parts is None:
            self._parts = part_of_geom(world.env.scene)
        for trial in np.flatnonzero(frame["running"]):
            model, data = world.env.physics.materialize(int(trial))
            _, frame["goal"][trial] = world.scene_state(int(trial))
            _read(model, data, self._parts, {name: values[trial] for name, values in frame.items()})
        self._frames.append(frame)

    def recording(self) -> Recording:
        """Everything so far."""
        names = [each.name for each in fields(Recording)]
        return Recording(**{name: np.stack([frame[name] for frame in self._frames]) for name in names})


def part_of_geom(scene: Scene) -> NDArray[np.int64]:
    """Index in :data:`PARTS` of every geom; -1 for the object's."""
    parts = np.full(scene.model.ngeom, PALM)
    parts[scene.object_geoms] = -1
    for geom, finger in zip(scene.finger_geoms, scene.finger_of, strict=True):
        tip = scene.model.geom(int(geom)).name == f"{PREFIX}C_{FINGERS[finger]}distal"
        parts[geom] = finger if tip else finger + SIDES.start
    return parts


def _read(
    model: mujoco.MjModel, data: mujoco.MjData, parts: NDArray[np.int64], out: dict[str, NDArray]
) -> None:
    """Write one simulation's contacts and motion into the rows of ``out``."""
    body = model.body(OBJECT_BODY).id
    out["qpos"][:] = data.qpos
    out["orientation"][:] = data.xquat[body]
    linear, angular = _velocity(model, data, body)
    out["angular_velocity"][:] = angular
    frame = data.xmat[body].reshape(3, 3)
    points: dict[int, list[Array]] = {}
    for contact in data.contact[: data.ncon]:
        sides = [int(parts[geom]) for geom in contact.geom]
        if sorted(sides)[0] != -1 or sides[0] == sides[1]:
            continue  # not of the object and the hand
        part = max(sides)
        hand = contact.geom[sides.index(part)]
        moved, turned = _velocity(model, data, model.geom_bodyid[hand])
        reach, hand_reach = contact.pos - data.xipos[body], contact.pos - data.xipos[model.geom_bodyid[hand]]
        relative = (linear + np.cross(angular, reach)) - (moved + np.cross(turned, hand_reach))
        normal = contact.frame[:3]
        out["touching"][part] = True
        out["slip"][part] = max(out["slip"][part], np.linalg.norm(relative - normal * (relative @ normal)))
        points.setdefault(part, []).append(frame.T @ (contact.pos - data.xpos[body]))
    for part, found in points.items():
        out["points"][part] = np.mean(found, axis=0)


def _velocity(model: mujoco.MjModel, data: mujoco.MjData, body: int) -> tuple[Array, Array]:
    """Linear (m/s, of the centre of mass) and angular (rad/s) velocity of a body, along the world's axes."""
    velocity = np.zeros(6)
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_BODY, body, velocity, 0)
    return velocity[3:], velocity[:3]
