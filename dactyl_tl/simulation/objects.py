"""The manipulated objects: collision geoms that scale by ``geom_size`` alone, and their inertia.

Both engines can randomise ``geom_size`` per simulation, but not meshes. So the octagonal prism is
the union of four boxes turned by 45 degrees: each box spans two opposite sides, and the union is
the prism, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType

import mujoco
import numpy as np

OBJECT_BODY = "object"
OBJECT_JOINT = "object:joint"
GEOM_PREFIX = "object:"

START_POSITION = (1.0, 0.87, 0.2)
"""World position an object is dropped from at the start of an episode, m (gymnasium-robotics)."""

DENSITY = 567.0
"""kg/m^3 (gymnasium-robotics' block, 71 g)."""

CONTACT_DIMENSION = 4  # sliding and torsional friction (gymnasium-robotics)
JOINT_DAMPING = 0.01  # of the free joint (gymnasium-robotics)

BLOCK_HALF_SIZE = 0.025
"""Half the block's edge, m (gymnasium-robotics)."""

PRISM_HALF_WIDTH = 0.025
PRISM_HALF_LENGTH = 0.030
"""The octagonal prism, half across flats and half along its axis z, m. The paper gives no size:
as wide as the block, a little longer."""


def _add_block(body: mujoco.MjsBody) -> None:
    half = BLOCK_HALF_SIZE
    body.mass = DENSITY * (2 * half) ** 3
    body.inertia = np.full(3, body.mass * (2 * half) ** 2 / 6)
    _add_box(body, "block", (half, half, half))


def _add_octagonal_prism(body: mujoco.MjsBody) -> None:
    half, length = PRISM_HALF_WIDTH, 2 * PRISM_HALF_LENGTH
    half_side = half * math.tan(math.pi / 8)
    area = 8 * half * half_side
    body.mass = DENSITY * area * length
    # polar moment of area over area of a regular polygon of apothem r and side a: r^2/2 + a^2/24
    polar = half**2 / 2 + (2 * half_side) ** 2 / 24
    transverse = body.mass * (polar / 2 + length**2 / 12)
    body.inertia = np.array([transverse, transverse, body.mass * polar])
    for i in range(4):
        angle = i * math.pi / 4
        _add_box(
            body, f"prism{i}", (half, half_side, PRISM_HALF_LENGTH),
            quat=(math.cos(angle / 2), 0, 0, math.sin(angle / 2)),
        )  # fmt: skip


OBJECTS: MappingProxyType[str, Callable[[mujoco.MjsBody], None]] = MappingProxyType(
    {"block": _add_block, "prism": _add_octagonal_prism}
)
"""Functions that give a body an object's geoms and inertia, by name."""


def add_object(spec: mujoco.MjSpec, name: str, *, material: str = "") -> None:
    """Add the free body :data:`OBJECT_BODY` with the geoms of object ``name``.

    Args:
        spec: the scene's spec.
        name: key of :data:`OBJECTS`.
        material: of the geoms, for rendering.

    Raises:
        ValueError: unknown ``name``.
    """
    if name not in OBJECTS:
        raise ValueError(f"Unknown object {name!r}; choose one of {', '.join(OBJECTS)}.")
    body = spec.worldbody.add_body(name=OBJECT_BODY, pos=START_POSITION, explicitinertial=True)
    body.ipos, body.iquat = (0, 0, 0), (1, 0, 0, 0)  # else MjSpec puts the centre of mass at pos again
    joint = body.add_joint(name=OBJECT_JOINT, type=mujoco.mjtJoint.mjJNT_FREE)
    joint.damping[0] = JOINT_DAMPING
    OBJECTS[name](body)
    for geom in body.geoms:
        geom.material = material


def _add_box(
    body: mujoco.MjsBody, name: str, size: tuple[float, float, float], quat: tuple[float, ...] = (1, 0, 0, 0)
) -> None:
    body.add_geom(
        name=f"{GEOM_PREFIX}{name}", type=mujoco.mjtGeom.mjGEOM_BOX, size=size, quat=quat,
        condim=CONTACT_DIMENSION, mass=0.0,
    )  # fmt: skip
