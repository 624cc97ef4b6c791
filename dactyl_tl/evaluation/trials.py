"""Run trials of a policy in a world and keep what came of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensordict.nn import TensorDictModuleBase

from dactyl_tl.evaluation.statistics import Summary, rotations_per_minute, summarize
from dactyl_tl.protocol import Ending, Limits, World
from dactyl_tl.trials import Trial, Watcher, batch_seed_of, collect_trials, run_batch


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
        referee = run_batch(world, policy, batch_seed, limits, sample_actions, watchers)
        done += collect_trials(referee, batch_seed, first=len(done))
    return TrialResults(name, seed, limits, tuple(done[:trials]), settings or {})
