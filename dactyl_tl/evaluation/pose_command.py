"""``evaluate.py suite=pose``: pose estimators beside Table 6."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators import curve_of, locate_estimator
from dactyl_tl.estimators.bundles import PoseEstimator, load_estimator
from dactyl_tl.evaluation.pose_plots import plot_learning, plot_poses
from dactyl_tl.evaluation.pose_report import (
    pose_table,
    write_pose_csv,
    write_pose_json,
    write_pose_markdown,
)
from dactyl_tl.evaluation.poses import held_out_states, measure
from dactyl_tl.evaluation.seeing import check_object
from dactyl_tl.evaluation.settings import EvaluationSettings
from dactyl_tl.progress import progress_reports
from dactyl_tl.vision.drawing import HELD_OUT, check_renderers

SHIPPED = ("block", "block_one_look")
"""Estimators that stand in the table."""

ENVIRONMENT = ("task", "randomization", "hand")
"""What decides the states of the rollouts."""


def measure_poses(settings: EvaluationSettings, console: Console) -> list[Path]:
    """Measure, print the table, write the files; returns their paths.

    States are those of rollouts as in the first estimator's training, of other seeds.
    """
    names = settings.pose or SHIPPED
    labels = _labels(names)
    estimators = {label: load_estimator(name) for label, name in zip(labels, names, strict=True)}
    first = next(iter(estimators.values()))
    for label, estimator in estimators.items():
        check_object(estimator, first.task)
        if estimator.look != first.look:
            raise ConfigurationError(
                f"pose={label} knows the {estimator.look} look, {labels[0]} the {first.look} one"
            )
    check_renderers()
    config = first.description["config"]
    environment = {key: config["environment"][key] for key in ENVIRONMENT}
    with progress_reports(console) as report:
        report("rollouts", 0, 1)
        states = held_out_states(config["policy"], environment, settings.pictures, settings.seed)
        report("rollouts", 1, 1)
        total = len(HELD_OUT) * len(states)
        results = measure(
            estimators,
            states,
            seed=settings.seed,
            workers=settings.workers,
            look=first.look,
            progress=lambda done: report("pictures", done, total),
        )
    console.print(pose_table(results))
    output = settings.output_directory
    output.mkdir(parents=True, exist_ok=True)
    files = [output / name for name in ("results.json", "errors.csv", "results.png", "table.md")]
    write_pose_json(files[0], results)
    write_pose_csv(files[1], results)
    plot_poses(files[2], results)
    write_pose_markdown(files[3], results, {label: _experience(each) for label, each in estimators.items()})
    curves = {label: curve_of(name) for label, name in zip(labels, names, strict=True)}
    known = {label: curve for label, curve in curves.items() if curve is not None}
    if known:
        files.append(output / "learning.png")
        plot_learning(files[-1], known)
    for path in files:
        console.print(f"wrote {path}", style="dim", soft_wrap=True, highlight=False)
    return files


def _experience(estimator: PoseEstimator) -> str:
    training: dict[str, Any] = estimator.description.get("training") or {}
    if not training:
        return ""
    return f"{training['sets']:,} sets of pictures learnt from, {training['minutes']:.0f} minutes"


def _labels(names: tuple[str, ...]) -> list[str]:
    """The shipped name, or the directory's; whole paths where these do not tell them apart."""
    short = [
        str(name) if "/" not in str(name) else locate_estimator(name).resolve().parts[-3] for name in names
    ]
    return short if len(set(short)) == len(short) else [str(name) for name in names]
