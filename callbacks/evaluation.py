"""Trials of section 6.2's kind while training goes on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer

from callbacks.schedule import Schedule
from dactyl_tl.evaluation.trials import run_trials
from dactyl_tl.evaluation.worlds import SimulatedWorld, simulated_world
from dactyl_tl.protocol import Ending, Limits


class PeriodicEvaluation(Callback):
    """Run the same trials of the present policy now and then, and log their mean.

    The trials take place in this process, between two rollouts, with generators of their own, so that
    training goes on as it would have without them; on the CPU, wherever the training is.

    Args:
        environment: the run's environment settings; goals' limits follow the ones below.
        minutes: between two evaluations.
        trials: of each evaluation, side by side.
        rotations: after which a trial is complete.
        timeout: seconds allowed for each goal.
        seed: of initial states, randomizations, goals and actions.
        threads: of the physics.
    """

    def __init__(
        self,
        environment: Mapping[str, Any],
        minutes: float = 10.0,
        trials: int = 32,
        rotations: int = 50,
        timeout: float = 8.0,
        seed: int = 1_000_000,
        threads: int = 1,
    ) -> None:
        if trials < 1:
            raise ValueError(f"trials is {trials!r}; it must be at least 1")
        self._schedule = Schedule(minutes)
        self._limits = Limits(rotations=rotations, timeout=timeout)
        self._trials, self._seed, self._threads = trials, seed, threads
        self._environment = {key: value for key, value in environment.items() if key != "_target_"}
        self._world: SimulatedWorld | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Evaluate if it is time."""
        if not self._schedule.due or not trainer.is_global_zero:
            return
        results = run_trials(
            self._simulations(), acting_copy(pl_module), self._trials, self._seed, limits=self._limits
        )
        endings = results.endings
        pl_module.log_dict(
            {
                "evaluation/successes": float(results.successes.mean()),
                "evaluation/successes_median": float(np.median(results.successes)),
                "evaluation/drop_rate": endings[Ending.DROPPED] / self._trials,
                "evaluation/rotations_per_minute": results.rotations_per_minute,
            },
            batch_size=1,
            rank_zero_only=True,
        )
        self._schedule.done()

    def _simulations(self) -> SimulatedWorld:
        if self._world is None:
            settings = self._environment | ON_CPU
            goals = {k: v for k, v in settings.pop("goals", {}).items() if k not in ("timeout", "maximum")}
            self._world = simulated_world(
                settings.pop("task"),
                num_trials=self._trials,
                limits=self._limits,
                goals=goals,
                num_threads=self._threads,
                **settings,
            )
        return self._world

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Free the simulations."""
        if self._world is not None:
            self._world.close()
            self._world = None


ON_CPU = {"device": "cpu", "engine": "auto"}
"""Environment settings for the policy's copy."""


def acting_copy(module: LightningModule) -> Any:
    """The present policy on the CPU, apart from the one that is trained."""
    return copy.deepcopy(module.actor).to("cpu").requires_grad_(False)  # type: ignore[operator,union-attr]
