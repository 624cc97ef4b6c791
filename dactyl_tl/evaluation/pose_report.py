"""Errors of pose estimators as tables beside the paper's Table 6, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from dactyl_tl.contract import CONTRACT_VERSION
from dactyl_tl.evaluation.paper import TABLE_6
from dactyl_tl.evaluation.poses import PoseErrors
from dactyl_tl.evaluation.report import TABLE_WIDTH

NAMES = {
    "filament": "Filament, looks drawn anew",
    "classic": "OpenGL, nominal looks",
    "classic_randomized": "OpenGL, looks drawn anew",
}

QUANTITIES = {"rotation": "degrees", "position": "mm"}

COLUMNS = ("estimator", "pictures", "index", "rotation_degrees", "position_mm")


def pose_table(results: Sequence[PoseErrors]) -> Table:
    """Table 6 for a terminal: each estimator on each kind of pictures, the paper's row below."""
    table = Table(width=TABLE_WIDTH, title="error, mean ± standard deviation (median)", title_style="bold")
    table.add_column("pictures", overflow="fold", ratio=1)
    for quantity, unit in QUANTITIES.items():
        table.add_column(f"{quantity}, {unit}", justify="right", no_wrap=True)
    for pictures, name in NAMES.items():
        table.add_row(f"[bold]{name}[/]")
        for result in (each for each in results if each.pictures == pictures):
            cells = (_cell(result, quantity) for quantity in QUANTITIES)
            table.add_row(f"  {result.estimator}", *cells)
        if pictures in TABLE_6:
            paper = TABLE_6[pictures]
            cells = (f"{mean} ± {std}         " for mean, std in (paper.rotation, paper.position))
            table.add_row(f"  paper: {paper.label}", *cells, style="dim")
        table.add_section()
    return table


def _cell(result: PoseErrors, quantity: str) -> str:
    summary = result.summary()[quantity]
    return f"{summary['mean']:.2f} ± {summary['std']:.2f} ({summary['median']:5.2f})"


def write_pose_markdown(path: Path, results: Sequence[PoseErrors], experience: Mapping[str, str]) -> None:
    """The table for a document, with intervals of the means.

    Args:
        path: File to write.
        results: To tabulate.
        experience: How long each estimator was trained, in words.
    """
    count = len(results[0].rotation)
    lines = [
        f"**Table 6: errors of the pose network.** {count} sets of pictures of each kind; ± standard "
        "deviation, [95 % bootstrap interval of the mean], median. "
        + " ".join(f"{name}: {words}." for name, words in experience.items() if words),
        "",
        "| pictures | | rotation, degrees | | median | position, mm | | median |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for pictures, name in NAMES.items():
        for result in (each for each in results if each.pictures == pictures):
            cells = []
            for summary in result.summary().values():
                low, high = summary["mean_interval"]
                cells += [
                    f"{summary['mean']:.2f} ± {summary['std']:.2f}", f"[{low:.2f}, {high:.2f}]",
                    f"{summary['median']:.2f}",
                ]  # fmt: skip
            lines.append(f"| {name} | {result.estimator} | {' | '.join(cells)} |")
        if pictures in TABLE_6:
            paper = TABLE_6[pictures]
            cells = [f"{mean} ± {std} | | " for mean, std in (paper.rotation, paper.position)]
            lines.append(f"| {paper.label} | paper | {' | '.join(cells)} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_pose_json(path: Path, results: Sequence[PoseErrors]) -> None:
    """Summaries of everything and the paper's rows."""
    document = {
        "contract_version": CONTRACT_VERSION,
        "results": [
            {"estimator": each.estimator, "pictures": each.pictures, **each.summary()} for each in results
        ],
        "paper": {
            name: {"rotation": row.rotation, "position": row.position} for name, row in TABLE_6.items()
        },
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def write_pose_csv(path: Path, results: Sequence[PoseErrors]) -> None:
    """One line for each set of pictures; :func:`read_pose_csv` reads it."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for result in results:
            for index, (rotation, position) in enumerate(zip(result.rotation, result.position, strict=True)):
                writer.writerow(
                    (result.estimator, result.pictures, index, f"{rotation:.3f}", f"{position:.3f}")
                )


def read_pose_csv(path: Path) -> list[PoseErrors]:
    """What :func:`write_pose_csv` wrote."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            errors = float(row["rotation_degrees"]), float(row["position_mm"])
            found.setdefault((row["estimator"], row["pictures"]), []).append(errors)
    return [PoseErrors(*names, *np.array(errors).T) for names, errors in found.items()]
