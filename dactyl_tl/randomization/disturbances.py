"""Random forces on the object (App. C.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dactyl_tl.randomization.sampling import Interval, bernoulli, loguniform, normal


@dataclass(frozen=True)
class RandomForces:
    """A force that strikes now and then, and fades."""

    probability: Interval = (0.001, 0.1)
    """Range of the per-episode probability of a new force at a control step (loguniform)."""
    acceleration: float = 1.0
    """Standard deviation of each coordinate, per mass of the object, m/s^2."""
    decay: float = 0.99
    """Factor on the force at each control step."""

    def sample(self, n: int, scale: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Values of one episode: ``force_probability`` (n, 1) and ``force_scale`` (n, 1)."""
        return {
            "force_probability": loguniform((n, 1), self.probability, generator),
            "force_scale": torch.full((n, 1), scale, device=generator.device),
        }

    def advance(
        self, force: Tensor, mass: Tensor, probability: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The force of the next control step.

        Args:
            force: (n, 3) N, of the last one.
            mass: (n, 1) kg, the object's.
            probability, scale: (n, 1), as sampled.
            generator: of the forces.

        Returns:
            (n, 3) N in the world frame: a new force where one strikes, else the faded old one.
        """
        n = len(force)
        new = scale * mass * normal((n, 3), self.acceleration, generator)
        return torch.where(bernoulli((n, 1), probability, generator), new, self.decay * force)
