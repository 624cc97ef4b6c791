"""Where the model's fingertip markers are, and how they move with the joints."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dactyl_tl.contract import NUM_FINGERS, NUM_JOINTS
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.scene import build_scene


class FingertipKinematics:
    """Forward kinematics of the five fingertip markers in the hand-base frame.

    Attributes:
        scene: the compiled model.
        reference: (3, 3) m, the forearm's reference markers.
    """

    def __init__(self) -> None:
        self.scene = build_scene()
        self._data = mujoco.MjData(self.scene.model)
        self._bodies = self.scene.model.site_bodyid[self.scene.fingertip_sites]
        mujoco.mj_kinematics(self.scene.model, self._data)
        self.reference = self._data.site_xpos[self.scene.reference_sites] - MOUNT_POSITION

    def positions(self, angles: ArrayLike, offsets: ArrayLike | None = None) -> NDArray[np.float64]:
        """Markers (n, 5, 3), m, at joint angles (n, 24), rad. ``offsets`` as in :meth:`jacobians`."""
        return self.jacobians(angles, offsets, with_joints=False)[0]

    def jacobians(
        self, angles: ArrayLike, offsets: ArrayLike | None = None, *, with_joints: bool = True
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Positions and their exact derivatives.

        Args:
            angles: (n, 24) rad.
            offsets: (5, 3) m, of the markers from their sites, in the distal links' frames.
            with_joints: whether the derivatives by joint angles are needed; else they are empty.

        Returns:
            positions (n, 5, 3) m; derivatives by joint angles (n, 5, 3, 24) m/rad, and by offsets, which
            are the distal links' orientations, (n, 5, 3, 3).
        """
        model, data = self.scene.model, self._data
        values = np.atleast_2d(np.asarray(angles, dtype=np.float64))
        moved = np.zeros((NUM_FINGERS, 3)) if offsets is None else np.asarray(offsets, dtype=np.float64)
        positions = np.empty((len(values), NUM_FINGERS, 3))
        by_joints = np.empty((len(values) if with_joints else 0, NUM_FINGERS, 3, NUM_JOINTS))
        by_offsets = np.empty((len(values), NUM_FINGERS, 3, 3))
        full = np.zeros((3, model.nv))
        for i, pose in enumerate(values):
            data.qpos[:NUM_JOINTS] = pose
            mujoco.mj_kinematics(model, data)
            matrices = data.site_xmat[self.scene.fingertip_sites].reshape(-1, 3, 3)
            world = data.site_xpos[self.scene.fingertip_sites] + (matrices @ moved[:, :, None])[..., 0]
            positions[i], by_offsets[i] = world - MOUNT_POSITION, matrices
            if with_joints:
                mujoco.mj_comPos(model, data)
                for finger in range(NUM_FINGERS):
                    mujoco.mj_jac(model, data, full, None, world[finger], self._bodies[finger])
                    by_joints[i, finger] = full[:, :NUM_JOINTS]
        return positions, by_joints, by_offsets
