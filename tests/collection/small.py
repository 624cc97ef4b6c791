"""Small collections of the toy world with the project's own networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from tensordict import TensorDictBase

from dactyl_tl.collection.collectors import CollectionPlan, RolloutSource
from dactyl_tl.collection.simulations import make_simulations
from dactyl_tl.collection.sources import SOURCES
from dactyl_tl.contract import SIMULATION, STATES, STEPS
from dactyl_tl.models import Actor, NetworkConfig, build_actor

CHUNK, LENGTH, ENVS = 5, 20, 3


def network(policy: str = "lstm") -> NetworkConfig:
    return NetworkConfig(dense=16, lstm=8, policy=policy, value="feedforward")


def actor(policy: str = "lstm", gain: float = 1.0) -> Actor:
    """A policy that is far from uniform, so that its actions depend on weights and memory."""
    torch.manual_seed(7)
    built = build_actor(network(policy))
    with torch.no_grad():
        built.module.head.module.weight.normal_(0.0, gain)
    return built


def plan(workers: int = 2, policy: str = "lstm", seed: int = 5, **toy: Any) -> CollectionPlan:
    settings = {"_target_": "tests.toy.ToyEnv", "num_envs": ENVS, **toy}
    return CollectionPlan(
        make_env=partial(make_simulations, settings, (100,)),
        make_policy=partial(build_actor, network(policy)),
        workers=workers,
        steps=LENGTH,
        chunk=CHUNK,
        seed=seed,
    )


@contextmanager
def running(kind: str, the_plan: CollectionPlan, policy: Actor) -> Iterator[RolloutSource]:
    source = SOURCES[kind](the_plan, policy)
    try:
        yield source
    finally:
        source.close()


def as_rollout(collected: TensorDictBase) -> TensorDictBase:
    """[N, chunks] of chunks of T steps to [N, chunks * T] steps, for who wants states at every step.

    A recurrent state stands at the first step of its chunk, with zeros after it. The learner takes
    rollouts as they were collected: these zeros can be more than all the rest.
    """
    rollout = collected[STEPS].flatten(1, 2)
    n, chunks, steps = collected[STEPS].shape
    rollout[SIMULATION] = collected[SIMULATION].repeat_interleave(steps, 1)
    for key, states in collected[STATES].items(True, True):
        spread = states.new_zeros(n, chunks, steps, *states.shape[2:])
        spread[:, :, 0] = states
        rollout.set(key, spread.flatten(1, 2))
    return rollout
