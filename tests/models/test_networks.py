"""The networks as tensordict modules: keys, shapes, memory, the feed-forward variants."""

import math

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules import set_recurrent_mode
from torchrl.modules.utils import get_primers_from_module

from dactyl_tl.contract import OBSERVATION_SIZES, policy_keys, privileged_keys
from dactyl_tl.models import (
    IS_INIT,
    POLICY_STATE,
    VALUE_STATE,
    NetworkConfig,
    build_actor,
    build_critic,
)

SMALL = NetworkConfig(dense=24, lstm=16)


def frames(*shape: int, seed: int = 0) -> TensorDict:
    """Random observations with zero recurrent states; no episode starts."""
    generator = torch.Generator().manual_seed(seed)
    entries = {
        key: torch.randn(*shape, OBSERVATION_SIZES[key[-1]], generator=generator)
        for key in policy_keys() + privileged_keys()
    }
    states = {key: torch.zeros(*shape, 1, 16) for key in POLICY_STATE + VALUE_STATE}
    return TensorDict(
        {**entries, **states, IS_INIT: torch.zeros(*shape, 1, dtype=torch.bool)}, batch_size=shape
    )


def confident(actor):
    """An actor whose head tells frames apart, as a trained one's does."""
    torch.nn.init.orthogonal_(actor.module.head.module.weight, 4.0)
    return actor


def stepwise(network, sequence: TensorDict, key: str) -> torch.Tensor:
    """What the network says of ``[B, T]`` when it is called once a step, as in collection."""
    states = sequence[:, 0].select(*network.state_keys)
    outputs = []
    for step in sequence.exclude(*network.state_keys).unbind(1):
        step = step.update(states)
        if key == "logits":
            outputs.append(network.get_dist(step.copy()).base_dist.logits)
        after = network(step.copy())
        if key != "logits":
            outputs.append(after[key])
        states = after["next"].select(*network.state_keys)
    return torch.stack(outputs, 1)


def test_sizes_default_to_those_of_the_paper():
    config = NetworkConfig()
    actor, critic = build_actor(config), build_critic(config)
    assert actor.module.encoder.module.dense.weight.shape == (1024, 22)  # Table 2: 15 + 3 + 4
    assert critic.module.encoder.module.dense.weight.shape == (1024, 85)  # and all nine inputs
    assert actor.module.memory.lstm.hidden_size == critic.module.memory.lstm.hidden_size == 512
    assert actor.module.head.module.weight.shape == (220, 512)
    assert critic.module.head.module.weight.shape == (1, 512)
    assert not {id(p) for p in actor.parameters()} & {id(p) for p in critic.parameters()}


def test_policy_writes_actions_log_probabilities_and_states_and_nothing_else():
    actor = build_actor(SMALL)
    before = frames(5)
    after = actor(before.clone())
    new = set(after.keys(True, True)) - set(before.keys(True, True))
    assert new == {"action", "action_log_prob", *(("next", key) for key in POLICY_STATE)}
    assert after["action"].shape == (5, 20)
    assert after["action"].dtype == torch.int64
    assert after["action_log_prob"].shape == (5,)


def test_the_first_policy_is_nearly_uniform():
    entropy = build_actor(SMALL).get_dist(frames(50)).entropy()
    assert entropy.mean().item() == pytest.approx(20 * math.log(11), abs=0.05)


def test_inputs_of_the_policy_are_those_of_the_contract_and_no_others():
    actor = confident(build_actor(SMALL))
    data = frames(4)
    logits = actor.get_dist(data.copy()).base_dist.logits
    for key in privileged_keys():
        data[key] = data[key] + 1
    assert torch.equal(actor.get_dist(data.copy()).base_dist.logits, logits)
    for key in policy_keys():
        changed = data.copy()
        changed[key] = changed[key] + 1
        assert not torch.allclose(actor.get_dist(changed).base_dist.logits, logits)


