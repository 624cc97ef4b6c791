"""Poses of the object: where they come from, and other poses near those that a policy meets (App. D.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.contract import NUM_JOINTS
from dactyl_tl.simulation.hand import MOUNT_POSITION

OBJECT_POSITION = slice(NUM_JOINTS, NUM_JOINTS + 3)
OBJECT_ORIENTATION = slice(NUM_JOINTS + 3, NUM_JOINTS + 7)
"""Of ``qpos``."""


@dataclass(frozen=True)
class PoseAugmentation:
    """What becomes of a state's object before pictures are taken (App. D.2).

    Args:
        rotated: share of states whose object is turned by a quarter about one of its main axes.
        jittered: share of states whose object is moved and turned a little; the rest stay as they are.
        position: standard deviation of that move along each axis, m. The paper gives none.
        rotation: standard deviation of that turn about each axis, rad. The paper gives none.
    """

    rotated: float = 0.4
    jittered: float = 0.4
    position: float = 0.01
    rotation: float = 0.2

    def __post_init__(self) -> None:
        if min(self.rotated, self.jittered) < 0 or self.rotated + self.jittered > 1:
            raise ValueError(
                f"poses.rotated is {self.rotated!r} and poses.jittered {self.jittered!r}; they must be "
                "shares that sum to at most 1"
            )
        for name in ("position", "rotation"):
            if getattr(self, name) < 0:
                raise ValueError(f"poses.{name} is {getattr(self, name)!r}; it must be at least 0")

    def __call__(self, qpos: Tensor, generator: torch.Generator) -> Tensor:
        """States (n, 31) with other poses of the object."""
        n = len(qpos)
        kind = torch.rand(n, 1, generator=generator)
        position, orientation = qpos[:, OBJECT_POSITION], qpos[:, OBJECT_ORIENTATION]
        turned = rotations.multiply(orientation, _quarter_turns(n, generator))
        moved = position + self.position * torch.randn(n, 3, generator=generator)
        shaken = rotations.multiply(
            rotations.from_rotation_vector(self.rotation * torch.randn(n, 3, generator=generator)),
            orientation,
        )
        rotated, jittered = kind < self.rotated, kind >= 1 - self.jittered
        qpos = qpos.clone()
        qpos[:, OBJECT_POSITION] = torch.where(jittered, moved, position)
        qpos[:, OBJECT_ORIENTATION] = torch.where(rotated, turned, torch.where(jittered, shaken, orientation))
        return qpos


def _quarter_turns(n: int, generator: torch.Generator) -> Tensor:
    """Turns by 90 degrees about a main axis of the object, either way: (n, 4)."""
    axis = torch.randint(3, (n,), generator=generator)
    sign = 2.0 * torch.randint(2, (n,), generator=generator) - 1.0
    vector = torch.zeros(n, 3)
    vector[torch.arange(n), axis] = sign * math.pi / 2
    return rotations.from_rotation_vector(vector)


def object_pose(qpos: Tensor) -> tuple[Tensor, Tensor]:
    """The object's position (n, 3) m and canonical orientation (n, 4), both in the hand-base frame."""
    position = qpos[:, OBJECT_POSITION] - torch.tensor(MOUNT_POSITION)
    return position, rotations.canonical(rotations.normalize(qpos[:, OBJECT_ORIENTATION]))
