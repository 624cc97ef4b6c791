"""Draws that shrink to their nominal value as ``scale`` goes from one to zero.

``scale`` (n, 1) is each episode's own: what a curriculum turns, and what switches a group off. At zero every
draw is nominal. It comes in double precision, so that a whole share leaves the ranges exactly as written.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Interval = tuple[float, float]


def uniform(shape: tuple[int, ...], interval: Interval, generator: torch.Generator) -> Tensor:
    """U[low, high]."""
    low, high = interval
    return low + (high - low) * torch.rand(*shape, generator=generator, device=generator.device)


def uniform_factor(
    shape: tuple[int, ...], interval: Interval, scale: Tensor, generator: torch.Generator
) -> Tensor:
    """U[low, high], nominally 1."""
    return 1.0 + _beside(scale, shape) * (uniform(shape, interval, generator) - 1.0)


def loguniform(shape: tuple[int, ...], interval: Interval, generator: torch.Generator) -> Tensor:
    """exp(U[log low, log high])."""
    return uniform(shape, (math.log(interval[0]), math.log(interval[1])), generator).exp()


def loguniform_factor(
    shape: tuple[int, ...], interval: Interval, scale: Tensor, generator: torch.Generator
) -> Tensor:
    """Loguniform over [low, high], nominally 1."""
    return loguniform(shape, interval, generator) ** _beside(scale, shape)


def normal(shape: tuple[int, ...], std: float | Tensor, generator: torch.Generator) -> Tensor:
    """N(0, std), with one ``std`` or (n, 1)."""
    if isinstance(std, Tensor):
        std = _beside(std, shape)
    return std * torch.randn(*shape, generator=generator, device=generator.device)


def bernoulli(shape: tuple[int, ...], probability: float | Tensor, generator: torch.Generator) -> Tensor:
    """True with ``probability`` (broadcast to ``shape``): bool."""
    return torch.rand(*shape, generator=generator, device=generator.device) < probability


def _beside(scale: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``scale`` (n, 1) with as many dimensions as ``shape``, in the precision of the draws."""
    return scale.reshape(-1, *(1 for _ in shape[1:])).to(torch.get_default_dtype())
