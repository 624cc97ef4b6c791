"""The learner as a whole: ratios, statistics, carried states, schedules, resuming."""

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from benchmarks.learner import synthetic_rollout
from dactyl_tl.contract import policy_keys, privileged_keys
from dactyl_tl.learning.rollout import minibatches, shuffled
from dactyl_tl.models import IS_INIT, POLICY_STATE, VALUE_STATE, NetworkConfig
from tests.learning.cue import CueEnv
from tests.learning.runs import collector, fit, make_module
from tests.synchronising import no_synchronisation

SMALL = NetworkConfig(dense=24, lstm=16)


def rollouts(seed: int = 0, num_envs: int = 6, steps: int = 20, reset_rate: float = 0.05):
    """Endless synthetic rollouts."""
    while True:
        yield synthetic_rollout(num_envs, steps, 16, reset_rate, seed)
        seed += 1


def confident(module):
    """A policy that depends on its inputs and memory, as a trained one does."""
    torch.nn.init.orthogonal_(module.actor.module.head.module.weight, 3.0)
    return module


def test_the_first_importance_ratio_is_one_on_collected_data():
    # Episodes of 7 steps, so that most chunks have an episode's start inside, and chunks start with
    # states that are not zero. Two rollouts: by the second one, statistics and weights have moved.
    module = confident(make_module(SMALL, epochs=1, minibatches=2))
    data = collector(CueEnv(8, length=7), module.actor, 20)
    for count in (1, 2):
        trainer = fit(module, iter(data), 1)
        assert trainer.callback_metrics["policy/first_ratio"].item() == pytest.approx(1, abs=1e-4), count
        assert trainer.callback_metrics["policy/first_kl"].item() == pytest.approx(0, abs=1e-7), count
    assert module.actor.normalizer.count == 320
    data.shutdown()


def test_zero_states_at_chunk_starts_are_noticed_by_the_first_ratio():
    module = confident(make_module(SMALL, epochs=1, minibatches=2))
    data = collector(CueEnv(8, length=7), module.actor, 20)
    rollout = next(iter(data)).clone()
    assert rollout[POLICY_STATE[0]][:, 10].abs().sum() > 0
    for key in POLICY_STATE:
        rollout[key].zero_()
    trainer = fit(module, [rollout], 1)
    # The mean ratio would stay near 1, as it does for any two policies; the largest does not.
    assert trainer.callback_metrics["policy/first_ratio"].item() > 1.05
    assert trainer.callback_metrics["policy/first_kl"].item() > 1e-4
    data.shutdown()


def test_states_stored_where_an_episode_starts_are_ignored():
    # Without primers a collector stores what the previous episode left there.
    clean = next(rollouts(reset_rate=0.3))
    littered = clean.clone()
    for key in POLICY_STATE:
        littered[key] = torch.where(littered[IS_INIT].unsqueeze(-1), 7.0, littered[key])
    weights = []
    for rollout in (clean, littered):
        module = confident(make_module(SMALL, epochs=1, minibatches=2))
        fit(module, [rollout], 1)
        weights.append(torch.cat([p.flatten() for p in module.parameters()]))
    assert torch.equal(*weights)


def test_statistics_are_those_of_all_rollouts_and_frozen_within_an_update():
    module = make_module(SMALL, epochs=1, minibatches=2)
    seen = [rollout for rollout, _ in zip(rollouts(), range(3), strict=False)]
    fit(module, seen, 3)
    for network, keys in ((module.actor, policy_keys()), (module.critic, privileged_keys())):
        data = torch.cat([torch.cat([rollout[key] for key in keys], -1) for rollout in seen]).flatten(0, 1)
        assert network.normalizer.count == len(data) == 360
        torch.testing.assert_close(network.normalizer.mean, data.double().mean(0))
        torch.testing.assert_close(
            network.normalizer.standard_deviation(), data.double().std(0, correction=0), atol=1e-6, rtol=1e-6
        )
    assert module.critic.value_normalizer.count == 360
    assert (module.frames.item(), module.rollouts.item()) == (360, 3)


def test_learning_does_not_depend_on_the_unit_of_reward():
    # Normalised advantages and value targets: only the scale of the value's statistics may differ.
    # Zero values at first, so that they are no evidence of a unit.
    learners = []
    for unit in (1.0, 1000.0):
        module = make_module(SMALL, epochs=2, minibatches=2)
        torch.nn.init.zeros_(module.critic.module.head.module.weight)
        data = []
        for rollout, _ in zip(rollouts(), range(3), strict=False):
            rollout["next", "reward"] *= unit
            data.append(rollout)
        fit(module, data, 3)
        learners.append(module)
    one, thousand = learners
    ratio = (
        thousand.critic.value_normalizer.standard_deviation()
        / one.critic.value_normalizer.standard_deviation()
    )
    assert ratio.item() == pytest.approx(1000, rel=1e-3)
    for a, b in zip(one.parameters(), thousand.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-2)


