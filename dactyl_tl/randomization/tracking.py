"""Motion-capture errors (App. C.2): markers that drop out for a while, and markers hidden by contact.

A lost marker repeats its last reading.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dactyl_tl.contract import NUM_FINGERS
from dactyl_tl.randomization.sampling import bernoulli

PROJECTIONS = 4
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
    """Which boxes of two sets touch, by the separating-axis theorem.

    Args:
        centre_a, axes_a, half_a: centres (n, a, 3) m, rotation matrices (n, a, 3, 3) with the boxes'
            axes in their columns, and half-sizes, broadcast to (n, a, 3), m.
        centre_b, axes_b, half_b: likewise (n, b, ...).

    Returns:
        (n, a, b) bool.
    """
    n, a, b = len(centre_a), centre_a.shape[1], centre_b.shape[1]
    half_a, half_b = half_a.expand(n, a, 3)[:, :, None], half_b.expand(n, b, 3)[:, None]
    offset = (centre_b[:, None] - centre_a[:, :, None]) @ axes_a  # (n, a, b, 3), in the axes of a
    side_by_side = axes_b.transpose(1, 2).reshape(n, 1, 3, 3 * b)
    relative = (axes_a.mT @ side_by_side).view(n, a, 3, b, 3).transpose(2, 3)  # (n, a, b, 3, 3)
    absolute = relative.abs() + 1e-6  # parallel edges give null cross products: never a false separation
    a_faces = offset.abs() <= half_a + (absolute * half_b[..., None, :]).sum(-1)
    along_b = (relative * offset[..., None]).sum(-2)
    b_faces = along_b.abs() <= half_b + (absolute * half_a[..., None]).sum(-2)
    # The products of each pair of axes, with the two other axes in cyclic order.
    edges = offset.roll(1, -1)[..., None] * relative.roll(-1, -2) - offset.roll(-1, -1)[
        ..., None
    ] * relative.roll(1, -2)
    reach_a = half_a.roll(-1, -1)[..., None] * absolute.roll(1, -2) + half_a.roll(1, -1)[
        ..., None
    ] * absolute.roll(-1, -2)
    reach_b = half_b.roll(-1, -1)[..., None, :] * absolute.roll(1, -1) + half_b.roll(1, -1)[
        ..., None, :
    ] * absolute.roll(-1, -1)
    edges_meet = edges.abs() <= reach_a + reach_b
    return (a_faces & b_faces & edges_meet.all(dim=-2)).all(dim=-1)


def boxes_meet_capsules(
    centre: Tensor, axes: Tensor, half: Tensor, middle: Tensor, half_axis: Tensor, radius: Tensor
) -> Tensor:
    """Which capsules touch the box that each set of them belongs to.

    Args:
        centre, axes, half: boxes (n, a, 3), (n, a, 3, 3) and (a, 3), m, as in :func:`boxes_overlap`.
        middle, half_axis: (n, a, k, 3) m, the capsules' middles and the vectors from there to the ends
            of their axes.
        radius: (a, k) m.

    Returns:
        (n, a, k) bool.
    """
    start = (middle - centre[:, :, None]) @ axes
    along = half_axis @ axes
    half = half[:, None]
    scaled = along / (along * along).sum(dim=-1, keepdim=True)
    t = torch.zeros_like(scaled[..., :1])
    for _ in range(PROJECTIONS):
        on_box = torch.clamp(start + t * along, -half, half)
        t = ((on_box - start) * scaled).sum(dim=-1, keepdim=True).clamp_(-1.0, 1.0)
    point = start + t * along
    beyond = (point.abs() - half).clamp_(min=0.0)
    return (beyond * beyond).sum(dim=-1) <= radius * radius
