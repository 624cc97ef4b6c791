"""What differs from episode to episode, grouped as in the paper's ablations (Table 4).

=====================  ==========================================================================
``physics``            Table 1: :mod:`~dactyl_tl.randomization.physics`
``observation_noise``  Table 7: :mod:`~dactyl_tl.randomization.observation_noise`
``unmodeled``          :mod:`~dactyl_tl.randomization.actuation` (Table 8, delay, backlash, timing),
                       :mod:`~dactyl_tl.randomization.tracking` (marker dropout and occlusion),
                       :mod:`~dactyl_tl.randomization.disturbances` (random forces)
=====================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

import torch
from torch import Tensor

from dactyl_tl.randomization.actuation import ActuationRandomization
from dactyl_tl.randomization.disturbances import RandomForces
from dactyl_tl.randomization.observation_noise import ObservationNoise
from dactyl_tl.randomization.physics import PhysicsRandomization
from dactyl_tl.randomization.tracking import MarkerLoss


@dataclass(frozen=True)
class Randomization:
    """Which groups are on, as a share of the paper's ranges: 1 is the paper, 0 is off."""

    physics: float = 1.0
    observation_noise: float = 1.0
    unmodeled: float = 1.0

    def __post_init__(self) -> None:
        for group in fields(self):
            value = getattr(self, group.name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"randomization.{group.name} must lie in [0, 1], not {value!r}.")


RANDOMIZATIONS = MappingProxyType(
    {
        "all": Randomization(),
        "none": Randomization(physics=0.0, observation_noise=0.0, unmodeled=0.0),
        "no_observation_noise": Randomization(observation_noise=0.0),
        "no_physics": Randomization(physics=0.0),
        "no_unmodeled": Randomization(unmodeled=0.0),
    }
)
"""The training environments of Table 4, by name."""


def resolve_randomization(value: str | Mapping[str, float] | Randomization) -> Randomization:
    """A :class:`Randomization` from a name of :data:`RANDOMIZATIONS` or a mapping of its fields.

    Raises:
        ValueError: unknown name or group, or a share outside [0, 1].
    """
    if isinstance(value, Randomization):
        return value
    if isinstance(value, str):
        if value not in RANDOMIZATIONS:
            raise ValueError(f"Unknown randomization {value!r}; choose one of {', '.join(RANDOMIZATIONS)}.")
        return RANDOMIZATIONS[value]
    known = [group.name for group in fields(Randomization)]
    for name in value:
        if name not in known:
            raise ValueError(f"Unknown randomization group {name!r}; choose from {', '.join(known)}.")
    return Randomization(**{name: float(share) for name, share in value.items()})


@dataclass(frozen=True)
class EpisodeSampler:
    """Samples every value that is held for an episode."""

    groups: Randomization
    num_links: int
    physics: PhysicsRandomization = field(default_factory=PhysicsRandomization)
    observation_noise: ObservationNoise = field(default_factory=ObservationNoise)
    actuation: ActuationRandomization = field(default_factory=ActuationRandomization)
    tracking: MarkerLoss = field(default_factory=MarkerLoss)
    forces: RandomForces = field(default_factory=RandomForces)

    def sample(self, n: int, scale: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Values of one episode for ``n`` simulations, each (n, ...), by name.

        Args:
            n: number of simulations.
            scale: in [0, 1], on top of the groups' shares (a curriculum).
            generator: of all draws.
        """
        groups = self.groups
        return {
            **self.physics.sample(n, self.num_links, scale * groups.physics, generator),
            **self.observation_noise.sample(n, scale * groups.observation_noise, generator),
            **self.actuation.sample(n, scale * groups.unmodeled, generator),
            **self.tracking.sample(n, scale * groups.unmodeled, generator),
            **self.forces.sample(n, scale * groups.unmodeled, generator),
        }
