"""Trials of a policy in any world that observes and acts: simulation, or the hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import nn
from torchrl.envs.utils import ExplorationType, set_exploration_type

from dactyl_tl.estimators.bundles import PoseEstimator
from dactyl_tl.goals import GoalConfig
from dactyl_tl.protocol import Ending, Events, Limits, Referee, World

Watcher = Callable[[World, Referee], None]
"""Called when trials begin and after every control step: progress bars, videos, viewers."""


@dataclass(frozen=True)
class Trial:
    """What came of one trial.

    Attributes:
        index: Position among all trials, from 0.
        seed: Seed that its batch began with.
        slot: Position within its batch.
        successes: Consecutive rotations achieved.
        ending: Why it ended.
        seconds: How long it lasted.
        goal_seconds: When each rotation was achieved, in seconds since the start.
    """

    index: int
    seed: int
    slot: int
    successes: int
    ending: Ending
    seconds: float
    goal_seconds: tuple[float, ...]


@dataclass(frozen=True)
class Turn:
    """Whose trial is next in the physical world.

    Attributes:
        number: Position among all turns, from 0.
        policy: Whose it is, by name.
        source: Where that policy came from: the path of a bundle, or words.
        trial: Number of the policy's trial, from 0; the same number, the same goals for every policy.
        seed: Of the trial.
        sample_actions: Whether actions are sampled from the policy's distribution.
    """

    number: int
    policy: str
    source: str
    trial: int
    seed: int
    sample_actions: bool = True


@dataclass(frozen=True)
class Commission:
    """What a physical world is opened for.

    Attributes:
        task: Whose object, key of ``dactyl_tl.simulation.scene.TASKS``.
        hand: Parameters of a simulated hand.
        goals: Which orientations are asked for.
        limits: When a trial ends.
        actions: By the policy's name, how its actions move the hand: ``relative``, ``smoothing``.
        bundles: By the policy's name, the digest of its bundle, where it comes from one.
        estimator: Sees the object; None where its pose is measured otherwise.
        faces: Of the object, for people: each its corners (k, 3) m, a letter and a colour.
        hardware: Settings of the laboratory, plain values.
        output: Directory of everything that is kept.
    """

    task: str
    hand: str
    goals: GoalConfig
    limits: Limits
    actions: Mapping[str, Mapping[str, Any]]
    bundles: Mapping[str, str]
    estimator: PoseEstimator | None
    faces: Sequence[tuple[Any, str, str]]
    hardware: Mapping[str, Any]
    output: Path


def run_batch(
    world: World,
    policy: TensorDictModuleBase,
    seed: int,
    limits: Limits,
    sample_actions: bool = True,
    watchers: Sequence[Watcher] = (),
) -> Referee:
    """Run as many trials as the world runs side by side, to their ends; see :func:`run_trials`."""
    exploration = ExplorationType.RANDOM if sample_actions else ExplorationType.DETERMINISTIC
    referee = Referee(limits, world.num_trials)
    with torch.random.fork_rng(), torch.no_grad(), set_exploration_type(exploration):
        world.begin(seed)
        torch.manual_seed(seed)
        memory = empty_memory(policy, world.num_trials)
        for watch in watchers:
            watch(world, referee)
        while not referee.finished:
            events, memory = act_once(world, policy, memory)
            referee.watch(events)
            for watch in watchers:
                watch(world, referee)
    return referee


def act_once(
    world: World, policy: TensorDictModuleBase, memory: TensorDictBase
) -> tuple[Events, TensorDictBase]:
    """One control step of every trial: what happened, and the recurrent state to carry on."""
    decision = policy(world.observe().update(memory))
    after = decision["next"].select(*memory.keys(True, True)) if memory.keys() else memory
    return world.act(decision["action"]), after


def empty_memory(policy: nn.Module, num_trials: int) -> TensorDict:
    """The recurrent state before the first observation: zeros, as in training."""
    memory = TensorDict({}, batch_size=[num_trials])
    for module in policy.modules():
        make_primer: Any = getattr(module, "make_tensordict_primer", None)
        if make_primer is not None:
            for key, spec in make_primer().primers.items(True, True):
                memory[key] = spec.zero([num_trials])
    return memory


def batch_seed_of(seed: int, batch: int) -> int:
    """A seed below 2**31 that no two (seed, batch) pairs are likely to share."""
    return int(np.random.SeedSequence([seed, batch]).generate_state(1)[0] >> 1)


def collect_trials(referee: Referee, seed: int, first: int) -> list[Trial]:
    """What came of a batch whose trials have all ended; ``first`` is the index of its first one."""
    trials = []
    for slot, ending in enumerate(referee.endings):
        assert ending is not None, "a batch returns only when every trial has ended"
        trials.append(
            Trial(
                index=first + slot,
                seed=seed,
                slot=slot,
                successes=int(referee.successes[slot]),
                ending=ending,
                seconds=float(referee.seconds[slot]),
                goal_seconds=tuple(referee.goal_seconds[slot]),
            )
        )
    return trials
