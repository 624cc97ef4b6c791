"""Numbers that summarise trials, and how far they can be trusted.

Everything here is a pure function of arrays. Intervals are percentile bootstraps (Efron 1979), seeded
and vectorised, so that the same trials give the same digits everywhere. A standard deviation says how
much trials differ; an interval says how well their mean is known. Tables never mix the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
"""Coverage of every interval that this project prints."""

RESAMPLES = 10_000
"""Bootstrap resamples: the end points of an interval move by under 1 % of its width between seeds."""


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds between which it lies with probability :data:`CONFIDENCE`."""

    estimate: float
    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        """Whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high

    def contains(self, value: float) -> bool:
        """Whether ``value`` lies within the bounds."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Summary:
    """Table 3's columns for one set of trials, with an interval for the mean.

    Attributes:
        count: Number of trials.
        mean: Mean of the consecutive rotations, with its interval.
        std: Sample standard deviation, rotations; 0 for a single trial.
        median: Median, rotations.
        trials: Every trial's rotations, sorted downwards.
    """

    count: int
    mean: Interval
    std: float
    median: float
    trials: tuple[int, ...]


def sample_std(values: ArrayLike) -> float:
    """Sample standard deviation (``ddof = 1``), as the paper's tables use; 0 for a single value."""
    array = _vector(values)
    return float(array.std(ddof=1)) if array.size > 1 else 0.0


def bootstrap_mean(values: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean of independent trials with its percentile bootstrap interval.

    Args:
        values: One number a trial, shape (trials,).
        seed: Seed of the resampling.
        resamples: Number of bootstrap resamples.

    Raises:
        ValueError: If ``values`` is empty, not one-dimensional, or not finite.
    """
    array = _vector(values)
    draws = np.random.default_rng(seed).integers(array.size, size=(resamples, array.size))
    return _percentile_interval(float(array.mean()), array[draws].mean(axis=1))


def bootstrap_difference(
    first: ArrayLike, second: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Mean of ``first - second`` over trials that both policies ran, with its interval.

    The same trials (initial state, randomizations, first goal) are resampled for both, so what makes a
    trial easy or hard for either cancels.

    Args:
        first: One number a trial, shape (trials,).
        second: The same trials of the other policy, shape (trials,).
        seed: Seed of the resampling.
        resamples: Number of bootstrap resamples.

    Raises:
        ValueError: If the two have different lengths, or as :func:`bootstrap_mean`.
    """
    a, b = _vector(first), _vector(second)
    if a.size != b.size:
        raise ValueError(f"paired trials must be equally many, got {a.size} and {b.size}")
    return bootstrap_mean(a - b, seed=seed, resamples=resamples)


def summarize(successes: Sequence[int] | NDArray[np.int64], *, seed: int = 0) -> Summary:
    """Table 3's columns of one set of trials.

    Args:
        successes: Consecutive rotations of each trial, shape (trials,).
        seed: Seed of the interval's resampling.
    """
    array = _vector(successes)
    return Summary(
        count=array.size,
        mean=bootstrap_mean(array, seed=seed),
        std=sample_std(array),
        median=float(np.median(array)),
        trials=tuple(sorted((int(value) for value in array), reverse=True)),
    )


def rotations_per_minute(successes: ArrayLike, seconds: ArrayLike) -> float:
    """Rotations of all trials together over their total duration, per minute; 0 if no time passed.

    Args:
        successes: Consecutive rotations of each trial, shape (trials,).
        seconds: Duration of each trial in seconds, shape (trials,).
    """
    total = float(_vector(seconds).sum())
    return 60.0 * float(_vector(successes).sum()) / total if total > 0 else 0.0


def _vector(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"expected one number a trial, shape (trials,), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("expected finite numbers, got NaN or infinity")
    return array


def _percentile_interval(estimate: float, replicates: NDArray[np.float64]) -> Interval:
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(replicates, (tail, 1.0 - tail))
    return Interval(estimate, float(low), float(high))
