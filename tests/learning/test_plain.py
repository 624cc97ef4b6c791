"""The update against an independent one written plainly in PyTorch."""

import pytest
import torch

from benchmarks.learner import fit, plain_copy, plain_orders, plain_rollout, synthetic_rollout
from benchmarks.plain_ppo import PlainPPO
from dactyl_tl.learning import PPOConfig, PPOModule
from dactyl_tl.models import NetworkConfig, build_actor, build_critic


class Rollouts(torch.utils.data.IterableDataset):
    """Each rollout for the plain update first, then for the module."""

    def __init__(self, module: PPOModule, plain: PlainPPO, rollouts: list) -> None:
        self.module, self.plain, self.rollouts = module, plain, rollouts

    def __len__(self) -> int:
        return len(self.rollouts)

    def __iter__(self):
        for rollout in self.rollouts:
            self.plain.update(plain_rollout(rollout), plain_orders(self.module, rollout.numel() // 10))
            yield rollout


@pytest.mark.parametrize("reset_rate", [0.0, 0.1])
def test_the_same_rollouts_lead_to_the_same_weights(reset_rate):
    torch.manual_seed(0)
    network = NetworkConfig(dense=24, lstm=16)
    module = PPOModule(
        build_actor(network), build_critic(network), PPOConfig(epochs=2, minibatches=3, learning_rate=1e-3)
    )
    plain = plain_copy(module)
    before = [parameter.detach().clone() for parameter in plain.policy.parameters()]
    rollouts = [synthetic_rollout(6, 30, 16, reset_rate, seed) for seed in range(3)]

    fit(module, Rollouts(module, plain, rollouts), [])

    assert (
        max((new - old).abs().max() for new, old in zip(plain.policy.parameters(), before, strict=True))
        > 1e-3
    )
    for network, expected in ((module.actor, plain.policy), (module.critic, plain.value)):
        ours = [parameter for name, parameter in network.named_parameters()]
        for parameter, reference in zip(ours, expected.parameters(), strict=True):
            torch.testing.assert_close(parameter, reference, atol=2e-5, rtol=1e-3)
        mean, std = expected.statistics.scale()
        torch.testing.assert_close(network.normalizer.mean.float(), mean)
        torch.testing.assert_close(network.normalizer.standard_deviation().float(), std)
    torch.testing.assert_close(
        module.critic.value_normalizer.mean.float(), plain.targets.scale()[0], atol=1e-5, rtol=1e-4
    )
