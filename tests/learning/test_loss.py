"""The clipped objective, the value loss and the entropy bonus against numbers computed by hand."""

import math

import pytest
import torch
from tensordict import TensorDict
from torchrl.modules import set_recurrent_mode

from benchmarks.learner import synthetic_rollout
from dactyl_tl.contract import NUM_ACTUATORS, OBSERVATION_SIZES, policy_keys, privileged_keys
from dactyl_tl.learning import PPOConfig
from dactyl_tl.learning.advantages import standardized
from dactyl_tl.learning.loss import PPOLoss
from dactyl_tl.learning.rollout import Minibatch, split_chunks, with_states
from dactyl_tl.models import POLICY_STATE, VALUE_STATE, NetworkConfig, build_actor, build_critic

SMALL = NetworkConfig(dense=24, lstm=16, policy="feedforward", value="feedforward")


def minibatch(ratios, advantages, targets) -> tuple[TensorDict, PPOLoss]:
    """One chunk of frames with the importance ratios, advantages and value targets given."""
    torch.manual_seed(0)
    actor, critic = build_actor(SMALL), build_critic(SMALL)
    frames = len(ratios)
    data = TensorDict(
        {
            key: torch.randn(1, frames, OBSERVATION_SIZES[key[-1]])
            for key in policy_keys() + privileged_keys()
        },
        batch_size=[1, frames],
    )
    data["action"] = torch.randint(0, 11, (1, frames, NUM_ACTUATORS))
    new = actor.get_dist(data.copy()).log_prob(data["action"]).detach()
    data["action_log_prob"] = new - torch.tensor([ratios]).log()
    data["advantage"] = torch.tensor([advantages]).unsqueeze(-1)
    data["value_target"] = torch.tensor([targets]).unsqueeze(-1)
    return data, PPOLoss(actor, critic, PPOConfig())


def test_clipped_objective_by_hand():
    # Advantages 3, 1, -1, -3: mean 0, sample variance 20/3. Ratios are clipped to 0.8 .. 1.2.
    data, loss = minibatch([1.5, 0.5, 0.5, 1.5], [3.0, 1.0, -1.0, -3.0], [0.0] * 4)
    data["advantage"] = standardized(data["advantage"], [[Minibatch(torch.arange(1), 0)]])[0][0]
    result = loss(data)
    deviation = math.sqrt(20 / 3)
    # min(1.5 * 3, 1.2 * 3) + min(0.5, 0.8) + min(-0.5, -0.8) + min(-4.5, -3.6)
    expected = -(3.6 + 0.5 - 0.8 - 4.5) / deviation / 4
    assert result["loss_objective"].item() == pytest.approx(expected, rel=1e-4)
    assert result["clip_fraction"].item() == 1.0
    # Schulman's estimator: ratio - 1 - log ratio.
    kl = (0.5 - math.log(1.5) - 0.5 - math.log(0.5)) / 2
    assert result["kl_approx"].item() == pytest.approx(kl, rel=1e-4)


def test_value_loss_is_taken_between_standardised_values():
    data, loss = minibatch([1.0, 1.0], [1.0, -1.0], [30.0, 10.0])
    loss.critic_network.value_normalizer.update(torch.tensor([[0.0], [20.0]]))  # mean 10, deviation 10
    predicted = loss.critic_network(data.copy())["state_value"].flatten().tolist()
    expected = (
        sum(((value - 10) / 10 - target) ** 2 for value, target in zip(predicted, (2.0, 0.0), strict=True))
        / 2
    )
    assert loss(data)["loss_critic"].item() == pytest.approx(expected, rel=1e-4)


def test_entropy_is_that_of_all_actuators_and_its_loss_is_weighted():
    data, loss = minibatch([1.0, 1.0], [1.0, -1.0], [0.0, 0.0])
    result = loss(data)
    assert result["entropy"].item() == pytest.approx(20 * math.log(11), abs=0.05)
    assert result["loss_entropy"].item() == pytest.approx(-0.01 * result["entropy"].item(), rel=1e-5)


@pytest.mark.parametrize(("target", "acts"), [(50.0, True), (40.0, False)])
def test_the_entropy_bonus_acts_only_below_its_target(target, acts):
    data, _ = minibatch([1.0, 1.0], [1.0, -1.0], [0.0, 0.0])
    loss = PPOLoss(build_actor(SMALL), build_critic(SMALL), PPOConfig(entropy_target=target))
    assert (loss(data)["loss_entropy"].item() < 0) is acts


def test_a_log_probability_for_each_actuator_is_refused():
    data, loss = minibatch([1.0, 1.0], [1.0, -1.0], [0.0, 0.0])
    data["action_log_prob"] = torch.zeros(1, 2, NUM_ACTUATORS)
    with pytest.raises(RuntimeError):
        loss(data)


@pytest.mark.parametrize("term", ["loss_objective", "loss_critic"])
def test_gradients_of_the_loss_flow_through_time(term):
    # Errors of the last frame alone must reach the first frame, by way of the recurrent state.
    torch.manual_seed(0)
    config = NetworkConfig(dense=24, lstm=16)
    loss = PPOLoss(build_actor(config), build_critic(config), PPOConfig())
    torch.nn.init.orthogonal_(loss.actor_network.module.head.module.weight)
    rollout = synthetic_rollout(4, 10, 16, reset_rate=0.0, seed=0)
    chunks, starts = split_chunks(rollout, POLICY_STATE, 10)
    for key in VALUE_STATE:
        starts[key] = torch.zeros(4, 1, 16)
    data = with_states(chunks, starts)
    inputs = data["policy" if term == "loss_objective" else "privileged", "object_position"].requires_grad_()
    data["advantage"] = torch.zeros(4, 10, 1)
    data["advantage"][:, -1] = torch.tensor([1.0, -1.0, 2.0, -2.0]).unsqueeze(-1)
    with torch.no_grad(), set_recurrent_mode(True):
        target = loss.critic_network(data.copy())["state_value"]
    target[:, -1] += 1
    loss(data.set("value_target", target))[term].backward()
    assert inputs.grad[:, 0].abs().sum() > 0
