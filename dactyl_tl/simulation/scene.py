"""The scene: hand and object compiled into one MjModel, and the indices that the task needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import mujoco
import numpy as np

from dactyl_tl.contract import ACTUATORS, COUPLED, FINGERS, JOINTS, PHYSICS_TIMESTEP
from dactyl_tl.simulation.hand import PALM_BODY, PREFIX, REFERENCE_MARKERS, edit_hand, load_hand_spec
from dactyl_tl.simulation.objects import GEOM_PREFIX, OBJECT_BODY, OBJECT_JOINT, START_POSITION, add_object


@dataclass(frozen=True)
class Task:
    """What a task's scene holds."""

    object_name: str
    """Key of :data:`dactyl_tl.simulation.objects.OBJECTS`."""
    locked_wrist: bool = False
    """Whether the wrist's pitch joint is held at zero (Section 6.1)."""


TASKS = MappingProxyType(
    {
        "block": Task("block"),
        "prism": Task("prism"),
        "block_locked_wrist": Task("block", locked_wrist=True),
    }
)
"""The tasks of Table 3."""

CAMERA_DISTANCE = 0.5
"""Metres from the object's start to each camera (Section B.3)."""

SENSOR_WIDTH, SENSOR_HEIGHT = 640, 480
"""Pixels of the cameras (Section B.3: Basler acA640-750uc)."""

PIXEL_SIZE, FOCAL_LENGTH = 4.8e-6, 4.0e-3
"""Of that camera's sensor, and of the lens, which the paper does not give, m."""

CAMERA_FOV = math.degrees(2 * math.atan(SENSOR_HEIGHT * PIXEL_SIZE / (2 * FOCAL_LENGTH)))
"""Vertical field of view of the cameras, degrees."""

CAMERA_DIRECTIONS = MappingProxyType(
    {
        "camera:left": (-0.75, -0.35, 0.75),
        "camera:front": (0.0, -0.75, 0.8),
        "camera:right": (0.75, -0.1, 0.8),
    }
)
"""Where each camera stands, seen from the object's start (normalised when used)."""

BOUND_MARGIN = 1.1
"""The object's bounding volumes are compiled this much too large, so that they stay valid when its
size is randomised; the broad phase then needs no per-simulation bounds."""


@dataclass(frozen=True)
class Scene:
    """A compiled model and where things are in it.

    Attributes:
        model: 24 hinges in the order of ``JOINTS`` (qpos 0..23, dofs 0..23), then the object's free joint.
        driven: (20, 24) float: an actuator's measured position is ``driven @ joint angles``.
        fingertip_sites, nail_sites: (5,) site ids in the order of ``FINGERS``.
        reference_sites: (3,) site ids.
        link_bodies: body ids of the hand's links (mount and forearm excluded: they do not move).
        object_geoms: ids of the object's collision geoms.
        finger_geoms: geom ids of the finger and thumb segments, and ``finger_of``, the index in
            ``FINGERS`` of each.
    """

    model: mujoco.MjModel
    driven: np.ndarray
    fingertip_sites: np.ndarray
    nail_sites: np.ndarray
    reference_sites: np.ndarray
    palm_body: int
    object_body: int
    link_bodies: np.ndarray
    object_geoms: np.ndarray
    finger_geoms: np.ndarray
    finger_of: np.ndarray


def build_scene(
    task: str = "block", *, hand: str = "gymnasium_robotics", visuals: bool = False, strip: bool = True
) -> Scene:
    """Compile hand and object.

    Args:
        task: key of :data:`TASKS`.
        hand: one of :data:`dactyl_tl.simulation.hand.HANDS`.
        visuals: keep visual meshes, materials, textures and lights. The state layout is the same.
        strip: drop what costs time and hardly changes a trajectory, see
            :func:`~dactyl_tl.simulation.hand.edit_hand`. Off, to test by how much.

    Raises:
        ValueError: unknown task or hand.
    """
    model = scene_spec(task, hand=hand, visuals=visuals, strip=strip).compile()
    _enlarge_object_bounds(model)
    return _index(model)


