"""Advantages of a minibatch in units of their own deviation (App. D.1), over the minibatches of all ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dactyl_tl.learning.rollout import Minibatch
from dactyl_tl.ranks import of_all_ranks

SMALLEST_DEVIATION = 1e-6
"""Advantages that hardly differ are not blown up further."""


def standardized(advantage: Tensor, epochs: Sequence[Sequence[Minibatch]]) -> list[list[Tensor]]:
    """Advantages of every minibatch less their mean, divided by their sample standard deviation.

    What ranks see at the same time is one minibatch, so its mean and deviation are those of all ranks'
    parts together: they train as one process would that had the data of all. All are reduced in
    float64, and gathered at once for the whole update; nothing waits for the device.

    Args:
        advantage: of this rank's chunks ``[B, T, 1]``.
        epochs: the minibatches of every pass, as many on every rank.

    Returns:
        for each minibatch ``[chunks, T, 1]``.
    """
    parts = [[advantage[each.chunks].double() for each in epoch] for epoch in epochs]
    summaries = torch.stack([_summary(part) for epoch in parts for part in epoch])
    count, mean, m2 = _merged(of_all_ranks(summaries)).unbind(-1)
    deviation = (m2 / (count - 1).clamp(min=1)).sqrt().clamp(min=SMALLEST_DEVIATION)
    scales = zip(mean.unbind(), deviation.unbind(), strict=True)
    standard: list[list[Tensor]] = []
    for epoch in parts:
        standard.append([])
        for part in epoch:
            shift, scale = next(scales)
            standard[-1].append(((part - shift) / scale).to(advantage.dtype))
    return standard


def _summary(part: Tensor) -> Tensor:
    """Count, mean and sum of squared deviations ``[3]``."""
    mean = part.mean()
    return torch.stack([torch.full_like(mean, part.numel()), mean, (part - mean).square().sum()])


def _merged(summaries: Tensor) -> Tensor:
    """Summaries ``[ranks, ..., 3]`` of parts to those of the whole ``[..., 3]``."""
    count, mean, m2 = summaries.unbind(-1)
    total = count.sum(0)
    grand = (count * mean).sum(0) / total
    between = (count * (mean - grand).square()).sum(0)
    return torch.stack([total, grand, m2.sum(0) + between], -1)
