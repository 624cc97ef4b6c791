"""Constants that follow from masses and inertias, for many simulations at once.

What ``mj_setConst`` computes for one model. MuJoCo Warp's ``set_const`` takes six hundred kernel launches
for it, far more than a reset should cost. At the model's reference pose the mass matrix is linear in the
bodies' masses and inertias, and every constant is linear in its inverse: a few matrix products.
"""

from __future__ import annotations

import mujoco
import numpy as np
import torch
from torch import Tensor

DERIVED = ("dof_invweight0", "body_invweight0", "tendon_invweight0", "body_subtreemass")
"""Model fields that :class:`MassConstants` computes."""


class MassConstants:
    """Inverse weights and subtree masses of N variants of ``model``.

    Args:
        model: whose geometry, armature and reference pose all variants share.
        device: of the results.
    """

    def __init__(self, model: mujoco.MjModel, device: torch.device) -> None:
        def there(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        nv = model.nv
        translations, rotations = (_squares(jacobian) for jacobian in _jacobians(model))
        basis = np.concatenate((translations.sum(1), rotations.reshape(-1, nv, nv)))
        means = np.stack((translations.mean(1), rotations.mean(1)), axis=1)
        means[model.body_weldid == 0] = 0.0  # what is fixed to the world
        tendons = _squares(_tendon_jacobian(model))
        self._nv = nv
        self._armature = there(np.diag(model.dof_armature))
        self._basis = there(basis.reshape(-1, nv * nv))
        self._bodies = there(means.reshape(-1, nv * nv).T)
        self._tendons = there(tendons.reshape(-1, nv * nv).T)
        self._averages = there(_joint_averages(model))
        self._subtrees = there(_subtrees(model))
        self._identity = there(np.eye(nv))

    def __call__(self, mass: Tensor, inertia: Tensor) -> dict[str, Tensor]:
        """The constants, by the name of their model field.

        Args:
            mass: (N, nbody) kg.
            inertia: (N, nbody, 3) kg m^2.

        Returns:
            float32: ``dof_invweight0`` (N, nv), ``body_invweight0`` (N, nbody, 2),
            ``tendon_invweight0`` (N, ntendon), ``body_subtreemass`` (N, nbody).
        """
        n = len(mass)
        # In double precision: between a fingertip and the whole hand lie five orders of magnitude.
        factors = torch.cat((mass, inertia.flatten(1)), dim=1).double()
        matrix = (factors @ self._basis).view(n, self._nv, self._nv) + self._armature
        # The variants that check for errors would wait for the device.
        lower, _ = torch.linalg.cholesky_ex(matrix, check_errors=False)
        root = torch.linalg.solve_triangular(lower, self._identity.expand_as(lower), upper=False)
        inverse = root.mT @ root
        flat = inverse.flatten(1)
        return {
            "dof_invweight0": (inverse.diagonal(dim1=1, dim2=2) @ self._averages).float(),
            "body_invweight0": (flat @ self._bodies).view(n, -1, 2).float(),
            "tendon_invweight0": (flat @ self._tendons).float(),
            "body_subtreemass": (factors[:, : mass.shape[1]] @ self._subtrees).float(),
        }


def _squares(rows: np.ndarray) -> np.ndarray:
    """The outer product of every row (..., nv) with itself: (..., nv, nv)."""
    return rows[..., :, None] * rows[..., None, :]


def _jacobians(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """Of every body's centre of mass, and of its turning about its principal axes: (nbody, 3, nv)."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    translations, rotations = np.zeros((2, model.nbody, 3, model.nv))
    for body in range(model.nbody):
        mujoco.mj_jacBodyCom(model, data, translations[body], rotations[body], body)
        rotations[body] = data.ximat[body].reshape(3, 3).T @ rotations[body]
    return translations, rotations


def _tendon_jacobian(model: mujoco.MjModel) -> np.ndarray:
    """(ntendon, nv)."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    jacobian = np.zeros((model.ntendon, model.nv))
    for tendon in range(model.ntendon):
        start, count = model.ten_J_rowadr[tendon], model.ten_J_rownnz[tendon]
        columns = model.ten_J_colind[start : start + count]
        jacobian[tendon, columns] = np.ravel(data.ten_J)[start : start + count]
    return jacobian


def _joint_averages(model: mujoco.MjModel) -> np.ndarray:
    """(nv, nv): averages over the three translations, and the three rotations, of a free joint."""
    averages = np.eye(model.nv)
    for kind, start in zip(model.jnt_type, model.jnt_dofadr, strict=True):
        offsets = {mujoco.mjtJoint.mjJNT_FREE: (0, 3), mujoco.mjtJoint.mjJNT_BALL: (0,)}
        for offset in offsets.get(mujoco.mjtJoint(kind), ()):
            axes = slice(start + offset, start + offset + 3)
            averages[axes, axes] = 1.0 / 3.0
    return averages


def _subtrees(model: mujoco.MjModel) -> np.ndarray:
    """(nbody, nbody): 1 where the row's body belongs to the subtree of the column's."""
    member = np.eye(model.nbody)
    for body in range(model.nbody - 1, 0, -1):
        member[:, model.body_parentid[body]] += member[:, body]
    return member
