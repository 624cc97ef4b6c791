"""Run trials of a policy in a world and keep what came of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import nn
from torchrl.envs.utils import ExplorationType, set_exploration_type

from dactyl_tl.evaluation.protocol import Ending, Events, Limits, Referee
from dactyl_tl.evaluation.statistics import Summary, rotations_per_minute, summarize
from dactyl_tl.evaluation.worlds import World

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
class TrialResults:
    """Trials of one policy, and the settings that make them what they are.

    Attributes:
        policy: Name of the policy, for tables.
        seed: The seed all batches' seeds derive from.
        limits: The protocol's limits.
        trials: Every trial, in order.
        settings: What else defines the trials (task, randomization, goals, ...), for reports.
    """

    policy: str
    seed: int
    limits: Limits
    trials: tuple[Trial, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def successes(self) -> NDArray[np.int64]:
        """Consecutive rotations of each trial, shape (trials,)."""
        return np.array([trial.successes for trial in self.trials], dtype=np.int64)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Duration of each trial in seconds, shape (trials,)."""
        return np.array([trial.seconds for trial in self.trials], dtype=np.float64)

    @property
    def endings(self) -> dict[Ending, int]:
        """How many trials ended for each reason, every reason named."""
        counts = Counter(trial.ending for trial in self.trials)
        return {ending: counts[ending] for ending in Ending}

    @property
    def rotations_per_minute(self) -> float:
        """Rotations of all trials together over their total duration."""
        return rotations_per_minute(self.successes, self.seconds)

    def summary(self) -> Summary:
        """Table 3's columns, with the mean's 95 % bootstrap interval."""
        return summarize(self.successes)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as written to JSON; :meth:`from_dict` reads it back."""
        return {
            "policy": self.policy,
            "seed": self.seed,
            "limits": asdict(self.limits),
            "settings": dict(self.settings),
            "trials": [asdict(trial) | {"ending": str(trial.ending)} for trial in self.trials],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrialResults:
        """Read what :meth:`to_dict` wrote."""
        trials = (
            Trial(**{**row, "ending": Ending(row["ending"]), "goal_seconds": tuple(row["goal_seconds"])})
            for row in data["trials"]
        )
        return cls(data["policy"], data["seed"], Limits(**data["limits"]), tuple(trials), data["settings"])


def run_trials(
    world: World,
    policy: TensorDictModuleBase,
    trials: int,
    seed: int = 0,
    *,
    limits: Limits | None = None,
    sample_actions: bool = True,
    watchers: Sequence[Watcher] = (),
    name: str = "policy",
    settings: Mapping[str, Any] | None = None,
) -> TrialResults:
    """Run section 6.2's protocol: trials until the object is dropped, a goal takes too long, or enough
    rotations are achieved.

    The world runs ``world.num_trials`` trials side by side, in as many batches as needed; a surplus in
    the last batch is not reported. A batch's seed depends on ``seed`` and its number only, so every
    policy meets the same initial states, randomizations and first goals.

    Actions are sampled from the policy's distribution unless ``sample_actions`` is false. The paper's
    policy is that distribution (appendix A): it is what was trained, and what is evaluated by default.
    Its mode is another policy, often a better one once trained and a stuck one before.

    Args:
        world: Where the trials run.
        policy: Reads ``contract.policy_keys()``, ``is_init`` and its own recurrent state; writes
            ``action`` and, under ``next``, the recurrent state to carry on.
        trials: Number of trials to report.
        seed: Seed of initial states, randomizations, goals and sampled actions.
        limits: When a trial ends; section 6.2's by default. The world's own must not be narrower.
        sample_actions: Sample actions, or take the most likely ones.
        watchers: Called with the world and the referee as trials begin and after every step.
        name: The policy's name in tables.
        settings: What else defines the trials, kept with the results.

    Raises:
        ValueError: If ``trials`` is not positive.
    """
    if trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
    limits = limits or Limits()
    done: list[Trial] = []
    for batch in range(math.ceil(trials / world.num_trials)):
        batch_seed = batch_seed_of(seed, batch)
        referee = _run_batch(world, policy, batch_seed, limits, sample_actions, watchers)
        done += _collect(referee, batch_seed, first=len(done))
    return TrialResults(name, seed, limits, tuple(done[:trials]), settings or {})


def _run_batch(
    world: World,
    policy: TensorDictModuleBase,
    seed: int,
    limits: Limits,
    sample_actions: bool,
    watchers: Sequence[Watcher],
) -> Referee:
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


def _collect(referee: Referee, seed: int, first: int) -> list[Trial]:
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
