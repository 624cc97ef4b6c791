"""What the learner asks of the other processes that train with it; nothing where there are none."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributed as dist


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def mean_of_ranks(value: Tensor) -> Tensor:
    """The mean of every rank's ``value``."""
    if world_size() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / world_size()


def of_all_ranks(value: Tensor) -> Tensor:
    """``value`` of every rank, which has one shape on all, ``[ranks, ...]``."""
    if world_size() == 1:
        return value.unsqueeze(0)
    gathered = [torch.empty_like(value) for _ in range(world_size())]
    dist.all_gather(gathered, value.contiguous())
    return torch.stack(gathered)
