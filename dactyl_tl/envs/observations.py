"""What the networks see (Table 2): noiseless values for the value network, measured ones for the policy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.contract import CONTROL_PERIOD, NUM_FINGERS, NUM_JOINTS
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.physics import Physics
from dactyl_tl.simulation.scene import Scene


@dataclass(frozen=True)
class HandState:
    """Noiseless state in the hand-base frame: parallel to the world's, its origin at the hand's mount.

    Attributes:
        joint_angles, joint_velocities: (n, 24) rad, rad/s.
        fingertips: (n, 5, 3) m, of the markers; ``fingertip_axes`` (n, 5, 3, 3) of the distal links.
        object_position, object_velocity: (n, 3) m, m/s.
        object_orientation: (n, 4).
        object_angular_velocity: (n, 3) rad/s.
        clearance: (n, 1) m, height of the object's centre above the palm's.
    """

    joint_angles: Tensor
    joint_velocities: Tensor
    fingertips: Tensor
    fingertip_axes: Tensor
    object_position: Tensor
    object_orientation: Tensor
    object_velocity: Tensor
    object_angular_velocity: Tensor
    clearance: Tensor


class StateReader:
    """Reads the noiseless state of every simulation."""

    def __init__(self, scene: Scene, physics: Physics) -> None:
        device = physics.qpos.device
        self._physics = physics
        self._palm = scene.palm_body
        self._mount = torch.tensor(MOUNT_POSITION, device=device)
        self._fingertips = torch.from_numpy(scene.fingertip_sites).to(device)

    def __call__(self) -> HandState:
        """The present state, float32; in part views of the engine's memory, to use before the next step."""
        physics, mount = self._physics, self._mount
        qpos, qvel = physics.qpos.float(), physics.qvel.float()
        object_qpos, object_qvel = qpos[:, NUM_JOINTS:], qvel[:, NUM_JOINTS:]
        orientation = rotations.canonical(rotations.normalize(object_qpos[:, 3:]))
        return HandState(
            joint_angles=qpos[:, :NUM_JOINTS],
            joint_velocities=qvel[:, :NUM_JOINTS],
            fingertips=physics.site_xpos[:, self._fingertips].float() - mount,
            fingertip_axes=physics.site_xmat[:, self._fingertips].float().unflatten(-1, (3, 3)),
            object_position=object_qpos[:, :3] - mount,
            object_orientation=orientation,
            object_velocity=object_qvel[:, :3],
            # MuJoCo gives a free joint's angular velocity in the body's frame.
            object_angular_velocity=rotations.rotate(orientation, object_qvel[:, 3:]),
            clearance=object_qpos[:, 2:3] - physics.xpos[:, self._palm, 2:].float(),
        )


def relative_orientation(target: Tensor, present: Tensor) -> Tensor:
    """The rotation that takes ``present`` (n, 4) to ``target`` (n, 4), canonical."""
    return rotations.canonical(rotations.multiply(target, rotations.conjugate(present)))


def privileged_observation(state: HandState, goal: Tensor) -> dict[str, Tensor]:
    """The value network's inputs: name -> (n, size) of :data:`dactyl_tl.contract.OBSERVATION_SIZES`."""
    turn = rotations.from_rotation_vector(CONTROL_PERIOD * state.object_angular_velocity)
    return {
        "fingertip_positions": state.fingertips.flatten(1),
        "object_position": state.object_position,
        "object_orientation": state.object_orientation,
        "target_orientation": goal,
        "relative_target_orientation": relative_orientation(goal, state.object_orientation),
        "joint_angles": state.joint_angles,
        "joint_velocities": state.joint_velocities,
        "object_velocity": state.object_velocity,
        "object_angular_velocity": turn,
    }


@dataclass(frozen=True)
class Measurement:
    """What motion capture reports: fingertips (n, 15), position (n, 3) m and orientation (n, 4)."""

    fingertips: Tensor
    object_position: Tensor
    object_orientation: Tensor


def measure(
    state: HandState, marker_offsets: Tensor, frame_orientation: Tensor, frame_origin: Tensor
) -> Measurement:
    """What markers that sit a little wrong show, seen in the hand-base frame that they define.

    Args:
        state: noiseless.
        marker_offsets: (n, 5, 3) m in the distal links' frames.
        frame_orientation, frame_origin: (n, 4), (n, 3) m: the frame fitted to the reference markers.
    """
    markers = state.fingertips + (state.fingertip_axes @ marker_offsets[..., None])[..., 0]
    inverse = rotations.conjugate(frame_orientation)
    per_finger = inverse[:, None].expand(-1, NUM_FINGERS, -1)
    return Measurement(
        fingertips=rotations.rotate(per_finger, markers - frame_origin[:, None]).flatten(1),
        object_position=rotations.rotate(inverse, state.object_position - frame_origin),
        object_orientation=rotations.multiply(inverse, state.object_orientation),
    )