def test_the_value_networks_state_is_carried_from_rollout_to_rollout():
    module = make_module(SMALL, epochs=1, minibatches=2, learning_rate=1e-12)
    long = synthetic_rollout(6, 40, 16, 0.0, seed=0)
    fit(module, [long], 1)
    expected = module._critic_states.clone()

    halves = make_module(SMALL, epochs=1, minibatches=2, learning_rate=1e-12)
    # Statistics would move between the halves; here only the carrying is looked at.
    halves._take_in_observations = lambda rollout: None
    fit(halves, [long[:, :20], long[:, 20:]], 2)
    for key in VALUE_STATE:
        assert expected[key].abs().sum() > 0
        torch.testing.assert_close(halves._critic_states[key], expected[key], atol=1e-5, rtol=1e-4)


def test_rows_are_told_apart_by_their_simulation_where_they_change_place():
    whole = synthetic_rollout(6, 20, 16, 0.0, seed=0)
    module = make_module(SMALL, epochs=1, minibatches=1, learning_rate=1e-12)
    module._take_in_observations = lambda rollout: None
    fit(module, [whole], 1)
    parts = []
    for rows in ([4, 5, 0], [2, 1, 3]):
        part = whole[rows].clone()
        part["simulation"] = torch.tensor(rows).unsqueeze(1).expand(3, 20)
        parts.append(part)
    other = make_module(SMALL, epochs=1, minibatches=1, learning_rate=1e-12)
    other._take_in_observations = lambda rollout: None
    fit(other, parts, 2)
    for key in VALUE_STATE:
        torch.testing.assert_close(
            other._critic_states[key], module._critic_states[key], atol=1e-5, rtol=1e-4
        )


def test_metrics_are_logged_against_environment_frames():
    module = make_module(SMALL, epochs=1, minibatches=2)
    trainer = fit(module, rollouts(), 2)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert logged["frames"] == logged["step"] == 240
    for name in (
        "policy/loss",
        "policy/entropy",
        "policy/kl",
        "policy/clip_fraction",
        "policy/first_ratio",
        "policy/gradient_norm",
        "value/loss",
        "value/explained_variance",
        "value/gradient_norm",
        "advantage/mean",
        "advantage/std",
        "learning_rate",
        "entropy_coefficient",
    ):
        assert torch.isfinite(torch.tensor(logged[name])), name


def test_frames_are_counted_exactly_where_float32_no_longer_can():
    module = make_module(SMALL, epochs=1, minibatches=2)
    module.frames.fill_(2**40 + 1)
    trainer = fit(module, rollouts(), 1)
    assert module.frames.item() == 2**40 + 121
    assert trainer.callback_metrics["frames"].item() == 2**40 + 121


def test_gradients_are_clipped_for_each_network_by_itself():
    module = make_module(SMALL, epochs=1, minibatches=1, max_gradient_norm=1e-3)
    norms = {}

    def record(optimizer, args, kwargs):
        for name, network in (("policy", module.actor), ("value", module.critic)):
            norms[name] = torch.stack([p.grad.norm() for p in network.parameters()]).norm().item()

    hook = register_optimizer_step_pre_hook(record)
    trainer = fit(module, rollouts(), 1)
    hook.remove()
    assert norms == pytest.approx({"policy": 1e-3, "value": 1e-3}, rel=1e-2)
    assert trainer.callback_metrics["value/gradient_norm"].item() > 1e-2  # before clipping


def test_schedules_reach_the_optimizer_and_the_loss():
    module = make_module(
        SMALL,
        epochs=1,
        minibatches=2,
        learning_rate=1e-3,
        learning_rate_schedule="linear",
        entropy_coefficient=0.01,
        entropy_coefficient_final=0.0,
        anneal_frames=480,
    )
    trainer = fit(module, rollouts(), 3)  # the third update starts after 240 frames
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(5e-4)
    assert module.loss.entropy_coeff.item() == pytest.approx(5e-3)


@pytest.mark.parametrize(("target", "factor"), [(1.0, 1.5), (1e-7, 1 / 1.5)])
def test_divergence_moves_the_learning_rate_once_an_epoch(target, factor):
    schedule = {"learning_rate": 1e-4, "learning_rate_schedule": "kl", "kl_target": target}
    trainer = fit(make_module(SMALL, epochs=2, minibatches=2, **schedule), rollouts(), 2)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-4 * factor**4)


