"""Evaluation on a hand: the same policies, protocol and tables as in simulation."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from dactyl_tl.checkpoint import bundle_digest
from dactyl_tl.envs import ActionConfig
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators.bundles import load_estimator
from dactyl_tl.evaluation.campaign import FILE, PhysicalWorld, open_log, run_campaign, warm_up
from dactyl_tl.evaluation.policies import NamedPolicy
from dactyl_tl.evaluation.settings import EvaluationSettings
from dactyl_tl.evaluation.trials import TrialResults
from dactyl_tl.evaluation.watchers import reporter
from dactyl_tl.goals import GoalConfig
from dactyl_tl.progress import progress_reports
from dactyl_tl.rendering.objects import look_of
from dactyl_tl.simulation.scene import TASKS
from dactyl_tl.trials import Commission

Opener = Callable[[Commission], PhysicalWorld]


def commission_of(settings: EvaluationSettings, policies: Sequence[NamedPolicy], task: str) -> Commission:
    """What the physical world has to provide.

    Raises:
        ConfigurationError: The goals or the estimator cannot be used.
    """
    try:
        goals = GoalConfig(**settings.goals)
        actions = {
            policy.name: asdict(ActionConfig(**(dict(settings.actions) or policy.actions)))
            for policy in policies
        }
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    estimator = load_estimator(settings.pose[0]) if settings.observation == "vision" else None
    look = look_of(TASKS[task].object_name, estimator.look if estimator else "lettered")
    sources = {policy.name: Path(policy.source) for policy in policies if Path(policy.source).exists()}
    return Commission(
        task=task,
        hand=settings.hand or policies[0].hand,
        goals=goals,
        limits=settings.limits,
        actions=actions,
        bundles={name: bundle_digest(path) for name, path in sources.items()},
        estimator=estimator,
        faces=tuple(zip(look.corners, look.letters, look.colours, strict=False)),
        hardware=settings.hardware,
        output=settings.output_directory,
    )


def run_on_hand(
    settings: EvaluationSettings,
    commission: Commission,
    policies: Sequence[NamedPolicy],
    trials: Mapping[str, Any],
    open_world: Opener,
    console: Console,
) -> tuple[list[TrialResults], list[Path]]:
    """Run the campaign, or go on with one that was interrupted.

    Returns:
        Results of each policy, and the files of the hand's own report.

    Raises:
        ConfigurationError: A setting cannot be used; no trial was run.
        TrialInterrupted: Something broke; what has ended is kept.
    """
    directory, limits, sampled = settings.output_directory, settings.limits, settings.sample_actions
    if (directory / FILE).exists():  # another campaign's is refused before anything is opened
        open_log(policies, settings.trials, settings.seed, directory, limits, sampled, trials)
    for policy in policies:
        warm_up(policy.module)
    world = open_world(commission)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the hand is let go by whoever ends this
    try:
        with progress_reports(console) as report:
            turns = settings.trials * len(policies)
            results = run_campaign(
                world, policies, settings.trials, settings.seed, directory,
                limits=limits, sample_actions=sampled, settings=trials,
                watchers=[reporter("the hand", turns, report)],
            )  # fmt: skip
    finally:
        world.close()
    return results, world.report(console)
