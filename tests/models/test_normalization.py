"""Running statistics equal those of all data, however it arrived."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dactyl_tl.models import ObservationNormalizer, RunningStatistics, ValueNormalizer

FINITE = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=60, deadline=None)
@given(
    data=hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=FINITE),
    cuts=st.lists(st.integers(1, 39), max_size=6),
)
def test_merging_any_split_equals_numpy_on_all_data(data, cuts):
    statistics = RunningStatistics(3)
    for part in np.split(data, sorted(set(cuts))):
        if len(part):
            statistics.update(torch.from_numpy(part))

    everything = data.astype(np.float64)
    assert statistics.count == len(data)
    np.testing.assert_allclose(statistics.mean, everything.mean(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(statistics.m2 / len(data), everything.var(0), rtol=1e-6, atol=1e-6)


def test_leading_dimensions_are_all_samples():
    data = torch.arange(24.0).reshape(2, 4, 3)
    statistics = RunningStatistics(3)
    statistics.update(data)
    assert statistics.count == 8
    torch.testing.assert_close(statistics.mean, data.reshape(8, 3).double().mean(0))


def test_a_small_spread_far_from_zero_survives_many_updates():
    # In float32, with E[x^2] - E[x]^2, this variance would be lost entirely.
    generator = torch.Generator().manual_seed(0)
    statistics = RunningStatistics(1)
    for _ in range(300):
        statistics.update(1000 + 1e-3 * torch.randn(1000, 1, generator=generator, dtype=torch.float64))
    assert statistics.standard_deviation().item() == pytest.approx(1e-3, rel=0.02)


def test_before_any_data_nothing_changes_but_the_clip_holds():
    normalizer = ObservationNormalizer(2, clip=5.0)
    torch.testing.assert_close(normalizer(torch.tensor([0.5, -9.0])), torch.tensor([0.5, -5.0]))


def test_normalised_data_has_zero_mean_unit_spread_and_is_clipped():
    generator = torch.Generator().manual_seed(0)
    data = 3 + 0.01 * torch.randn(5000, 2, generator=generator)
    normalizer = ObservationNormalizer(2, clip=5.0)
    normalizer.update(data)
    result = normalizer(data)
    torch.testing.assert_close(result.mean(0), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(result.std(0, correction=0), torch.ones(2), atol=1e-3, rtol=0)
    assert normalizer(torch.full((1, 2), 100.0)).tolist() == [[5.0, 5.0]]
    assert result.dtype == torch.float32


def test_an_input_that_never_changes_stays_finite():
    normalizer = ObservationNormalizer(1, clip=5.0)
    normalizer.update(torch.full((10, 1), 0.7))
    assert normalizer(torch.full((1, 1), 0.7)).abs().item() < 0.01


def test_acting_does_not_update():
    normalizer = ObservationNormalizer(2, clip=5.0).train()
    normalizer.update(torch.randn(10, 2))
    before = {name: buffer.clone() for name, buffer in normalizer.named_buffers()}
    normalizer(torch.randn(10, 2))
    for name, buffer in normalizer.named_buffers():
        assert torch.equal(buffer, before[name])


def test_statistics_travel_in_the_state_dict():
    one, other = ObservationNormalizer(2, 5.0), ObservationNormalizer(2, 5.0)
    one.update(torch.randn(10, 2))
    other.load_state_dict(one.state_dict())
    data = torch.randn(4, 2)
    assert torch.equal(one(data), other(data))
    assert set(one.state_dict()) == {"count", "mean", "m2"}
    assert all(tensor.dtype == torch.float64 for tensor in one.state_dict().values())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_data_that_is_not_finite_is_refused_with_its_coordinate(bad):
    data = torch.zeros(4, 3)
    data[2, 1] = bad
    statistics = RunningStatistics(3)
    with pytest.raises(ValueError, match=r"not finite in coordinates \[1\]"):
        statistics.update(data)
    assert statistics.count == 0


def test_wrong_sizes_and_empty_data_are_refused():
    with pytest.raises(ValueError, match=r"3 coordinates got data of shape \(5, 2\)"):
        RunningStatistics(3).update(torch.zeros(5, 2))
    with pytest.raises(ValueError, match="no data"):
        RunningStatistics(3).update(torch.zeros(0, 3))


def test_value_normalisation_is_undone_exactly():
    normalizer = ValueNormalizer()
    normalizer.update(torch.tensor([[-20.0], [5.0], [30.0]]))
    values = torch.linspace(-30, 60, 7).unsqueeze(-1)
    torch.testing.assert_close(normalizer.denormalize(normalizer.normalize(values)), values)
    # Mean 5, population variance (25^2 + 0 + 25^2) / 3.
    assert normalizer.normalize(torch.tensor([5.0 + (1250 / 3) ** 0.5])).item() == pytest.approx(1, rel=1e-6)