def test_a_resumed_run_ends_in_the_same_weights(tmp_path):
    settings = {"epochs": 2, "minibatches": 3, "learning_rate_schedule": "kl", "learning_rate": 1e-3}
    through = make_module(SMALL, **settings)
    fit(through, rollouts(), 4, max_epochs=1)

    first = make_module(SMALL, **settings)
    trainer = fit(first, rollouts(), 2)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    assert torch.load(tmp_path / "half.ckpt", weights_only=True)["critic_states"]
    second = make_module(SMALL, seed=5, **settings)
    torch.manual_seed(99)
    # The rest of the epoch that was cut short, as a second one.
    fit(second, rollouts(seed=2), 2, max_epochs=2, ckpt_path=tmp_path / "half.ckpt")

    for (name, a), (_, b) in zip(through.state_dict().items(), second.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    for key in VALUE_STATE:
        assert torch.equal(through._critic_states[key], second._critic_states[key])


def test_half_precision_training_keeps_states_and_statistics_whole():
    module = make_module(SMALL, epochs=1, minibatches=2)
    trainer = fit(module, rollouts(), 2, precision="bf16-mixed")
    assert all(parameter.dtype == torch.float32 for parameter in module.parameters())
    assert all(state.dtype == torch.float32 for state in module._critic_states.values())
    assert torch.isfinite(trainer.callback_metrics["value/loss"])


@pytest.mark.parametrize(
    ("policy", "value"), [("feedforward", "lstm"), ("lstm", "feedforward"), ("feedforward", "feedforward")]
)
def test_feed_forward_variants_learn_too(policy, value):
    network = NetworkConfig(dense=24, lstm=16, policy=policy, value=value)
    module = confident(make_module(network, epochs=1, minibatches=2))
    data = collector(CueEnv(8, length=7), module.actor, 20)
    before = [parameter.clone() for parameter in module.parameters()]
    trainer = fit(module, iter(data), 2)
    assert trainer.callback_metrics["policy/first_ratio"].item() == pytest.approx(1, abs=1e-4)
    assert all(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    data.shutdown()


def test_a_rollout_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape \[simulations, steps\], not \[120\]"):
        fit(make_module(SMALL), [next(rollouts()).flatten()], 1)
    with pytest.raises(ValueError, match=r"12 chunks cannot make ppo\.minibatches=30"):
        fit(make_module(SMALL), rollouts(), 1)
    with pytest.raises(ValueError, match=r"25 steps cannot be cut into chunks of ppo\.chunk=10"):
        fit(make_module(SMALL, minibatches=2), rollouts(steps=25), 1)
    with pytest.raises(KeyError, match="action_log_prob"):
        fit(make_module(SMALL, minibatches=2), [next(rollouts()).exclude("action_log_prob")], 1)


def test_rewards_that_are_not_finite_are_refused_before_the_weights_are_touched():
    module = make_module(SMALL, epochs=1, minibatches=2)
    before = [parameter.clone() for parameter in module.parameters()]
    rollout = next(rollouts())
    rollout["next", "reward"][1, 3] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        fit(module, [rollout], 1)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_nothing_between_the_first_minibatch_and_the_last_waits_for_the_device(precision, monkeypatch):
    module = make_module(SMALL, epochs=2, minibatches=3)
    update, watched = module._update, []

    def watch(*args):
        with no_synchronisation():
            metrics = update(*args)
        watched.append(metrics)
        return metrics

    monkeypatch.setattr(module, "_update", watch)
    fit(module, rollouts(reset_rate=0.2), 2, precision=precision)
    assert len(watched) == 2


def test_minibatches_are_those_of_the_order_with_the_starts_inside_them():
    rollout = next(rollouts(reset_rate=0.2))
    is_init = rollout[IS_INIT].reshape(-1, 10, 1)
    orders = [shuffled(0, 0, 0, epoch, len(is_init)) for epoch in range(2)]
    for order, epoch in zip(orders, minibatches(orders, 5, is_init), strict=True):
        assert torch.equal(torch.cat([each.chunks for each in epoch]), order)
        assert [each.inner_starts for each in epoch] == [
            int(is_init[part, 1:].sum()) for part in order.tensor_split(5)
        ]


def test_half_precision_moves_ratios_and_losses_only_a_little():
    # Collection acts in float32, so the first ratios are 1 only up to bfloat16's three digits.
    logged = {}
    for precision in ("32-true", "bf16-mixed"):
        module = confident(make_module(SMALL, epochs=1, minibatches=2))
        data = collector(CueEnv(32, length=7), module.actor, 20)
        trainer = fit(module, iter(data), 1, precision=precision)
        logged[precision] = {name: value.item() for name, value in trainer.callback_metrics.items()}
        data.shutdown()
    whole, half = logged["32-true"], logged["bf16-mixed"]
    assert 1e-6 < abs(half["policy/first_ratio"] - 1) < 0.02
    assert half["policy/first_kl"] < 1e-4
    for name in ("value/loss", "policy/entropy", "value/gradient_norm", "policy/gradient_norm"):
        assert half[name] == pytest.approx(whole[name], rel=0.03), name


def test_half_precision_sees_new_weights_at_every_minibatch():
    # Autocast may keep its half-precision copies of the weights for as long as a training step lasts.
    module = confident(make_module(SMALL, epochs=4, minibatches=1, learning_rate=3e-3))
    data = collector(CueEnv(32, length=7), module.actor, 20)
    logged = fit(module, iter(data), 1, precision="bf16-mixed").callback_metrics
    assert logged["policy/kl"].item() > 10 * logged["policy/first_kl"].item() > 0
    data.shutdown()
