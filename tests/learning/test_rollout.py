"""Values at the ends of episodes, advantages by hand, chunks and their states."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict
from torchrl.objectives.value import GAE

from benchmarks.learner import synthetic_rollout
from dactyl_tl.contract import OBSERVATION_SIZES, privileged_keys
from dactyl_tl.learning.rollout import (
    SIMULATION,
    STATES,
    STEPS,
    evaluate,
    evaluate_in_order,
    in_turns,
    shuffled,
    split_chunks,
    unpacked,
    with_states,
    zero_states,
)
from dactyl_tl.models import IS_INIT, POLICY_STATE, VALUE_STATE, NetworkConfig, build_critic


class ReadsValue(torch.nn.Module):
    """A value network that reads its value off an input, so that numbers can be chosen by hand."""

    state_keys = ()

    def forward(self, data):
        return data.set("state_value", data["privileged", "object_position"][..., :1])


def hand_made(values, next_values, rewards, done, terminated) -> TensorDict:
    """A rollout of one simulation whose observations are their values."""

    def column(numbers, dtype=torch.float32):
        return torch.tensor(numbers, dtype=dtype).reshape(1, -1, 1)

    steps = len(values)
    rollout = TensorDict(batch_size=[1, steps])
    rollout["privileged", "object_position"] = column(values).expand(1, steps, 3)
    rollout["next", "privileged", "object_position"] = column(next_values).expand(1, steps, 3)
    rollout["next", "reward"] = column(rewards)
    rollout["next", "done"], rollout["next", "terminated"] = column(done, bool), column(terminated, bool)
    rollout[IS_INIT] = torch.zeros(1, steps, 1, dtype=torch.bool)
    return rollout


def advantages(rollout: TensorDict, gamma: float, lmbda: float) -> list[float]:
    valuation = evaluate(ReadsValue(), rollout, TensorDict(batch_size=[1]), chunk=4)
    rollout["state_value"] = valuation.value
    rollout["next", "state_value"] = valuation.next_value
    GAE(gamma=gamma, lmbda=lmbda, value_network=None)(rollout)
    torch.testing.assert_close(rollout["value_target"], rollout["advantage"] + rollout["state_value"])
    return rollout["advantage"].flatten().tolist()


def test_advantages_of_four_steps_by_hand_with_an_end_by_drop():
    # gamma 0.5, lambda 0.5. Step 1 drops the object: nothing after it counts.
    rollout = hand_made(
        values=[1.0, 2.0, 3.0, 4.0],
        next_values=[2.0, 99.0, 4.0, 8.0],
        rewards=[1.0, -20.0, 0.0, 5.0],
        done=[False, True, False, False],
        terminated=[False, True, False, False],
    )
    # delta3 = 5 + 0.5 * 8 - 4 = 5, bootstrapped at the rollout's end
    # delta2 = 0 + 0.5 * 4 - 3 = -1;      A2 = -1 + 0.25 * 5 = 0.25
    # delta1 = -20 - 2 = -22              A1 = -22
    # delta0 = 1 + 0.5 * 2 - 1 = 1;       A0 = 1 + 0.25 * -22 = -4.5
    assert advantages(rollout, 0.5, 0.5) == pytest.approx([-4.5, -22.0, 0.25, 5.0])


def test_advantages_of_four_steps_by_hand_with_an_end_by_time():
    # The same, but step 1 ran out of time: its own last observation, worth 6, is bootstrapped, not the
    # 3 of the episode that follows.
    rollout = hand_made(
        values=[1.0, 2.0, 3.0, 4.0],
        next_values=[2.0, 6.0, 4.0, 8.0],
        rewards=[1.0, -20.0, 0.0, 5.0],
        done=[False, True, False, False],
        terminated=[False, False, False, False],
    )
    # delta1 = -20 + 0.5 * 6 - 2 = -19;   A0 = 1 + 0.25 * -19 = -3.75
    assert advantages(rollout, 0.5, 0.5) == pytest.approx([-3.75, -19.0, 0.25, 5.0])


def test_a_drop_at_the_last_step_is_not_bootstrapped():
    rollout = hand_made([1.0, 2.0], [2.0, 50.0], [0.0, -20.0], [False, True], [False, True])
    assert advantages(rollout, 1.0, 1.0) == pytest.approx([-21.0, -22.0])


def observed_one_by_one(critic, rollout, state):
    """Values of observations and of their successors, each simulation and step by itself."""
    n, steps = rollout.shape
    value, following = torch.zeros(n, steps, 1), torch.zeros(n, steps, 1)
    before = {}
    for row in range(n):
        memory = state[row : row + 1].clone()
        for step in range(steps):
            frame = rollout[row : row + 1, step].select("privileged", IS_INIT).update(memory)
            before[row, step] = memory
            after = critic(frame)
            value[row, step] = after["state_value"]
            memory = after["next"].select(*VALUE_STATE)
            if not rollout["next", "terminated"][row, step]:
                ended = rollout["next"][row : row + 1, step].select("privileged").update(memory)
                ended[IS_INIT] = torch.zeros(1, 1, dtype=torch.bool)
                following[row, step] = critic(ended)["state_value"]
    return value, following, before, memory


def test_a_recurrent_value_network_is_exact_where_episodes_end_inside_the_rollout():
    torch.manual_seed(0)
    critic = build_critic(NetworkConfig(dense=24, lstm=16))
    rollout = synthetic_rollout(5, 30, 16, reset_rate=0.15, seed=1)
    # Within an episode a successor is the next observation, as an environment would have it.
    same = ~rollout["next", "done"][:, :-1, 0]
    for key in privileged_keys():
        rollout["next", *key][:, :-1][same] = rollout[key][:, 1:][same]
    done, terminated = rollout["next", "done"], rollout["next", "terminated"]
    assert terminated.any()
    assert (done & ~terminated)[:, :-1].any()

    state = TensorDict({key: torch.randn(5, 1, 16) for key in VALUE_STATE}, batch_size=[5])
    valuation = evaluate(critic, rollout, state, chunk=10)
    with torch.no_grad():
        value, following, before, memory = observed_one_by_one(critic, rollout, state)

    torch.testing.assert_close(valuation.value, value)
    torch.testing.assert_close(valuation.next_value, following)
    assert valuation.chunk_states.shape == (5, 3)
    for key in VALUE_STATE:
        torch.testing.assert_close(valuation.chunk_states[key][3, 2], before[3, 20][key][0])
        torch.testing.assert_close(valuation.last_state[key][4], memory[key][0])


def test_chunks_keep_order_and_the_state_at_their_start():
    rollout = TensorDict(
        {
            "frame": torch.arange(60).reshape(2, 30),
            POLICY_STATE[0]: torch.arange(60.0).reshape(2, 30, 1, 1),
            IS_INIT: torch.zeros(2, 30, 1, dtype=torch.bool),
        },
        batch_size=[2, 30],
    )
    rollout[IS_INIT][1, 10] = True
    chunks, starts = split_chunks(rollout, POLICY_STATE[:1], 10)
    assert chunks.shape == (6, 10)
    assert chunks["frame"][:, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert starts[POLICY_STATE[0]].flatten().tolist() == [0, 10, 20, 30, 40, 50]
    padded = with_states(chunks, starts)[POLICY_STATE[0]]
    assert padded.shape == (6, 10, 1, 1)
    # Chunk 4 starts an episode, so from zero; later steps hold zeros, as the padded backend needs.
    assert padded[:, 0].flatten().tolist() == [0, 10, 20, 30, 0, 50]
    assert not padded[:, 1:].any()


def test_a_rollout_that_is_no_multiple_of_the_chunk_is_refused():
    with pytest.raises(ValueError, match="rollout of 25 steps cannot be cut into chunks of 10"):
        split_chunks(TensorDict(batch_size=[2, 25]), (), 10)


def test_the_order_of_chunks_follows_from_the_counters_alone():
    torch.manual_seed(1)
    order = shuffled(0, 0, 7, 1, 50)
    torch.manual_seed(2)
    assert torch.equal(order, shuffled(0, 0, 7, 1, 50))
    assert sorted(order.tolist()) == list(range(50))
    others = [
        shuffled(1, 0, 7, 1, 50),
        shuffled(0, 1, 7, 1, 50),
        shuffled(0, 0, 8, 1, 50),
        shuffled(0, 0, 7, 0, 50),
    ]
    assert not any(torch.equal(order, other) for other in others)


def test_states_of_a_network_without_memory_are_empty():
    assert zero_states((), 16, 3, torch.device("cpu")).shape == (3,)
    assert sum(OBSERVATION_SIZES.values()) == 85


def test_a_collected_rollout_is_unpacked_to_the_same_steps_and_states():
    plain = synthetic_rollout(3, 30, 16, 0.1, seed=0)
    labels = torch.tensor([2, 0, 1])
    collected = TensorDict(
        {
            STEPS: plain.exclude(*POLICY_STATE).reshape(3, 3, 10),
            STATES: plain.select(*POLICY_STATE)[:, ::10],
            SIMULATION: labels.unsqueeze(1).expand(3, 3),
        },
        batch_size=[3, 3],
    )
    steps, starts = unpacked(collected, POLICY_STATE, 10)
    expected, expected_starts = unpacked(plain, POLICY_STATE, 10)
    assert (steps.exclude(SIMULATION) == expected.exclude(*POLICY_STATE)).all()
    assert (starts == expected_starts).all()
    assert torch.equal(steps[SIMULATION], labels.unsqueeze(1).expand(3, 30))
    with pytest.raises(ValueError, match=r"in chunks of 10 is no use to ppo\.chunk=5"):
        unpacked(collected, POLICY_STATE, 5)


def test_two_rollouts_of_one_simulation_are_valued_one_after_the_other():
    critic = build_critic(NetworkConfig(dense=12, lstm=6))
    first, second = (synthetic_rollout(3, 10, 6, 0.1, seed=seed) for seed in (1, 2))
    states = zero_states(critic.state_keys, 6, 5, "cpu")
    # Simulations 4 and 0 delivered once, 2 twice.
    simulations = [4, 2, 0, 2]
    rows = torch.cat([first, second[1:2]])
    together = evaluate_in_order(critic, rows, states, simulations, 5)

    alone = zero_states(critic.state_keys, 6, 5, "cpu")
    one = evaluate(critic, first, alone[[4, 2, 0]], 5)
    two = evaluate(critic, second[1:2], one.last_state[1:2], 5)
    torch.testing.assert_close(together.value, torch.cat([one.value, two.value]))
    torch.testing.assert_close(together.next_value, torch.cat([one.next_value, two.next_value]))
    for key in critic.state_keys:
        torch.testing.assert_close(
            together.chunk_states[key], torch.cat([one.chunk_states[key], two.chunk_states[key]])
        )
        torch.testing.assert_close(states[2][key], two.last_state[0][key])
        torch.testing.assert_close(states[4][key], one.last_state[0][key])
        assert not states[1][key].any(), "which was not there"


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_turns_have_each_simulation_once_and_in_order(simulations):
    turns = [turn.tolist() for turn in in_turns(simulations)]
    assert sorted(row for turn in turns for row in turn) == list(range(len(simulations)))
    for turn in turns:
        assert len({simulations[row] for row in turn}) == len(turn)
    for simulation in set(simulations):
        rows = [row for turn in turns for row in turn if simulations[row] == simulation]
        assert rows == sorted(rows)
