"""Goal orientations, in simulation and on the hand: which are asked for, and when one is achieved."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dactyl_tl import rotations

GOAL_KINDS = ("uniform", "parallel", "within_angle")


@dataclass(frozen=True)
class GoalConfig:
    """Which orientations are asked for, and when a goal or an episode is over (App. C.1)."""

    kind: str = "uniform"
    """``uniform`` over SO(3); ``parallel``: one of the 24 orientations with axis-aligned faces, turned
    by any angle about the vertical; ``within_angle`` of the object's present orientation."""
    angle: tuple[float, float] = (0.0, math.pi)
    """Range of the rotation from the present orientation, rad (``within_angle`` only)."""
    tolerance: float = 0.4
    """A goal is achieved below this distance, rad."""
    timeout: float = 8.0
    """Seconds to achieve a goal; 80 in evaluation trials (Section 6.2)."""
    maximum: int = 50
    """Goals after which an episode ends."""

    def __post_init__(self) -> None:
        if self.kind not in GOAL_KINDS:
            raise ValueError(f"Unknown goals.kind {self.kind!r}; choose one of {', '.join(GOAL_KINDS)}.")
        low, high = self.angle
        if not 0.0 <= low <= high <= math.pi + 1e-3:  # pi as it is typed: 3.142
            raise ValueError(f"goals.angle must satisfy 0 <= low <= high <= pi, not {self.angle!r}.")
        for name in ("tolerance", "timeout", "maximum"):
            if not getattr(self, name) > 0:
                raise ValueError(f"goals.{name} must be positive, not {getattr(self, name)!r}.")


def sample_goals(
    kind: str, present: Tensor, angle: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Draw a goal orientation for each simulation.

    Args:
        kind: one of :data:`GOAL_KINDS`.
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
        turn = _uniform((n,), (-math.pi, math.pi), generator)
        goals = rotations.multiply(rotations.about_vertical(turn), aligned[index])
    else:
        turn = _uniform((n, 1), angle, generator)
        step = rotations.from_rotation_vector(turn * rotations.uniform_axis((n,), generator))
        goals = rotations.multiply(step, present)
    return rotations.canonical(goals)


def _uniform(shape: tuple[int, ...], interval: tuple[float, float], generator: torch.Generator) -> Tensor:
    low, high = interval
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)
