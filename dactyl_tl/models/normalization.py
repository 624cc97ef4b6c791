"""Running normalisation of observations and value targets (App. D.1).

Statistics cover all data seen so far. They change only in :meth:`RunningStatistics.update`, which
the learner calls once a rollout; while acting and within an update they are frozen. They are
buffers, so they travel with the weights to collectors, checkpoints and bundles.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dactyl_tl.ranks import of_all_ranks

VARIANCE_FLOOR = 1e-8
"""Added to a variance before the square root, so that an input that never changes stays finite."""


class RunningStatistics(nn.Module):
    """Count, mean and sum of squared deviations over everything passed to :meth:`update`.

    Kept in float64: after 1e10 frames a float32 count no longer counts. Before any data the mean is
    0 and the standard deviation 1. The merge is that of Chan, Golub and LeVeque (1979), which
    equals the statistics of the concatenated data and does not depend on how it was split.

    Args:
        size: number of coordinates, kept apart from each other.
    """

    count: Tensor
    mean: Tensor
    m2: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("m2", torch.zeros(size, dtype=torch.float64))

    @torch.no_grad()
    def update(self, data: Tensor) -> None:
        """Take in ``data`` of shape ``[..., size]``, that of all ranks where processes train together.

        Raises:
            ValueError: the last dimension is not ``size``, there is no data, or some is not finite.
        """
        if data.shape[-1] != self.size:
            raise ValueError(f"statistics over {self.size} coordinates got data of shape {tuple(data.shape)}")
        data = data.reshape(-1, self.size).to(torch.float64)
        if not len(data):
            raise ValueError("statistics cannot be updated with no data")
        mean = data.mean(0)
        if not mean.isfinite().all():
            bad = (~mean.isfinite()).nonzero().flatten().tolist()
            raise ValueError(f"data for the running statistics is not finite in coordinates {bad}")
        m2 = (data - mean).square().sum(0)
        summary = torch.cat([mean.new_full((1,), len(data)), mean, m2])
        for each in of_all_ranks(summary):
            self._merge(each[0], *each[1:].split(self.size))

    def _merge(self, count: Tensor, mean: Tensor, m2: Tensor) -> None:
        total = self.count + count
        delta = mean - self.mean
        self.mean += delta * (count / total)
        self.m2 += m2 + delta.square() * (self.count * count / total)
        self.count.copy_(total)

    def standard_deviation(self) -> Tensor:
        """Population standard deviation ``[size]``, float64; ones before any data."""
        variance = torch.where(self.count > 0, self.m2 / self.count.clamp(min=1), torch.ones_like(self.m2))
        return (variance + VARIANCE_FLOOR).sqrt()


class ObservationNormalizer(RunningStatistics):
    """Subtract the running mean, divide by the running standard deviation, clip (Figure 12).

    Args:
        size: number of coordinates.
        clip: largest magnitude of a normalised coordinate.
    """

    def __init__(self, size: int, clip: float) -> None:
        super().__init__(size)
        self.clip = clip

    def forward(self, observation: Tensor) -> Tensor:
        """``[..., size]`` to the same shape and dtype, in standard deviations."""
        # Subtract in float32 only after the statistics themselves were reduced in float64.
        mean = self.mean.to(observation.dtype)
        scale = self.standard_deviation().reciprocal().to(observation.dtype)
        return ((observation - mean) * scale).clamp(-self.clip, self.clip)


class ValueNormalizer(RunningStatistics):
    """The affine map between value targets in units of reward and a standardised scale."""

    def __init__(self) -> None:
        super().__init__(1)

    def normalize(self, value: Tensor) -> Tensor:
        """Value ``[..., 1]`` in units of reward to the standardised scale."""
        return (value - self.mean.to(value.dtype)) / self.standard_deviation().to(value.dtype)

    def denormalize(self, value: Tensor) -> Tensor:
        """Standardised value ``[..., 1]`` to units of reward."""
        return value * self.standard_deviation().to(value.dtype) + self.mean.to(value.dtype)
