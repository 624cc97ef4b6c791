"""Summaries against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dactyl_tl.evaluation.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    rotations_per_minute,
    sample_std,
    summarize,
)


def test_summary_by_hand() -> None:
    summary = summarize([2, 4, 9, 1])
    assert summary.count == 4
    assert summary.mean.estimate == 4.0
    assert summary.median == 3.0
    assert summary.trials == (9, 4, 2, 1)
    # squared deviations 4, 0, 25, 9: sum 38, over 3
    assert summary.std == pytest.approx((38 / 3) ** 0.5)


def test_a_single_trial_has_no_spread_and_no_width() -> None:
    summary = summarize([7])
    assert (summary.std, summary.mean) == (0.0, Interval(7.0, 7.0, 7.0))


def test_rotations_per_minute_by_hand() -> None:
    assert rotations_per_minute([3, 0, 9], [30.0, 10.0, 80.0]) == 6.0
    assert rotations_per_minute([0], [0.0]) == 0.0


def test_interval_of_a_coin_has_the_binomial_quantiles() -> None:
    # 50 ones in 100 trials: the mean resamples as Binomial(100, 1/2) / 100, whose 2.5 % and 97.5 %
    # quantiles are 0.40 and 0.60.
    interval = bootstrap_mean([0, 1] * 50)
    assert interval.estimate == 0.5
    assert interval.low == pytest.approx(0.40, abs=0.01)
    assert interval.high == pytest.approx(0.60, abs=0.01)


def test_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    samples = rng.geometric(0.5, size=(300, 100)) - 1  # true mean 1
    covered = sum(bootstrap_mean(sample, resamples=500).contains(1.0) for sample in samples)
    assert 0.90 <= covered / len(samples) <= 0.98


def test_paired_difference_cancels_what_trials_share() -> None:
    difficulty = np.arange(40)
    paired = bootstrap_difference(difficulty + 1, difficulty)
    assert (paired.estimate, paired.low, paired.high) == (1.0, 1.0, 1.0)


def test_the_same_seed_gives_the_same_interval() -> None:
    assert bootstrap_mean([1, 5, 2], seed=3) == bootstrap_mean([1, 5, 2], seed=3)
    assert bootstrap_mean([0.1, 5.7, 2.3], seed=3, resamples=50) != bootstrap_mean(
        [0.1, 5.7, 2.3], seed=4, resamples=50
    )


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_an_interval_holds_its_mean_within_the_trials(trials: list[int]) -> None:
    interval = bootstrap_mean(trials, resamples=200)
    assert min(trials) <= interval.low <= interval.high <= max(trials)
    assert sample_std(trials) >= 0.0


def test_intervals_overlap_when_they_share_a_point() -> None:
    assert Interval(1, 0, 2).overlaps(Interval(3, 2, 4))
    assert not Interval(1, 0, 2).overlaps(Interval(4, 3, 5))


@pytest.mark.parametrize("values", [[], [[1, 2]], [1.0, float("nan")]])
def test_numbers_that_are_no_trials_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        bootstrap_mean(values)


def test_unequal_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1"):
        bootstrap_difference([1, 2], [1])