def scene_spec(
    task: str = "block", *, hand: str = "gymnasium_robotics", visuals: bool = False, strip: bool = True
) -> mujoco.MjSpec:
    """The spec that :func:`build_scene` compiles, for renderers that add to it. Arguments as there."""
    if task not in TASKS:
        raise ValueError(f"Unknown task {task!r}; choose one of {', '.join(TASKS)}.")
    spec = load_hand_spec()
    for name in ("object", "target", "floor0"):
        spec.delete(spec.body(name))
    spec.delete(spec.geom("floor0"))
    if not visuals:
        _remove_visuals(spec)
    edit_hand(spec, hand, locked_wrist=TASKS[task].locked_wrist, strip=strip)
    add_object(spec, TASKS[task].object_name, material="material:object" if visuals else "")
    _add_cameras(spec)
    _set_options(spec, strip=strip)
    return spec


def _remove_visuals(spec: mujoco.MjSpec) -> None:
    for geom in list(spec.geoms):
        if geom.name.startswith(f"{PREFIX}V_"):
            spec.delete(geom)
        else:
            geom.material = ""
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)
    for asset in [*spec.materials, *spec.textures, *spec.lights]:
        spec.delete(asset)


def _add_cameras(spec: mujoco.MjSpec) -> None:
    target = np.asarray(START_POSITION)
    for name, direction in CAMERA_DIRECTIONS.items():
        backward = np.asarray(direction) / np.linalg.norm(direction)
        right = np.cross((0.0, 0.0, 1.0), backward)
        right /= np.linalg.norm(right)
        matrix = np.stack((right, np.cross(backward, right), backward), axis=1)
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, matrix.flatten())
        spec.worldbody.add_camera(
            name=name, pos=target + CAMERA_DISTANCE * backward, quat=quat, fovy=CAMERA_FOV
        )


def _set_options(spec: mujoco.MjSpec, *, strip: bool) -> None:
    spec.option.timestep = PHYSICS_TIMESTEP
    # MuJoCo 4.0.0 has a wrong Hessian factor with a sparse constraint Jacobian (fixed in 4.0.1).
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    if strip:
        # Hand and object are one or two islands: solved together, 5 % faster, the result is the same.
        spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND


def _enlarge_object_bounds(model: mujoco.MjModel) -> None:
    body = model.body(OBJECT_BODY).id
    geoms = np.flatnonzero(model.geom_bodyid == body)
    model.geom_rbound[geoms] *= BOUND_MARGIN
    model.geom_aabb[geoms, 3:] *= BOUND_MARGIN
    first, count = model.body_bvhadr[body], model.body_bvhnum[body]
    model.bvh_aabb[first : first + count, 3:] *= BOUND_MARGIN


def _index(model: mujoco.MjModel) -> Scene:
    joints = [model.joint(f"{PREFIX}{name}") for name in JOINTS]
    object_joint = model.joint(OBJECT_JOINT)
    # The task slices qpos and qvel instead of gathering, so the layout must be this one.
    assert [int(j.qposadr[0]) for j in joints] == list(range(len(JOINTS)))
    assert int(object_joint.qposadr[0]) == len(JOINTS)
    assert [model.actuator(i).name for i in range(model.nu)] == [f"{PREFIX}A_{name}" for name in ACTUATORS]
    object_body = model.body(OBJECT_BODY).id
    first_link, last_link = model.body(f"{PREFIX}wrist").id, object_body
    geom_names = [model.geom(i).name for i in range(model.ngeom)]
    segments = [
        (i, FINGERS.index(name.removeprefix(f"{PREFIX}C_")[:2]))
        for i, name in enumerate(geom_names)
        if name.startswith(f"{PREFIX}C_") and name.endswith(("proximal", "middle", "distal"))
    ]
    return Scene(
        model=model,
        driven=_driven_matrix(),
        fingertip_sites=np.array([model.site(f"marker:{f}").id for f in FINGERS]),
        nail_sites=np.array([model.site(f"nail:{f}").id for f in FINGERS]),
        reference_sites=np.array([model.site(f"reference:{i}").id for i in range(len(REFERENCE_MARKERS))]),
        palm_body=model.body(PALM_BODY).id,
        object_body=object_body,
        link_bodies=np.arange(first_link, last_link),
        object_geoms=np.array([i for i, name in enumerate(geom_names) if name.startswith(GEOM_PREFIX)]),
        finger_geoms=np.array([i for i, _ in segments]),
        finger_of=np.array([finger for _, finger in segments]),
    )


def _driven_matrix() -> np.ndarray:
    driven = np.zeros((len(ACTUATORS), len(JOINTS)))
    for row, name in enumerate(ACTUATORS):
        driven[row, JOINTS.index(name)] = 1.0
        if name in COUPLED:
            driven[row, JOINTS.index(COUPLED[name])] = 1.0
    return driven
