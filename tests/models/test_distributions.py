"""The action distribution, and the trap of one log-probability per actuator."""

import math

import pytest
import torch
from torch.distributions import Categorical

from dactyl_tl.contract import NUM_ACTUATORS, NUM_BINS
from dactyl_tl.models import MultiCategorical


def test_log_probability_is_one_number_a_frame_the_sum_over_actuators():
    logits = torch.tensor([[[0.0, math.log(3.0)], [math.log(4.0), 0.0]]])  # one frame, two actuators
    distribution = MultiCategorical(logits)
    # 3/4 for the second bin of the first actuator, 1/5 for the second bin of the second.
    log_prob = distribution.log_prob(torch.tensor([[1, 1]]))
    assert log_prob.shape == (1,)
    assert log_prob.item() == pytest.approx(math.log(3 / 4 * 1 / 5))


def test_entropy_is_summed_over_the_actuators():
    logits = torch.zeros(7, NUM_ACTUATORS, NUM_BINS)
    entropy = MultiCategorical(logits).entropy()
    assert entropy.shape == (7,)
    assert entropy[0].item() == pytest.approx(20 * math.log(11), rel=1e-6)  # 47.958 nats
    # The trap: a plain categorical passes for the same and reads a twentieth of it.
    assert Categorical(logits=logits).entropy().mean().item() == pytest.approx(math.log(11), rel=1e-6)


def test_entropy_equals_that_of_torch():
    logits = 3 * torch.randn(5, NUM_ACTUATORS, NUM_BINS, generator=torch.Generator().manual_seed(0))
    expected = Categorical(logits=logits).entropy().sum(-1)
    torch.testing.assert_close(MultiCategorical(logits).entropy(), expected)


def test_deterministic_sample_takes_the_likeliest_bin_of_each_actuator():
    logits = torch.tensor([[[0.0, 2.0, 1.0], [5.0, 2.0, 1.0]]])
    distribution = MultiCategorical(logits)
    assert distribution.deterministic_sample.tolist() == [[1, 0]]
    assert distribution.mode.tolist() == [[1, 0]]


def test_samples_follow_the_probabilities():
    torch.manual_seed(0)
    logits = torch.tensor([0.1, 0.6, 0.3]).log().expand(20000, 2, 3)
    sample = MultiCategorical(logits).sample()
    assert sample.shape == (20000, 2)
    assert sample.dtype == torch.int64
    frequencies = torch.nn.functional.one_hot(sample, 3).float().mean(0)
    torch.testing.assert_close(frequencies, torch.tensor([[0.1, 0.6, 0.3]] * 2), atol=0.015, rtol=0)
