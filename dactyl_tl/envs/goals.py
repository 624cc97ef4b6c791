"""Goal orientations."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.randomization.sampling import uniform


def sample_goals(
    kind: str, present: Tensor, angle: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Draw a goal orientation for each simulation.

    Args:
        kind: one of :data:`dactyl_tl.envs.config.GOAL_KINDS`.
        present: (n, 4) the objects' orientations.
        angle: range of the rotation from there, rad, for ``within_angle``.
        generator: of the draws.

    Returns:
        (n, 4) canonical quaternions.
    """
    n = len(present)
    if kind == "uniform":
        goals = rotations.uniform((n,), generator)
    elif kind == "parallel":
        aligned = rotations.parallel(generator.device)
        index = torch.randint(len(aligned), (n,), generator=generator, device=generator.device)
        turn = uniform((n,), (-math.pi, math.pi), generator)
        goals = rotations.multiply(rotations.about_vertical(turn), aligned[index])
    else:
        turn = uniform((n, 1), angle, generator)
        step = rotations.from_rotation_vector(turn * rotations.uniform_axis((n,), generator))
        goals = rotations.multiply(step, present)
    return rotations.canonical(goals)
