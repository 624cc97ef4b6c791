"""A trained policy to act with, in any loop that carries a tensordict along."""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase

from dactyl_tl.contract import policy_keys
from dactyl_tl.models.networks import IS_INIT, Actor

MEMORY = "_memory"
"""Entry in which a deployed policy keeps its recurrent state where the environment does not."""


class DeployedPolicy(TensorDictModuleBase):
    """The policy with frozen weights and statistics, which looks after its own recurrent state.

    Where the tensordict brings the recurrent state, as with TorchRL's primers, it is read there and
    its successor written under ``("next", ...)``, as :class:`Actor` does. Where it does not, as in a
    plain ``env.rollout(100, policy)``, the state is kept in the tensordict under :data:`MEMORY`,
    which TorchRL's loops carry from step to step.

    The state is zero at the first step and wherever ``is_init`` is set. Without ``is_init``, an
    episode is taken to start where the environment's ``elapsed`` time is 0. With neither, the state
    outlives episodes: one call sequence is one episode.

    Args:
        actor: the policy; its parameters no longer require gradients.
    """

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self.actor = actor.eval().requires_grad_(False)
        self.in_keys = policy_keys()
        self.out_keys = ["action", "action_log_prob"]

    @torch.no_grad()
    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write ``action`` int64 ``[..., actuators]`` and ``action_log_prob``; random unless told otherwise.

        ``with set_exploration_type(ExplorationType.DETERMINISTIC)`` takes the likeliest bins.
        """
        state_keys = self.actor.state_keys
        inputs = tensordict.select(*self.in_keys)
        primed = all(tensordict.get(key, None) is not None for key in state_keys)
        if state_keys:
            inputs.update(tensordict.select(*state_keys) if primed else self._memory(tensordict))
            inputs.set(IS_INIT, self._starts(tensordict))
        decision = self.actor(inputs)
        tensordict.update(decision.select(*self.out_keys))
        if state_keys:
            after = decision["next"].select(*state_keys)
            if primed:
                tensordict.setdefault("next", TensorDict(batch_size=tensordict.batch_size)).update(after)
            else:
                tensordict.set(MEMORY, after)
        return tensordict

    def _memory(self, tensordict: TensorDictBase) -> TensorDictBase:
        memory = tensordict.get(MEMORY, None)
        if memory is not None:
            return memory
        parameter = next(self.actor.parameters())
        shape = (*tensordict.batch_size, 1, self.actor.config.lstm)
        return TensorDict(
            {key: parameter.new_zeros(shape) for key in self.actor.state_keys},
            batch_size=tensordict.batch_size,
        )

    @staticmethod
    def _starts(tensordict: TensorDictBase) -> torch.Tensor:
        """Bool ``[..., 1]``: where an episode starts."""
        is_init = tensordict.get(IS_INIT, None)
        if is_init is not None:
            return is_init
        elapsed = tensordict.get("elapsed", None)
        if elapsed is not None:
            return elapsed == 0
        return torch.zeros(*tensordict.batch_size, 1, dtype=torch.bool, device=tensordict.device)
