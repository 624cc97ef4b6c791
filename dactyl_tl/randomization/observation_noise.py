"""Observation noise (Table 7): once an episode (correlated) and at every step (uncorrelated).

Misplaced markers are no additive noise: the fingertip marker's offset turns with the finger, and the
offsets of the three reference markers tilt and shift the hand-base frame that everything is seen in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.contract import NUM_FINGERS
from dactyl_tl.randomization.sampling import normal

NUM_REFERENCE_MARKERS = 3

SQUARINGS = 12
"""Of Horn's matrix, for its 4096th power: neighbouring eigenvalues differ by more than half a percent for
markers that are not nearly in line."""


@dataclass(frozen=True)
class ObservationNoise:
    """Standard deviations of Table 7: (correlated, uncorrelated) where there are two; m and rad."""

    fingertip_positions: tuple[float, float] = (0.001, 0.002)
    object_position: tuple[float, float] = (0.005, 0.001)
    object_orientation: tuple[float, float] = (0.1, 0.1)
    fingertip_markers: float = 0.003
    hand_base_markers: float = 0.001

    def sample(self, n: int, scale: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Values of one episode for ``n`` simulations.

        Returns:
            ``fingertip_positions`` (n, 15) m, ``object_position`` (n, 3) m and ``object_orientation``
            (n, 3) rad, a rotation vector: the correlated noise. ``fingertip_markers`` (n, 5, 3) m in
            the distal links' frames. ``hand_base_markers`` (n, 3, 3) m in the hand-base frame.
            ``observation_noise`` (n, 1): the scale of the uncorrelated noise in this episode.
        """
        g = generator
        return {
            "fingertip_positions": normal((n, 3 * NUM_FINGERS), scale * self.fingertip_positions[0], g),
            "object_position": normal((n, 3), scale * self.object_position[0], g),
            # A rotation vector with this deviation about each axis: the paper gives no distribution.
            "object_orientation": normal((n, 3), scale * self.object_orientation[0], g),
            "fingertip_markers": normal((n, NUM_FINGERS, 3), scale * self.fingertip_markers, g),
            "hand_base_markers": normal((n, NUM_REFERENCE_MARKERS, 3), scale * self.hand_base_markers, g),
            "observation_noise": torch.full((n, 1), scale, device=g.device),
        }

    def noise(self, scale: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Uncorrelated noise of one step.

        Args:
            scale: (n, 1), as sampled.
            generator: of the noise.

        Returns:
            Fingertip positions (n, 15) m, object position (n, 3) m, object orientation (n, 3) rad.
        """
        n = len(scale)
        return (
            scale * normal((n, 3 * NUM_FINGERS), self.fingertip_positions[1], generator),
            scale * normal((n, 3), self.object_position[1], generator),
            scale * normal((n, 3), self.object_orientation[1], generator),
        )


def _horn_matrix(covariance: Tensor) -> Tensor:
    """Horn's 4 x 4 matrix of a covariance (..., 3, 3) of norm 1, shifted to be positive: (..., 4, 4)."""
    c = covariance
    trace = c.diagonal(dim1=-2, dim2=-1).sum(-1)
    skew = torch.stack(
        (c[..., 2, 1] - c[..., 1, 2], c[..., 0, 2] - c[..., 2, 0], c[..., 1, 0] - c[..., 0, 1]), dim=-1
    )
    identity = torch.eye(4, dtype=c.dtype, device=c.device)
    symmetric = c + c.mT - trace[..., None, None] * identity[:3, :3]
    top = torch.cat((trace[..., None], skew), dim=-1)[..., None, :]
    bottom = torch.cat((skew[..., None], symmetric), dim=-1)
    # No eigenvalue lies below -2: the sum of the covariance's singular values is at most sqrt(3).
    return torch.cat((top, bottom), dim=-2) + 2.0 * identity


def fit_frame(layout: Tensor, measured: Tensor) -> tuple[Tensor, Tensor]:
    """The frame whose markers lie where they are measured, by least squares.

    Horn's (1987) quaternion: the eigenvector of the largest eigenvalue of a symmetric matrix. It is found by
    squaring the matrix until the others have vanished; a GPU's eigenvalue routines would wait for the host.

    Args:
        layout: (k, 3) marker positions in the frame, m.
        measured: (n, k, 3) measured positions, m.

    Returns:
        Orientation (n, 4) and origin (n, 3) of the frame: ``measured = rotate(q, layout) + origin``.
    """
    layout_centre, measured_centre = layout.mean(dim=-2), measured.mean(dim=-2)
    covariance = (measured - measured_centre[..., None, :]).mT @ (layout - layout_centre)
    power = _horn_matrix(covariance / torch.linalg.matrix_norm(covariance)[..., None, None])
    for _ in range(SQUARINGS):
        power = power @ power
        power = power / torch.linalg.matrix_norm(power)[..., None, None]
    # A multiple of the outer product of the quaternion with itself: any column will do but a small one.
    column = power.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    index = column[..., None, None].expand(*column.shape, 4, 1)
    quaternion = rotations.canonical(rotations.normalize(power.gather(-1, index)[..., 0]))
    return quaternion, measured_centre - rotations.rotate(
        quaternion, layout_centre.expand_as(measured_centre)
    )
