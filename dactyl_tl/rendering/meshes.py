"""Meshes with fewer faces: what a camera sees of them at 200 pixels is the same, and drawing is cheaper."""

from __future__ import annotations

import fast_simplification
import mujoco
import numpy as np
from numpy.typing import NDArray

LEAST_FACES = 150
"""Smaller meshes stay as they are."""

PREFIX = "coarse:"
"""Of the names of the meshes with fewer faces."""


def coarsen(spec: mujoco.MjSpec, share: float) -> None:
    """Give every geom whose mesh is read from a file one with about ``share`` of its faces, in place.

    Args:
        spec: The scene's spec.
        share: Of the faces to keep, 0 to 1; 1 changes nothing.

    Raises:
        ValueError: ``share`` is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share!r}; it must be above 0 and at most 1")
    if share == 1:
        return
    model = spec.compile()
    shown = {geom.meshname for geom in spec.geoms if geom.type == mujoco.mjtGeom.mjGEOM_MESH}
    for mesh in [each for each in spec.meshes if each.file and each.name in shown]:
        points, faces = _mesh_of(model, mesh.name)
        if len(faces) <= LEAST_FACES:
            continue
        points, faces, *_ = fast_simplification.simplify(
            points, faces, target_count=max(LEAST_FACES, int(share * len(faces)))
        )
        spec.add_mesh(name=PREFIX + mesh.name, uservert=points.ravel(), userface=faces.ravel())
        for geom in spec.geoms:
            if geom.meshname == mesh.name:
                geom.meshname = PREFIX + mesh.name


def _mesh_of(model: mujoco.MjModel, name: str) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Points (n, 3) as they stand in the mesh's file, after scaling, and faces (m, 3)."""
    mesh = model.mesh(name)
    first, count = mesh.vertadr[0], mesh.vertnum[0]
    turned = np.empty(9)
    mujoco.mju_quat2Mat(turned, model.mesh_quat[mesh.id])
    # MuJoCo moves a mesh to its centre of mass and turns it to its axes of inertia.
    points = model.mesh_vert[first : first + count] @ turned.reshape(3, 3).T + model.mesh_pos[mesh.id]
    first, count = mesh.faceadr[0], mesh.facenum[0]
    return points.astype(np.float32), model.mesh_face[first : first + count].copy()
