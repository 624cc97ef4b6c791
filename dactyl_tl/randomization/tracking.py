"""Motion-capture errors (App. C.2): markers that drop out for a while, and markers hidden by contact.

A lost marker repeats its last reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dactyl_tl.contract import NUM_FINGERS
from dactyl_tl.randomization.sampling import bernoulli

PROJECTIONS = 6
"""Alternating projections between a nail's box and a capsule's axis: converged to 0.1 mm at these sizes."""


@dataclass(frozen=True)
class MarkerLoss:
    """Dropout and occlusion of fingertip markers."""

    dropout_rate: float = 0.2
    """Probability that a marker drops out within a second."""

    dropout_duration: float = 1.0
    """Seconds that it stays away."""

    occlusion: bool = True
    """Whether contact of another finger or the object with the nail's box hides its marker."""

    def sample(self, n: int, scale: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Values of one episode: ``marker_dropout_rate`` (n, 1) 1/s, ``marker_occlusion`` (n, 1) bool."""
        occlusion = bernoulli((n, 1), scale if self.occlusion else 0.0, generator)
        rate = torch.full((n, 1), scale * self.dropout_rate, device=generator.device)
        return {"marker_dropout_rate": rate, "marker_occlusion": occlusion}

    def drop(self, remaining: Tensor, rate: Tensor, elapsed: Tensor, generator: torch.Generator) -> Tensor:
        """Advance the time that each marker stays dropped.

        Args:
            remaining: (n, 5) seconds that each marker has yet to stay away.
            rate: (n, 1) probability of a dropout within a second.
            elapsed: (n, 1) seconds since the last call.
            generator: of the dropouts.

        Returns:
            The new ``remaining``; a marker is lost while it is positive.
        """
        probability = 1.0 - (1.0 - rate) ** elapsed
        drops = bernoulli((len(remaining), NUM_FINGERS), probability, generator)
        return torch.where(drops, self.dropout_duration, (remaining - elapsed).clamp(min=0.0))


def boxes_overlap(
    centre_a: Tensor, axes_a: Tensor, half_a: Tensor, centre_b: Tensor, axes_b: Tensor, half_b: Tensor
) -> Tensor:
    """Whether oriented boxes touch, by the separating-axis theorem. All arguments broadcast.

    Args:
        centre_a, centre_b: (..., 3) m.
        axes_a, axes_b: (..., 3, 3) rotation matrices, the boxes' axes in their columns.
        half_a, half_b: (..., 3) half-sizes, m.

    Returns:
        (...) bool.
    """
    relative = axes_a.mT @ axes_b
    offset = (axes_a.mT @ (centre_b - centre_a)[..., None])[..., 0]
    absolute = relative.abs() + 1e-6  # parallel edges give null cross products: never a false separation
    a_faces = offset.abs() <= half_a + (absolute @ half_b[..., None])[..., 0]
    along_b = (relative.mT @ offset[..., None])[..., 0]
    b_faces = along_b.abs() <= half_b + (absolute.mT @ half_a[..., None])[..., 0]
    following, last = [1, 2, 0], [2, 0, 1]
    edges = (
        offset[..., last, None] * relative[..., following, :]
        - offset[..., following, None] * relative[..., last, :]
    )
    reach_a = (
        half_a[..., following, None] * absolute[..., last, :]
        + half_a[..., last, None] * absolute[..., following, :]
    )
    reach_b = (
        half_b[..., None, following] * absolute[..., last] + half_b[..., None, last] * absolute[..., following]
    )
    edges_meet = edges.abs() <= reach_a + reach_b
    return a_faces.all(dim=-1) & b_faces.all(dim=-1) & edges_meet.flatten(-2).all(dim=-1)


def box_meets_capsule(
    centre: Tensor, axes: Tensor, half: Tensor, middle: Tensor, half_axis: Tensor, radius: Tensor
) -> Tensor:
    """Whether oriented boxes touch capsules. All arguments broadcast.

    Args:
        centre, axes, half: box centre (..., 3), rotation matrix (..., 3, 3) and half-sizes (..., 3), m.
        middle, half_axis: the capsule's middle and the vector from there to the end of its axis (..., 3), m.
        radius: (...) m.

    Returns:
        (...) bool.
    """
    start = (axes.mT @ (middle - centre)[..., None])[..., 0]
    along = (axes.mT @ half_axis[..., None])[..., 0]
    squared_length = (along * along).sum(dim=-1, keepdim=True)
    t = torch.zeros_like(squared_length)
    for _ in range(PROJECTIONS):
        on_box = torch.clamp(start + t * along, -half, half)
        t = (((on_box - start) * along).sum(dim=-1, keepdim=True) / squared_length).clamp(-1.0, 1.0)
    point = start + t * along
    return (point - torch.clamp(point, -half, half)).norm(dim=-1) <= radius
