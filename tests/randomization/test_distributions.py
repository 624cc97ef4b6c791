"""Every randomised value against the paper's tables (Tables 1, 7, 8, App. C.2)."""

import math

import pytest
import torch

from dactyl_tl.contract import ACTUATORS
from dactyl_tl.randomization import RANDOMIZATIONS, EpisodeSampler, Randomization, resolve_randomization

N = 20_000
LINKS = 24


def sample(groups=None, scale=1.0, seed=0, n=N):
    generator = torch.Generator().manual_seed(seed)
    return EpisodeSampler(groups or Randomization(), LINKS).sample(n, scale, generator)


@pytest.fixture(scope="module")
def values():
    return sample()


def uniform(low, high):
    return (low + high) / 2, (high - low) / math.sqrt(12), low, high


def loguniform(low, high):
    span = math.log(high / low)
    mean = (high - low) / span
    return mean, math.sqrt((high**2 - low**2) / (2 * span) - mean**2), low, high


def normal(std):
    return 0.0, std, -math.inf, math.inf


# name: (shape after n, (mean, standard deviation, lower bound, upper bound))
EXPECTED = {
    # Table 1
    "object_dimensions": ((1,), uniform(0.95, 1.05)),
    "object_mass": ((1,), uniform(0.5, 1.5)),
    "link_masses": ((LINKS,), uniform(0.5, 1.5)),
    "surface_friction": ((1,), uniform(0.7, 1.3)),
    "joint_damping": ((24,), loguniform(0.3, 3.0)),
    "actuator_gain": ((20,), loguniform(0.75, 1.5)),
    "joint_limits": ((24, 2), normal(0.15)),
    "gravity": ((3,), normal(0.4)),
    # Table 7, correlated
    "fingertip_positions": ((15,), normal(0.001)),
    "object_position": ((3,), normal(0.005)),
    "object_orientation": ((3,), normal(0.1)),
    "fingertip_markers": ((5, 3), normal(0.003)),
    "hand_base_markers": ((3, 3), normal(0.001)),
    # Table 8, correlated: 1.5 % of a range that is 2 wide
    "action_bias": ((20,), normal(0.03)),
    # App. C.2
    "timing_rate": ((1,), uniform(1250, 10000)),
    "force_probability": ((1,), loguniform(0.001, 0.1)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_mean_spread_and_bounds(values, name):
    shape, (mean, std, low, high) = EXPECTED[name]
    x = values[name].double()
    assert x.shape == (N, *shape)
    error = 5 * std / math.sqrt(N)  # five standard errors, in every single column
    columns = x.flatten(1)
    assert (columns.mean(0) - mean).abs().max() < error
    assert (columns.std(0) / std - 1).abs().max() < 0.05
    slack = 1e-6 * max(abs(low), abs(high)) if math.isfinite(high) else 0.0
    assert x.min() >= low - slack
    assert x.max() <= high + slack
    if math.isfinite(high):  # the whole range is reached
        assert x.min() < low + 0.01 * (high - low)
        assert x.max() > high - 0.01 * (high - low)


def test_normal_tails(values):
    for name in ("joint_limits", "gravity", "object_position", "action_bias"):
        x = values[name] / EXPECTED[name][1][1]
        assert (x.abs() > 1.96).float().mean().item() == pytest.approx(0.05, abs=0.005)


def test_columns_are_independent(values):
    columns = torch.cat([v.double().flatten(1)[:, :3] for k, v in values.items() if k in EXPECTED], dim=1)
    correlation = torch.corrcoef(columns.T) - torch.eye(columns.shape[1])
    assert correlation.abs().max() < 5 / math.sqrt(N)


def test_half_of_the_actuators_are_delayed(values):
    assert values["action_delay"].dtype == torch.bool
    assert (values["action_delay"].float().mean(0) - 0.5).abs().max() < 0.02


def test_backlash_rates_are_around_the_calibrated_ones(values):
    log_rates = values["backlash_rates"].double().log()
    up = log_rates[:, 1, ACTUATORS.index("THJ4")]  # calibrated 2.82, far from the floor
    assert up.mean().item() == pytest.approx(2.82, abs=0.01)
    assert up.std().item() == pytest.approx(0.282, rel=0.05)
    down = log_rates[:, 0, ACTUATORS.index("THJ3")]  # calibrated 1.25
    assert down.mean().item() == pytest.approx(1.25, abs=0.01)
    assert values["backlash_rates"].min() >= 2.0


def test_same_seed_same_values_and_every_episode_differs(values):
    again = sample()
    assert all(torch.equal(again[name], values[name]) for name in values)
    other = sample(seed=1)
    for name in EXPECTED:
        assert not torch.equal(other[name], values[name])
        distinct = values[name].flatten(1).unique(dim=0).shape[0]
        assert distinct > 0.95 * N  # every simulation; float32 repeats a few


NOMINAL_ONE = ("object_dimensions", "object_mass", "link_masses", "surface_friction", "joint_damping",
               "actuator_gain")  # fmt: skip


def test_scale_zero_is_nominal():
    values = sample(scale=0.0, n=50)
    for name in EXPECTED:
        if name in NOMINAL_ONE:
            assert (values[name] == 1).all(), name
        elif name not in ("timing_rate", "force_probability"):
            assert (values[name] == 0).all(), name
    for name in ("observation_noise", "action_noise", "timing", "force_scale", "marker_dropout_rate"):
        assert (values[name] == 0).all(), name
    assert not values["action_delay"].any()
    assert not values["marker_occlusion"].any()


def test_half_the_scale_is_half_the_spread():
    half, full = sample(scale=0.5), sample()
    for name in ("object_mass", "joint_limits", "gravity", "object_position", "action_bias"):
        assert (half[name].std() / full[name].std()).item() == pytest.approx(0.5, abs=0.01)
    assert (half["joint_damping"].log().std() / full["joint_damping"].log().std()).item() == pytest.approx(
        0.5, abs=0.01
    )


GROUPS = {
    "no_physics": ("object_mass", "joint_damping", "gravity"),
    "no_observation_noise": ("object_position", "fingertip_markers", "hand_base_markers"),
    "no_unmodeled": ("action_bias", "action_delay", "force_scale", "timing"),
}


@pytest.mark.parametrize("name", GROUPS)
def test_ablations_switch_off_their_group_only(name):
    values, nominal = sample(RANDOMIZATIONS[name], n=200), sample(scale=0.0, n=200)
    for group, parameters in GROUPS.items():
        for parameter in parameters:
            off = torch.equal(values[parameter], nominal[parameter])
            assert off == (group == name), parameter


def test_wrong_names_and_shares_name_the_choices():
    with pytest.raises(ValueError, match="'some'; choose one of all, none"):
        resolve_randomization("some")
    with pytest.raises(ValueError, match="'phsyics'; choose from physics"):
        resolve_randomization({"phsyics": 1.0})
    with pytest.raises(ValueError, match=r"randomization.physics must lie in \[0, 1\], not 2.0"):
        resolve_randomization({"physics": 2.0})
