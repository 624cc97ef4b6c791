"""A deployed policy remembers in any loop, and forgets between episodes."""

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import Compose, InitTracker, TransformedEnv
from torchrl.envs.utils import ExplorationType, set_exploration_type
from torchrl.modules.utils import get_primers_from_module

from dactyl_tl.contract import OBSERVATION_SIZES, policy_keys
from dactyl_tl.models import POLICY_STATE, DeployedPolicy, NetworkConfig, build_actor
from tests.learning.cue import CueEnv


@pytest.fixture
def actor():
    torch.manual_seed(0)
    actor = build_actor(NetworkConfig(dense=24, lstm=16))
    torch.nn.init.orthogonal_(actor.module.head.module.weight, 4.0)
    return actor


def modes(env, policy, steps: int = 20, **options) -> torch.Tensor:
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        return env.rollout(steps, policy, **options)["action"]


def test_a_plain_rollout_remembers_as_one_with_primers_does(actor):
    policy = DeployedPolicy(actor)
    primers = get_primers_from_module(actor)
    plain = modes(CueEnv(3, length=100), policy)
    tracked = modes(TransformedEnv(CueEnv(3, length=100), InitTracker()), policy)
    primed = modes(TransformedEnv(CueEnv(3, length=100), Compose(InitTracker(), primers)), policy)
    assert torch.equal(plain, primed)
    assert torch.equal(tracked, primed)
    # The cue is seen at the first step only, so without memory all later steps would be alike.
    assert not torch.equal(plain[:, 1], plain[:, 10])


def test_episodes_inside_a_rollout_start_from_nothing(actor):
    policy = DeployedPolicy(actor)
    primers = get_primers_from_module(actor)
    tracked = TransformedEnv(CueEnv(3, length=5), InitTracker())
    primed = TransformedEnv(CueEnv(3, length=5), Compose(InitTracker(), primers))
    actions = [modes(env, policy, break_when_any_done=False) for env in (tracked, primed)]
    assert torch.equal(*actions)


def observation(batch: int) -> TensorDict:
    generator = torch.Generator().manual_seed(1)
    return TensorDict(
        {key: torch.randn(batch, OBSERVATION_SIZES[key[-1]], generator=generator) for key in policy_keys()},
        batch_size=[batch],
    )


def test_elapsed_time_tells_an_episodes_start_where_nothing_else_does(actor):
    policy = DeployedPolicy(actor)
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        fresh = policy(observation(2))["action_log_prob"]
        carried = policy(observation(2))
        carried["elapsed"] = torch.tensor([[0.0], [0.08]])
        second = policy(carried)["action_log_prob"]
    assert second[0] == fresh[0]
    assert second[1] != fresh[1]


def test_a_state_that_comes_with_the_data_is_used_and_its_successor_is_next(actor):
    policy = DeployedPolicy(actor)
    data = observation(2)
    for key in POLICY_STATE:
        data[key] = torch.ones(2, 1, 16)
    result = policy(data)
    assert {("next", key) for key in POLICY_STATE} <= set(result.keys(True))
    assert all(torch.equal(result[key], torch.ones(2, 1, 16)) for key in POLICY_STATE)


def test_it_acts_for_a_single_world_and_without_gradients(actor):
    result = DeployedPolicy(actor)(observation(1)[0])
    assert result["action"].shape == (20,)
    assert not result["action_log_prob"].requires_grad
    assert not any(parameter.requires_grad for parameter in actor.parameters())


def test_a_feed_forward_policy_carries_nothing():
    policy = DeployedPolicy(build_actor(NetworkConfig(dense=24, lstm=16, policy="feedforward")))
    rollout = CueEnv(3, length=100).rollout(5, policy)
    assert set(rollout.keys()) & {"_memory", *POLICY_STATE} == set()
