"""Draws that shrink to their nominal value as ``scale`` goes from one to zero.

``scale`` is what a curriculum turns, and what switches a group off: at zero every draw is nominal.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Interval = tuple[float, float]


def uniform(shape: tuple[int, ...], interval: Interval, generator: torch.Generator) -> Tensor:
    """U[low, high]."""
    low, high = interval
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def uniform_factor(
    shape: tuple[int, ...], interval: Interval, scale: float, generator: torch.Generator
) -> Tensor:
    """U[low, high], nominally 1."""
    return 1.0 + scale * (uniform(shape, interval, generator) - 1.0)


def loguniform(shape: tuple[int, ...], interval: Interval, generator: torch.Generator) -> Tensor:
    """exp(U[log low, log high])."""
    return uniform(shape, (math.log(interval[0]), math.log(interval[1])), generator).exp()


def loguniform_factor(
    shape: tuple[int, ...], interval: Interval, scale: float, generator: torch.Generator
) -> Tensor:
    """Loguniform over [low, high], nominally 1."""
    return loguniform(shape, interval, generator) ** scale


def normal(shape: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
    """N(0, std)."""
    return std * torch.randn(shape, generator=generator, device=generator.device)


def bernoulli(shape: tuple[int, ...], probability: float | Tensor, generator: torch.Generator) -> Tensor:
    """True with ``probability`` (broadcast to ``shape``): bool."""
    return torch.rand(shape, generator=generator, device=generator.device) < probability
