"""Evaluation as a function of a configuration: :func:`evaluate`.

The command is ``evaluate.py``; callbacks, tests and notebooks call the functions here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators.bundles import load_estimator
from dactyl_tl.evaluation.comparison import Comparison, ResultGroup
from dactyl_tl.evaluation.paper import PaperRow, table_3_row
from dactyl_tl.evaluation.physical import Opener, commission_of, run_on_hand
from dactyl_tl.evaluation.plots import plot_results
from dactyl_tl.evaluation.policies import NamedPolicy, find_policies
from dactyl_tl.evaluation.pose_command import measure_poses
from dactyl_tl.evaluation.report import (
    comparison_table,
    results_table,
    write_csv,
    write_json,
    write_markdown,
)
from dactyl_tl.evaluation.seeing import SeeingWorld
from dactyl_tl.evaluation.settings import HAND, POSE_SUITE, EvaluationSettings, read_settings
from dactyl_tl.evaluation.suites import SUITES
from dactyl_tl.evaluation.trials import TrialResults, run_trials
from dactyl_tl.evaluation.violins import plot_groups
from dactyl_tl.evaluation.watchers import VideoRecorder, live_view, reporter
from dactyl_tl.evaluation.worlds import SimulatedWorld, simulated_world
from dactyl_tl.progress import progress_reports
from dactyl_tl.protocol import Limits
from dactyl_tl.rendering.classic import HandRenderer
from dactyl_tl.rendering.offscreen import RendererError
from dactyl_tl.rendering.viewer import LiveViewer, ViewerError
from dactyl_tl.trials import Watcher

JSON, CSV, PLOT, MARKDOWN = "results.json", "trials.csv", "results.png", "table.md"

VIDEO_SIZE = (480, 360)
"""Pixels of one trial in a video."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation left behind.

    Attributes:
        results: One for each policy, in the order asked for; in a suite, of each group of trials.
        comparisons: The first policy against each other one on the same trials.
        files: What was written.
    """

    results: tuple[TrialResults, ...]
    comparisons: tuple[Comparison, ...]
    files: tuple[Path, ...]


def evaluate(cfg: DictConfig, console: Console | None = None, open_hand: Opener | None = None) -> Evaluation:
    """Evaluate as ``conf/evaluate.yaml`` describes, print the tables and write the files.

    Args:
        cfg: Composed.
        console: To print to.
        open_hand: Opens the physical world of ``world=hand``.

    Raises:
        ConfigurationError: A setting, a policy, the output directory or the renderer cannot be used;
            no trial was run.
    """
    console = console or Console()
    settings = read_settings(cfg)
    if settings.suite == POSE_SUITE:
        with _as_setting():
            return Evaluation((), (), tuple(measure_poses(settings, console)))
    if settings.world == HAND:
        return _evaluate_hand(settings, console, open_hand)
    output = settings.output_directory
    with _as_setting(), ExitStack() as stack:
        plans = _plans(settings)
        worlds = [[_build_world(settings, plan.trials, policy) for policy in plan.policies] for plan in plans]
        for world in chain.from_iterable(worlds):
            stack.callback(world.close)
        pictures = [_open_pictures(settings, plan, stack, console) for plan in plans]
        output.mkdir(parents=True, exist_ok=True)
        run_stack = stack.pop_all()
    groups = []
    with run_stack:
        for plan, plan_worlds, (videos, watchers) in zip(plans, worlds, pictures, strict=True):
            results = []
            for policy, world, video in zip(plan.policies, plan_worlds, videos, strict=True):
                with progress_reports(console) as report:
                    progress = reporter(policy.name, settings.trials, report)
                    results.append(
                        run_trials(
                            world, policy.module, settings.trials, settings.seed, limits=settings.limits,
                            sample_actions=settings.sample_actions, name=policy.name, settings=plan.trials,
                            watchers=[progress, *watchers, *([video] if video else [])],
                        )
                    )  # fmt: skip
                if video:
                    video.close()
            groups.append(ResultGroup(tuple(results), tuple(plan.paper)))
            _print_group(console, groups[-1])
    policies = list({policy.name: policy for plan in plans for policy in plan.policies}.values())
    files = _write(settings, policies, groups)
    files += [video.path for videos, _ in pictures for video in videos if video]
    _print_sources(console, policies, files)
    return Evaluation(
        tuple(chain.from_iterable(group.results for group in groups)),
        tuple(chain.from_iterable(group.comparisons for group in groups)),
        tuple(files),
    )


def _evaluate_hand(settings: EvaluationSettings, console: Console, open_hand: Opener | None) -> Evaluation:
    if open_hand is None:
        raise ConfigurationError("world=hand needs the hardware package: python evaluate.py world=hand")
    with _as_setting():
        plan = _plans(settings)[0]
    commission = commission_of(settings, plan.policies, plan.trials["task"])
    laboratory = "twin" if settings.hardware.get("launch") else str(settings.hardware.get("backend"))
    plan.trials.update(world=HAND, laboratory=laboratory, hardware=dict(settings.hardware))
    results, files = run_on_hand(settings, commission, plan.policies, plan.trials, open_hand, console)
    group = ResultGroup(tuple(results), tuple(plan.paper))
    _print_group(console, group)
    files = _write(settings, plan.policies, [group]) + files
    _print_sources(console, plan.policies, files)
    return Evaluation(group.results, tuple(group.comparisons), tuple(files))


@dataclass(frozen=True)
class _Plan:
    """Policies to run on the same trials, what defines these, and the paper's rows beside them."""

    policies: Sequence[NamedPolicy]
    trials: dict[str, Any]
    paper: Sequence[PaperRow]


