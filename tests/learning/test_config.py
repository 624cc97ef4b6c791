"""Settings of PPO: Table 10's defaults, their limits, the schedules."""

import pytest

from dactyl_tl.learning import PPOConfig


def test_defaults_are_those_of_the_paper():
    config = PPOConfig()
    assert (config.gamma, config.gae_lambda, config.clip) == (0.998, 0.95, 0.2)
    assert (config.entropy_coefficient, config.learning_rate, config.chunk) == (0.01, 3e-4, 10)
    assert config.epochs * config.minibatches == 60  # minibatches per step


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.2}, r"ppo\.gamma is 1\.2; it must be between 0 and 1"),
        ({"clip": 0.0}, r"ppo\.clip is 0\.0; it must be above 0"),
        ({"entropy_coefficient": -0.1}, r"ppo\.entropy_coefficient is -0\.1; it must be at least 0"),
        ({"epochs": 0}, r"ppo\.epochs is 0; it must be a whole number of at least 1"),
        ({"minibatches": 2.5}, r"ppo\.minibatches is 2\.5; it must be a whole number"),
        ({"learning_rate_schedule": "cosine"}, r"is 'cosine'; choose from constant, linear, kl"),
        (
            {"learning_rate_schedule": "linear"},
            r"ppo\.anneal_frames is None; .* or frames, where a schedule is linear",
        ),
        (
            {"entropy_coefficient_final": 0.0},
            r"ppo\.anneal_frames is None; .* or frames, where a schedule is linear",
        ),
        ({"learning_rate_range": (1e-2, 1e-4)}, r"ppo\.learning_rate_range is \(0\.01, 0\.0001\)"),
    ],
)
def test_wrong_values_are_named_with_their_limits(settings, message):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**settings)


def test_linear_schedules_run_on_frames_and_end():
    config = PPOConfig(
        entropy_coefficient=0.01,
        entropy_coefficient_final=0.002,
        learning_rate=1e-3,
        learning_rate_schedule="linear",
        anneal_frames=1000,
    )
    coefficients = [config.entropy_coefficient_at(frames) for frames in (0, 500, 1000, 5000)]
    assert coefficients == pytest.approx([0.01, 0.006, 0.002, 0.002])
    rates = [config.learning_rate_at(frames, current=7.0) for frames in (0, 250, 1000, 5000)]
    assert rates == pytest.approx([1e-3, 7.5e-4, 0, 0])


def test_divergence_moves_the_learning_rate_within_its_range():
    config = PPOConfig(learning_rate_schedule="kl", kl_target=0.01, learning_rate_range=(1e-4, 1e-3))
    assert config.learning_rate_after(0.021, 3e-4) == pytest.approx(2e-4)
    assert config.learning_rate_after(0.01, 3e-4) == 3e-4
    assert config.learning_rate_after(0.004, 3e-4) == pytest.approx(4.5e-4)
    assert config.learning_rate_after(1.0, 1.2e-4) == 1e-4
    assert config.learning_rate_after(0.0, 9e-4) == 1e-3
    assert PPOConfig().learning_rate_after(1.0, 3e-4) == 3e-4
