"""TorchRL's clipped PPO loss, with value targets normalised by running statistics."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution
from torchrl.objectives import ClipPPOLoss

from dactyl_tl.learning.config import PPOConfig
from dactyl_tl.models import Actor, Critic


class PPOLoss(ClipPPOLoss):
    """``ClipPPOLoss`` as App. D.1 has it, with normalised value targets.

    Differs from its parent in four places. The value loss is taken between standardised values;
    the divergence it reports is Schulman's estimator ``ratio - 1 - log ratio``, which is never negative and
    varies less; the entropy bonus can stop at a target; and the entropy is the distribution's own,
    without a look at each minibatch whether it is finite, for which a GPU would stop. Takes chunks
    ``[B, T]``, through which gradients flow: TorchRL runs the networks of a loss in recurrent mode; their
    advantages are standardised before, which takes all ranks.

    Args:
        actor: the policy.
        critic: the value network.
        config: of PPO.
    """

    def __init__(self, actor: Actor, critic: Critic, config: PPOConfig) -> None:
        super().__init__(
            actor,
            critic,
            clip_epsilon=config.clip,
            entropy_coeff=config.entropy_coefficient,
            critic_coeff=1.0,
            loss_critic_type="l2",
            normalize_advantage=False,
            log_explained_variance=False,
            # The networks stay ordinary submodules: nothing to swap in and out at each call.
            functional=False,
        )
        self.entropy_target = config.entropy_target

    def _critic_loss_inputs(
        self, target_return: Tensor, state_value: Tensor, old_state_value: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        normalize = self.critic_network.value_normalizer.normalize
        old = None if old_state_value is None else normalize(old_state_value)
        return normalize(target_return), normalize(state_value), old

    def _log_weight(
        self, tensordict, adv_shape: torch.Size
    ) -> tuple[Tensor, Distribution, Tensor, Tensor | None]:
        log_ratio, policy, _, correction = super()._log_weight(tensordict, adv_shape)
        detached = log_ratio.detach()
        return log_ratio, policy, detached.expm1() - detached, correction

    def _get_entropy(self, dist: Distribution, adv_shape: torch.Size) -> Tensor:
        return dist.entropy().unsqueeze(-1)

    def _weighted_loss_entropy(self, entropy: Tensor) -> Tensor:
        bonus = super()._weighted_loss_entropy(entropy)
        if self.entropy_target is None:
            return bonus
        return bonus * (entropy.detach().mean() < self.entropy_target)
