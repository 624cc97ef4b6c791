"""Specs of the environment: the entries of a step.

=======================================  ===========  =====================================================
``("policy", name)``                     float32      noisy inputs of the policy (Table 2)
``("privileged", name)``                 float32      noiseless inputs of the value network (Table 2)
``goal_distance``                        (N, 1)       rad, to the present goal
``successes``                            int64 (N,1)  goals achieved in this episode
``elapsed``                              (N, 1)       simulated seconds of this episode
``achieved``, ``dropped``, ``diverged``  bool (N, 1)  what happened in this step
``("reward_terms", name)``               (N, 1)       weighted terms; their sum is ``reward``
``reward``                               (N, 1)
``done``, ``terminated``, ``truncated``  bool (N, 1)
``action``                               int64        (N, 20), each one of 11 bins
=======================================  ===========  =====================================================
"""

from __future__ import annotations

import torch
from torchrl.data import Binary, Categorical, Composite, MultiCategorical, Unbounded

from dactyl_tl.contract import (
    NUM_ACTUATORS,
    NUM_BINS,
    OBSERVATION_SIZES,
    POLICY,
    POLICY_INPUTS,
    PRIVILEGED,
    PRIVILEGED_INPUTS,
    REWARD_TERMS,
)


def action_spec(n: int, device: torch.device) -> MultiCategorical:
    """One of 11 bins for each of the 20 actuators: int64 (n, 20)."""
    return MultiCategorical([NUM_BINS] * NUM_ACTUATORS, shape=(n, NUM_ACTUATORS), device=device)


def observation_spec(n: int, device: torch.device) -> Composite:
    """Observations and what happened in the step."""

    def floats(size: int) -> Unbounded:
        return Unbounded(shape=(n, size), dtype=torch.float32, device=device)

    def flag() -> Binary:
        return Binary(n=1, shape=(n, 1), dtype=torch.bool, device=device)

    def group(names: tuple[str, ...], sizes: dict[str, int]) -> Composite:
        return Composite({name: floats(sizes[name]) for name in names}, shape=(n,), device=device)

    return Composite(
        {
            POLICY: group(POLICY_INPUTS, OBSERVATION_SIZES),
            PRIVILEGED: group(PRIVILEGED_INPUTS, OBSERVATION_SIZES),
            "reward_terms": group(REWARD_TERMS, dict.fromkeys(REWARD_TERMS, 1)),
            "goal_distance": floats(1),
            "elapsed": floats(1),
            "successes": Unbounded(shape=(n, 1), dtype=torch.int64, device=device),
            "achieved": flag(),
            "dropped": flag(),
            "diverged": flag(),
        },
        shape=(n,),
        device=device,
    )


def reward_spec(n: int, device: torch.device) -> Unbounded:
    """The reward: float32 (n, 1)."""
    return Unbounded(shape=(n, 1), dtype=torch.float32, device=device)


def done_spec(n: int, device: torch.device) -> Composite:
    """``done``, ``terminated``, ``truncated``: bool (n, 1)."""
    return Composite(
        {
            name: Categorical(2, shape=(n, 1), dtype=torch.bool, device=device)
            for name in ("done", "terminated", "truncated")
        },
        shape=(n,),
        device=device,
    )