def _plans(settings: EvaluationSettings) -> list[_Plan]:
    """One for the policies asked for, or those of the suite."""
    if settings.suite is None:
        policies = find_policies(settings.policy, device=settings.device, seed=settings.seed)
        trials = _trial_settings(settings, policies, settings.task, settings.randomization)
        return [_Plan(policies, trials, paper_rows(settings, trials["task"]))]
    plans = []
    for group in SUITES[settings.suite].groups:
        policies = find_policies(group.policies, device=settings.device, seed=settings.seed)
        trials = _trial_settings(settings, policies, group.task, group.randomization)
        plans.append(_Plan(policies, trials, group.paper if _is_the_papers(settings) else ()))
    return plans


def _trial_settings(
    settings: EvaluationSettings, policies: Sequence[NamedPolicy], task: str | None, randomization: Any
) -> dict[str, Any]:
    """What defines the trials, the same for every policy; kept with the results."""
    first = policies[0]
    return {
        "task": task or first.task,
        "randomization": randomization,
        "goals": dict(settings.goals),
        "initial_states": dict(settings.initial_states),
        "hand": settings.hand or first.hand,
        "sample_actions": settings.sample_actions,
        **({} if settings.observation == "state" else {"observation": "vision", "pose": settings.pose[0]}),
        "parallel": _parallel(settings),
    }


def _parallel(settings: EvaluationSettings) -> int:
    """Trials in a batch: batches of equal size, so that the last one is not mostly surplus."""
    batches = -(-settings.trials // settings.parallel)
    return -(-settings.trials // batches)


def _build_world(settings: EvaluationSettings, trials: dict[str, Any], policy: NamedPolicy) -> SimulatedWorld:
    world = simulated_world(
        trials["task"],
        num_trials=trials["parallel"],
        limits=settings.limits,
        goals=trials["goals"],
        randomization=trials["randomization"],
        initial_states=trials["initial_states"],
        hand=trials["hand"],
        actions=dict(settings.actions) or policy.actions,
        engine=settings.engine,
        max_contacts=settings.max_contacts,
        max_constraints=settings.max_constraints,
        num_threads=settings.threads,
        device=settings.device,
        seed=settings.seed,
    )
    if settings.observation == "state":
        return world
    estimator = load_estimator(settings.pose[0])
    return SeeingWorld(world.env, estimator, trials["task"], workers=settings.workers)


def _open_pictures(
    settings: EvaluationSettings, plan: _Plan, stack: ExitStack, console: Console
) -> tuple[list[VideoRecorder | None], list[Watcher]]:
    """The video of each policy (None without videos), and who else looks on."""
    trials = plan.trials
    videos: list[VideoRecorder | None] = [None] * len(plan.policies)
    if settings.video:
        width, height = VIDEO_SIZE
        renderer = stack.enter_context(
            HandRenderer(trials["task"], width=width, height=height, view=settings.view, hand=trials["hand"])
        )
        for number, policy in enumerate(plan.policies):
            conditions = f"_{trials['randomization']}" if settings.suite else ""
            path = settings.output_directory / f"{policy.name.replace('/', '_')}{conditions}.mp4"
            video = VideoRecorder(
                path, renderer, trials=settings.video_trials, seconds=settings.video_seconds
            )
            stack.callback(video.close)
            videos[number] = video
    if not settings.viewer:
        return videos, []
    viewer = stack.enter_context(LiveViewer(trials["task"], hand=trials["hand"], port=settings.viewer_port))
    console.print(f"live view of the first trial, on this machine only: {viewer.url}")
    return videos, [live_view(viewer)]


def paper_rows(settings: EvaluationSettings, task: str) -> list[PaperRow]:
    """The paper's rows for the task, if the trials are the paper's: near goals or short ones are not."""
    if not _is_the_papers(settings):
        return []
    if settings.observation == "vision":
        task = f"{task}_vision"
    rows = (table_3_row(task, "simulation"), table_3_row(task, "hand"))
    return [row for row in rows if row is not None]


def _is_the_papers(settings: EvaluationSettings) -> bool:
    return settings.limits == Limits() and not settings.goals


def _write(
    settings: EvaluationSettings, policies: Sequence[NamedPolicy], groups: Sequence[ResultGroup]
) -> list[Path]:
    output = settings.output_directory
    files = [output / JSON, output / CSV, output / PLOT]
    write_json(files[0], groups)
    write_csv(files[1], chain.from_iterable(group.results for group in groups))
    if settings.suite is None:
        plot_results(files[2], groups[0].results, groups[0].paper)
        return files
    title = SUITES[settings.suite].title
    plot_groups(files[2], title, groups)
    write_markdown(output / MARKDOWN, title, groups, {each.name: each.experience for each in policies})
    return [*files, output / MARKDOWN]


def _print_group(console: Console, group: ResultGroup) -> None:
    console.print(results_table(group.results, group.paper))
    if group.comparisons:
        console.print(comparison_table(group.comparisons))


def _print_sources(console: Console, policies: Sequence[NamedPolicy], files: Sequence[Path]) -> None:
    for each in policies:
        experience = f" ({each.experience})" if each.experience else ""
        console.print(f"{each.name}: {each.source}{experience}", style="dim", soft_wrap=True, highlight=False)
    for path in files:
        console.print(f"wrote {path}", style="dim", soft_wrap=True, highlight=False)


@contextmanager
def _as_setting() -> Iterator[None]:
    """Errors of what settings name, as errors of settings."""
    try:
        yield
    except ConfigurationError:
        raise
    except (ValueError, RendererError, ViewerError, OSError) as error:
        raise ConfigurationError(str(error)) from error
