"""From a rollout to what an update needs: values, and chunks with the states they start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.modules import set_recurrent_mode

from dactyl_tl.contract import PRIVILEGED, SIMULATION, STATES, STEPS
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
        rollout: ``[N, T]`` with ``("privileged", ...)``, ``is_init`` and, under ``"next"``, the
            privileged observations, ``done`` and ``terminated``.
        state: the recurrent state before the rollout, ``[N]``.
        chunk: length of the chunks.
    """
    ends = rollout["next", "done"].squeeze(-1).clone()
    ends[:, -1] = True
    bootstrap = ends & ~rollout["next", "terminated"].squeeze(-1)
    # All that the host has to know of the ends, asked for once: where they are, all of one step
    # before all of the next, and how many there are of each step.
    step, row = bootstrap.t().nonzero(as_tuple=True)
    kept = row.split(bootstrap.sum(0).tolist())
    last = rollout["next"].select(PRIVILEGED)[row, step]

    if critic.state_keys:
        value, starts, state, reached = _unroll(critic, rollout, state, kept, chunk)
        last.update(reached)
        last[IS_INIT] = torch.zeros_like(row, dtype=torch.bool).unsqueeze(-1)
    else:
        value = critic(rollout.select(PRIVILEGED))["state_value"]
        starts = state.unsqueeze(1).expand(len(state), rollout.shape[1] // chunk)

    next_value = torch.zeros_like(value)
    next_value[:, :-1] = value[:, 1:].masked_fill(ends[:, :-1, None], 0.0)
    with set_recurrent_mode(False):
        next_value[row, step] = critic(last)["state_value"]
    # Under autocast the states have half the precision; they are kept in the parameters' own.
    return Valuation(value, next_value, starts.float(), state.float())


def evaluate_in_order(
    critic: Critic, rollout: TensorDictBase, carried: TensorDictBase, simulations: Sequence[int], chunk: int
) -> Valuation:
    """:func:`evaluate`, where a simulation may have several rows: the later ones follow the earlier ones.

    Actors that deliver when they can deliver twice where others are late.

    Args:
        critic: the value network.
        rollout: ``[N, T]``.
        carried: recurrent states before the rollout, of all simulations; those after it are put there.
        simulations: which one each row is of.
        chunk: length of the chunks.
    """
    parts = []
    turns = in_turns(simulations)
    for rows in turns:
        whose = torch.as_tensor([simulations[row] for row in rows], device=rollout.device)
        part = rollout if len(turns) == 1 else rollout[torch.as_tensor(rows, device=rollout.device)]
        parts.append(evaluate(critic, part, carried[whose], chunk))
        carried[whose] = parts[-1].last_state
    if len(parts) == 1:
        return parts[0]
    back = torch.as_tensor(np.argsort(np.concatenate(turns)), device=rollout.device)
    return Valuation(
        *(torch.cat([getattr(each, name.name) for each in parts])[back] for name in fields(Valuation))
    )


def in_turns(simulations: Sequence[int]) -> list[np.ndarray]:
    """Row numbers such that each turn has a simulation once: its first rows, then its second ones, ..."""
    names = np.asarray(simulations)
    order = np.argsort(names, kind="stable")
    _, first, counts = np.unique(names[order], return_index=True, return_counts=True)
    turn = np.empty(len(names), dtype=np.int64)
    turn[order] = np.arange(len(names)) - np.repeat(first, counts)
    return [np.flatnonzero(turn == number) for number in range(counts.max())]


def _unroll(
    critic: Critic, rollout: TensorDictBase, state: TensorDictBase, keep: Sequence[Tensor], chunk: int
) -> tuple[Tensor, TensorDictBase, TensorDictBase, TensorDictBase]:
    """Step the value network through a rollout ``[N, T]``.

    Only the memory has to go step by step; what stands before and after it takes a chunk at a time.

    Returns:
        values ``[N, T, 1]``; states before the chunks ``[N, T / chunk]``; the last state ``[N]``; and
        the states of the rows that ``keep`` names for each step, after that step.
    """
    encoder, memory, head = critic.module.encoder, critic.module.memory, critic.module.head
    values, starts, kept = [], [], []
    rows = iter(keep)
    with set_recurrent_mode(False):
        for frames in rollout.select(PRIVILEGED, IS_INIT).split(chunk, 1):
            starts.append(state)
            features = []
            for step in encoder(frames).unbind(1):
                after = memory(step.update(state))
                state = after["next"].select(*critic.state_keys)
                features.append(after.select(*head.in_keys))
                kept.append(state[next(rows)])
            values.append(head(torch.stack(features, 1))["state_value"])
    return torch.cat(values, 1), torch.stack(starts, 1), state, torch.cat(kept)


def unpacked(
    rollout: TensorDictBase, state_keys: Sequence[str], chunk: int
) -> tuple[TensorDictBase, TensorDictBase]:
    """A rollout's steps ``[N, T]`` and the policy's states before each chunk ``[N T / chunk]``.

    Args:
        rollout: as collected, ``[N, chunks]`` with the entries :data:`STEPS`, :data:`STATES` and
            :data:`SIMULATION`; or plainly ``[N, T]`` with states at every step, of which those where
            a chunk starts are taken.
        state_keys: of the policy's states.
        chunk: length of the chunks.

    Raises:
        ValueError: it is neither, or its steps cannot be cut into chunks of that length.
    """
    if rollout.ndim != 2:
        raise ValueError(f"a rollout has shape [simulations, steps], not {list(rollout.shape)}")
    if STEPS not in rollout.keys():
        if rollout.shape[1] % chunk:
            raise ValueError(
                f"a rollout of {rollout.shape[1]} steps cannot be cut into chunks of ppo.chunk={chunk}"
            )
        return rollout, split_chunks(rollout.select(*state_keys), state_keys, chunk)[1]
    if rollout[STEPS].shape[2] != chunk:
        raise ValueError(f"a rollout in chunks of {rollout[STEPS].shape[2]} is no use to ppo.chunk={chunk}")
    steps = rollout[STEPS].flatten(1, 2)
    steps[SIMULATION] = rollout[SIMULATION].repeat_interleave(chunk, 1)
    states = rollout[STATES].select(*state_keys) if state_keys else TensorDict(batch_size=rollout.shape)
    return steps, states.flatten(0, 1)


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


@dataclass(frozen=True)
class Minibatch:
    """Which chunks an update sees.

    Attributes:
        chunks: their numbers, int64 ``[B]``, where the chunks are.
        inner_starts: as many episodes as start inside them, first steps aside, or a few more.
    """

    chunks: Tensor
    inner_starts: int


def minibatches(
    orders: Sequence[Tensor], parts: int, is_init: Tensor, room: Callable[[int], int] = int
) -> list[list[Minibatch]]:
    """Every epoch's minibatches, with all that the host has to know about them.

    Asks the device once and sends to it once, so that nothing waits between the updates.

    Args:
        orders: of the chunks, int64 ``[chunks]`` in the host's memory, one for each epoch.
        parts: minibatches of an epoch.
        is_init: bool ``[chunks, T, 1]``.
        room: for how many starts inside a minibatch to provide, of how many there are.
    """
    inner = is_init[:, 1:].sum((1, 2)).cpu()
    on_host = torch.stack(list(orders))
    if is_init.is_cuda:
        on_host = on_host.pin_memory()  # or the copy would wait for all work before it
    on_device = on_host.to(is_init.device, non_blocking=True)
    return [
        [
            Minibatch(there, room(int(inner[here].sum())))
            for here, there in zip(host.tensor_split(parts), device.tensor_split(parts), strict=True)
        ]
        for host, device in zip(on_host, on_device, strict=True)
    ]


def shuffled(seed: int, rank: int, rollout: int, epoch: int, size: int) -> Tensor:
    """The order, int64 ``[size]``, in which an epoch visits its chunks.

    A function of how far training is and of nothing that came before, so a resumed run visits them
    in the order that the interrupted one would have.
    """
    entropy = np.random.SeedSequence([seed, rank, rollout, epoch]).generate_state(1)
    return torch.randperm(size, generator=torch.Generator().manual_seed(int(entropy[0])))


def zero_states(state_keys: Sequence[str], size: int, batch: int, device: torch.device) -> TensorDict:
    """The state before an episode, ``[batch]``."""
    return TensorDict(
        {key: torch.zeros(batch, 1, size, device=device) for key in state_keys},
        batch_size=[batch],
        device=device,
    )
