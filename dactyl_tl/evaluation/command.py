"""Evaluation as a function of a configuration: :func:`evaluate`.

The command is ``evaluate.py``; callbacks, tests and notebooks call the functions here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.comparison import Comparison, compare
from dactyl_tl.evaluation.paper import PaperRow, table_3_row
from dactyl_tl.evaluation.plots import plot_results
from dactyl_tl.evaluation.policies import NamedPolicy, find_policies
from dactyl_tl.evaluation.protocol import Limits
from dactyl_tl.evaluation.report import comparison_table, results_table, write_csv, write_json
from dactyl_tl.evaluation.settings import EvaluationSettings, read_settings
from dactyl_tl.evaluation.trials import TrialResults, Watcher, run_trials
from dactyl_tl.evaluation.watchers import VideoRecorder, live_view, progress_bar
from dactyl_tl.evaluation.worlds import SimulatedWorld, simulated_world
from dactyl_tl.rendering.classic import HandRenderer
from dactyl_tl.rendering.offscreen import RendererError
from dactyl_tl.rendering.viewer import LiveViewer, ViewerError

JSON, CSV, PLOT = "results.json", "trials.csv", "results.png"

VIDEO_SIZE = (480, 360)
"""Pixels of one trial in a video."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation left behind.

    Attributes:
        results: One for each policy, in the order asked for.
        comparisons: The first policy against each other one.
        files: What was written.
    """

    results: tuple[TrialResults, ...]
    comparisons: tuple[Comparison, ...]
    files: tuple[Path, ...]


def evaluate(cfg: DictConfig, console: Console | None = None) -> Evaluation:
    """Evaluate as ``conf/evaluate.yaml`` describes, print the tables and write the files.

    Raises:
        ConfigurationError: A setting, a policy, the output directory or the renderer cannot be used;
            no trial was run.
    """
    console = console or Console()
    settings = read_settings(cfg)
    output = settings.output_directory
    with _as_setting(), ExitStack() as stack:
        policies = find_policies(settings.policy, device=settings.device, seed=settings.seed)
        settings_of_trials = _trial_settings(settings, policies)
        worlds = [_build_world(settings, settings_of_trials, policy) for policy in policies]
        for world in worlds:
            stack.callback(world.close)
        videos, watchers = _open_pictures(settings, settings_of_trials, policies, stack, console)
        output.mkdir(parents=True, exist_ok=True)
        run_stack = stack.pop_all()
    with run_stack:
        results = []
        for policy, world, video in zip(policies, worlds, videos, strict=True):
            with progress_bar(policy.name, settings.trials, console) as bar:
                results.append(
                    run_trials(
                        world, policy.module, settings.trials, settings.seed, limits=settings.limits,
                        sample_actions=settings.sample_actions, name=policy.name, settings=settings_of_trials,
                        watchers=[bar, *watchers, *([video] if video else [])],
                    )
                )  # fmt: skip
            if video:
                video.close()
    comparisons = [compare(results[0], other) for other in results[1:]]
    paper = paper_rows(settings, settings_of_trials["task"])
    files = [output / JSON, output / CSV, output / PLOT]
    write_json(files[0], results, comparisons, paper)
    write_csv(files[1], results)
    plot_results(files[2], results, paper)
    files += [video.path for video in videos if video]
    _print(console, policies, results, comparisons, paper, files)
    return Evaluation(tuple(results), tuple(comparisons), tuple(files))


def _trial_settings(settings: EvaluationSettings, policies: Sequence[NamedPolicy]) -> dict[str, Any]:
    """What defines the trials, the same for every policy; kept with the results."""
    trained = policies[0].environment
    return {
        "task": settings.task or trained.get("task", "block"),
        "randomization": settings.randomization,
        "goals": dict(settings.goals),
        "initial_states": dict(settings.initial_states),
        "hand": settings.hand or trained.get("hand", "gymnasium_robotics"),
        "sample_actions": settings.sample_actions,
        "parallel": _parallel(settings),
    }


def _parallel(settings: EvaluationSettings) -> int:
    """Trials in a batch: batches of equal size, so that the last one is not mostly surplus."""
    batches = -(-settings.trials // settings.parallel)
    return -(-settings.trials // batches)


def _build_world(settings: EvaluationSettings, trials: dict[str, Any], policy: NamedPolicy) -> SimulatedWorld:
    return simulated_world(
        trials["task"],
        num_trials=trials["parallel"],
        limits=settings.limits,
        goals=trials["goals"],
        randomization=trials["randomization"],
        initial_states=trials["initial_states"],
        hand=trials["hand"],
        # A policy only means something with the actions it was trained to give.
        actions=dict(settings.actions) or dict(policy.environment.get("actions") or {}),
        engine=settings.engine,
        max_contacts=settings.max_contacts,
        max_constraints=settings.max_constraints,
        num_threads=settings.threads,
        device=settings.device,
        seed=settings.seed,
    )


def _open_pictures(
    settings: EvaluationSettings,
    trials: dict[str, Any],
    policies: Sequence[NamedPolicy],
    stack: ExitStack,
    console: Console,
) -> tuple[list[VideoRecorder | None], list[Watcher]]:
    """The video of each policy (None without videos), and who else looks on."""
    videos: list[VideoRecorder | None] = [None] * len(policies)
    if settings.video:
        width, height = VIDEO_SIZE
        renderer = stack.enter_context(
            HandRenderer(trials["task"], width=width, height=height, view=settings.view, hand=trials["hand"])
        )
        for number, policy in enumerate(policies):
            path = settings.output_directory / f"{policy.name.replace('/', '_')}.mp4"
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
    if settings.limits != Limits() or settings.goals:
        return []
    rows = (table_3_row(task, "simulation"), table_3_row(task, "hand"))
    return [row for row in rows if row is not None]


def _print(
    console: Console,
    policies: Sequence[NamedPolicy],
    results: Sequence[TrialResults],
    comparisons: Sequence[Comparison],
    paper: Sequence[PaperRow],
    files: Sequence[Path],
) -> None:
    console.print(results_table(results, paper))
    if comparisons:
        console.print(comparison_table(comparisons))
    for policy in policies:
        console.print(f"{policy.name}: {policy.source}", style="dim", soft_wrap=True, highlight=False)
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