@pytest.mark.parametrize(("build", "key"), [(build_actor, "logits"), (build_critic, "state_value")])
def test_a_sequence_at_once_equals_its_steps_also_where_episodes_start_inside(build, key):
    torch.manual_seed(0)
    network = build(SMALL)
    if build is build_actor:
        confident(network)
    sequence = frames(6, 10)
    for row, step in [(0, 3), (1, 9), (2, 1), (2, 2), (2, 7), (4, 0), (5, 5)]:
        sequence[IS_INIT][row, step] = True
    for state in network.state_keys:
        sequence[state][:, 0] = torch.randn(6, 1, 16) * ~sequence[IS_INIT][:, 0, None]
    expected = stepwise(network, sequence, key)
    with set_recurrent_mode(True):
        if key == "logits":
            actual = network.get_dist(sequence.copy()).base_dist.logits
        else:
            actual = network(sequence.copy())[key]
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def test_an_episode_start_forgets_what_was_before():
    actor = confident(build_actor(SMALL))
    one, other = frames(3), frames(3)
    for key in POLICY_STATE:
        other[key] = torch.randn(3, 1, 16)
    logits = [actor.get_dist(data.copy()).base_dist.logits for data in (one, other)]
    assert not torch.allclose(*logits)
    one[IS_INIT][:], other[IS_INIT][:] = True, True
    other[POLICY_STATE[0]][0] = float("nan")  # not even a simulation that diverged leaves a trace
    logits = [actor.get_dist(data.copy()).base_dist.logits for data in (one, other)]
    assert torch.equal(*logits)


def test_gradients_flow_through_time_only_in_recurrent_mode():
    # Without set_recurrent_mode the same code runs, gives plausible losses and learns no memory.
    def gradient_of_first_frame(recurrent: bool) -> float:
        actor = confident(build_actor(SMALL))
        sequence = frames(2, 10)
        first = sequence["policy", "object_position"].requires_grad_()
        with set_recurrent_mode(recurrent):
            last = actor.get_dist(sequence).base_dist.logits[:, -1]
        last.square().sum().backward()
        return first.grad[:, 0].abs().sum().item()

    assert gradient_of_first_frame(recurrent=True) > 1e-6
    assert gradient_of_first_frame(recurrent=False) == 0.0


@pytest.mark.parametrize(("policy", "value"), [("feedforward", "lstm"), ("feedforward", "feedforward")])
def test_feed_forward_variants_have_a_dense_layer_for_the_lstm_and_no_memory(policy, value):
    config = NetworkConfig(dense=24, lstm=16, policy=policy, value=value)
    actor, critic = build_actor(config), build_critic(config)
    assert actor.state_keys == ()
    assert critic.state_keys == (VALUE_STATE if value == "lstm" else ())
    layer = actor.module.memory.module[0]
    assert (layer.in_features, layer.out_features) == (24, 16)
    data = frames(3).exclude(*POLICY_STATE, *VALUE_STATE, IS_INIT)
    assert "next" not in actor(data.copy()).keys()
    if value == "feedforward":
        assert critic(data.copy())["state_value"].shape == (3, 1)


def test_primers_carry_the_policys_state():
    primers = get_primers_from_module(build_actor(SMALL)).primers
    assert {key: tuple(primers[key].shape) for key in primers.keys()} == dict.fromkeys(POLICY_STATE, (1, 16))


def test_deterministic_exploration_takes_the_modes_and_the_default_samples():
    torch.manual_seed(0)
    actor = build_actor(SMALL)
    data = frames(4)
    modes = actor.get_dist(data.copy()).base_dist.logits.argmax(-1)
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        for _ in range(2):
            assert torch.equal(actor(data.copy())["action"], modes)
    assert not torch.equal(actor(data.copy())["action"], actor(data.copy())["action"])


def test_value_is_in_units_of_reward():
    critic = build_critic(SMALL)
    data = frames(4)
    standardised = critic(data.copy())["state_value"]
    critic.value_normalizer.update(torch.tensor([[10.0], [30.0]]))  # mean 20, deviation 10
    torch.testing.assert_close(critic(data.copy())["state_value"], 20 + 10 * standardised)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"policy": "gru"}, r"network\.policy is 'gru'; choose from lstm, feedforward"),
        ({"value": "mlp"}, r"network\.value is 'mlp'; choose from lstm, feedforward"),
        ({"dense": 0}, r"network\.dense is 0; it must be a whole number of at least 1"),
        ({"lstm": 2.5}, r"network\.lstm is 2\.5; it must be a whole number of at least 1"),
        ({"clip": 0.0}, r"network\.clip is 0\.0; it must be above 0"),
    ],
)
def test_wrong_settings_are_named_with_the_choices(settings, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**settings)
