"""From a rollout to what an update needs: values, and chunks with the states they start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.modules import set_recurrent_mode

from dactyl_tl.contract import PRIVILEGED
from dactyl_tl.models import IS_INIT, Critic


@dataclass(frozen=True)
class Valuation:
    """What the value network makes of a rollout ``[N, T]``.

    Attributes:
        value: of each observation, ``[N, T, 1]`` in units of reward.
        next_value: of the observation that each step led to, ``[N, T, 1]``; 0 where it terminated.
        chunk_states: the recurrent state before each chunk, ``[N, T / chunk]``; no entries if the
            network has no memory.
        last_state: the recurrent state after the rollout, ``[N]``; no entries if none.
    """

    value: Tensor
    next_value: Tensor
    chunk_states: TensorDictBase
    last_state: TensorDictBase


@torch.no_grad()
def evaluate(critic: Critic, rollout: TensorDictBase, state: TensorDictBase, chunk: int) -> Valuation:
    """Run the value network over a rollout once, as if it had watched the collection.

    Within an episode the value of the next observation is the next step's value, so one pass does.
    Where an episode was truncated, and at the rollout's end, the true last observation in
    ``("next", ...)`` is valued with the state that the episode had reached, never the first
    observation of the episode that follows.

    Args:
        critic: the value network.
        rollout: ``[N, T]`` with ``("privileged", ...)``, ``is_init`` if the network is recurrent,
            and under ``"next"`` the privileged observations, ``done`` and ``terminated``.
        state: the recurrent state before the rollout, ``[N]``.
        chunk: length of the chunks.
    """
    num_steps = rollout.shape[1]
    steps = rollout.select(PRIVILEGED, *((IS_INIT,) if critic.state_keys else ()))
    if critic.state_keys:
        value, states = _unroll(critic, steps, state)
    else:
        value = critic(steps)["state_value"]
        states = [state] * (num_steps + 1)

    terminated = rollout["next", "terminated"].squeeze(-1)
    ends = rollout["next", "done"].squeeze(-1).clone()
    ends[:, -1] = True
    next_value = torch.zeros_like(value)
    next_value[:, :-1] = value[:, 1:]
    next_value[ends] = 0.0

    bootstrap = ends & ~terminated
    last = rollout["next"].select(PRIVILEGED)[bootstrap]
    if len(last):
        if critic.state_keys:
            last[IS_INIT] = torch.zeros(len(last), 1, dtype=torch.bool, device=value.device)
            # Boolean indexing walks rows first: go through the steps of each row in that order.
            row, step = bootstrap.nonzero(as_tuple=True)
            for key in critic.state_keys:
                last[key] = _gather([each[key] for each in states[1:]], row, step)
        with set_recurrent_mode(False):
            next_value[bootstrap] = critic(last)["state_value"]
    return Valuation(value, next_value, torch.stack(states[:-1:chunk], 1), states[-1])


def _unroll(
    critic: Critic, steps: TensorDictBase, state: TensorDictBase
) -> tuple[Tensor, list[TensorDictBase]]:
    """Values ``[N, T, 1]`` and the T + 1 states before, between and after the steps."""
    values, states = [], [state]
    with set_recurrent_mode(False):
        for step in steps.unbind(1):
            after = critic(step.update(state))
            values.append(after["state_value"])
            state = after["next"].select(*critic.state_keys)
            states.append(state)
    return torch.stack(values, 1), states


def _gather(states: Sequence[Tensor], row: Tensor, step: Tensor) -> Tensor:
    """``states[step][row]`` for each pair, without stacking every state of the rollout."""
    gathered = states[0].new_empty(len(row), *states[0].shape[1:])
    for index in step.unique().tolist():
        chosen = step == index
        gathered[chosen] = states[index][row[chosen]]
    return gathered


def split_chunks(
    rollout: TensorDictBase, state_keys: Sequence[str], chunk: int
) -> tuple[TensorDictBase, TensorDictBase]:
    """Cut a rollout ``[N, T]`` into chunks ``[N T / chunk, chunk]`` and the states at their starts.

    A state at the first step of an episode is zero whatever was stored, as it was when acting.

    Returns:
        the chunks without the states, and the states ``[N T / chunk]``.

    Raises:
        ValueError: the length of the rollout is not a multiple of ``chunk``.
    """
    num_steps = rollout.shape[1]
    if num_steps % chunk:
        raise ValueError(f"a rollout of {num_steps} steps cannot be cut into chunks of {chunk} steps")
    starts = rollout.select(*state_keys)[:, ::chunk].flatten(0, 1)
    chunks = rollout.exclude(*state_keys).reshape(-1, chunk)
    return chunks, starts


def with_states(chunks: TensorDictBase, starts: TensorDictBase) -> TensorDictBase:
    """Chunks ``[B, T]`` with their states where ``LSTMModule`` looks for them.

    The state is that of ``starts`` at the first step and zero at the others: the padded backend
    reads it at the first step of the chunk and of each episode that starts inside it.
    """
    chunks = chunks.copy()
    for key, start in starts.items():
        padded = start.new_zeros(*chunks.shape, *start.shape[1:])
        # A first step of an episode starts from zero whatever was stored before it.
        padded[:, 0] = start.masked_fill(chunks[IS_INIT][:, 0].unsqueeze(-1), 0.0)
        chunks.set(key, padded)
    return chunks


def zero_states(state_keys: Sequence[str], size: int, batch: int, device: torch.device) -> TensorDict:
    """The state before an episode, ``[batch]``."""
    return TensorDict(
        {key: torch.zeros(batch, 1, size, device=device) for key in state_keys},
        batch_size=[batch],
        device=device,
    )
