"""The scene: hand and object compiled into one MjModel, and the indices that the task needs."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import mujoco
import numpy as np

from dactyl_tl.contract import ACTUATORS, COUPLED, FINGERS, JOINTS, PHYSICS_TIMESTEP
from dactyl_tl.simulation.hand import PALM_BODY, PREFIX, REFERENCE_MARKERS, edit_hand, load_hand_spec
from dactyl_tl.simulation.objects import GEOM_PREFIX, OBJECT_BODY, OBJECT_JOINT, START_POSITION, add_object

TASKS = MappingProxyType(
    {
        "block": {"object_name": "block", "locked_wrist": False},
        "prism": {"object_name": "prism", "locked_wrist": False},
        "block_locked_wrist": {"object_name": "block", "locked_wrist": True},
    }
)
"""What each task's scene holds (Table 3)."""

CAMERA_DISTANCE = 0.5
"""Metres from the object's start to each camera (Section B.3)."""

CAMERA_FOV = 45.0
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
    object_name: str = "block",
    *,
    hand: str = "gymnasium_robotics",
    locked_wrist: bool = False,
    visuals: bool = False,
    strip: bool = True,
) -> Scene:
    """Compile hand and object.

    Args:
        object_name: key of :data:`dactyl_tl.simulation.objects.OBJECTS`.
        hand: one of :data:`dactyl_tl.simulation.hand.HANDS`.
        locked_wrist: hold the wrist's pitch joint at zero.
        visuals: keep visual meshes, materials, textures and lights. The state layout is the same.
        strip: drop what costs time and hardly changes a trajectory, see
            :func:`~dactyl_tl.simulation.hand.edit_hand`. Off, to test by how much.

    Raises:
        ValueError: unknown object or hand.
    """
    spec = scene_spec(object_name, hand=hand, locked_wrist=locked_wrist, visuals=visuals, strip=strip)
    model = spec.compile()
    _enlarge_object_bounds(model)
    return _index(model)


def scene_spec(
    object_name: str = "block",
    *,
    hand: str = "gymnasium_robotics",
    locked_wrist: bool = False,
    visuals: bool = False,
    strip: bool = True,
) -> mujoco.MjSpec:
    """The spec that :func:`build_scene` compiles, for renderers that add to it. Arguments as there."""
    spec = load_hand_spec()
    for name in ("object", "target", "floor0"):
        spec.delete(spec.body(name))
    spec.delete(spec.geom("floor0"))
    if not visuals:
        _remove_visuals(spec)
    edit_hand(spec, hand, locked_wrist=locked_wrist, strip=strip)
    add_object(spec, object_name, material="material:object" if visuals else "")
    _add_cameras(spec)
    _set_options(spec)
    return spec


def build_task_scene(task: str, *, hand: str = "gymnasium_robotics", visuals: bool = False) -> Scene:
    """The scene of a task of :data:`TASKS`.

    Raises:
        ValueError: unknown task or hand.
    """
    if task not in TASKS:
        raise ValueError(f"Unknown task {task!r}; choose one of {', '.join(TASKS)}.")
    return build_scene(**TASKS[task], hand=hand, visuals=visuals)


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


def _set_options(spec: mujoco.MjSpec) -> None:
    spec.option.timestep = PHYSICS_TIMESTEP
    # MuJoCo 4.0.0 has a wrong Hessian factor with a sparse constraint Jacobian (fixed in 4.0.1).
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE


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
