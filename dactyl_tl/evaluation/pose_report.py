"""Errors of pose estimators as tables beside the paper's Table 6, as JSON, as CSV and as a picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from dactyl_tl.contract import CONTRACT_VERSION
from dactyl_tl.evaluation.paper import TABLE_6
from dactyl_tl.evaluation.plots import FAINT, PAPER_COLOUR, POLICY_COLOURS
from dactyl_tl.evaluation.poses import PoseErrors
from dactyl_tl.evaluation.report import TABLE_WIDTH

NAMES = {"filament": "Filament, looks drawn anew", "classic": "classic OpenGL, the other renderer"}

QUANTITIES = {"rotation": "degrees", "position": "mm"}

BINS = 40


def pose_table(results: Sequence[PoseErrors]) -> Table:
    """Table 6 for a terminal: each estimator on each renderer's pictures, the paper's row below."""
    table = Table(width=TABLE_WIDTH, title="error, mean ± standard deviation (median)", title_style="bold")
    table.add_column("pictures", overflow="fold", ratio=1)
    for quantity, unit in QUANTITIES.items():
        table.add_column(f"{quantity}, {unit}", justify="right", no_wrap=True)
    for renderer, name in NAMES.items():
        for result in (each for each in results if each.renderer == renderer):
            cells = (_cell(result, quantity) for quantity in QUANTITIES)
            table.add_row(f"[bold]{result.estimator}[/], {name}", *cells)
        paper = TABLE_6[renderer]
        cells = (f"{mean} ± {std}         " for mean, std in (paper.rotation, paper.position))
        table.add_row(f"paper: {paper.label}", *cells, style="dim")
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
        f"**Table 6: errors of the pose network.** {count} sets of pictures of each renderer; ± standard "
        "deviation, [95 % bootstrap interval of the mean], median. "
        + " ".join(f"{name}: {words}." for name, words in experience.items() if words),
        "",
        "| pictures | | rotation, degrees | | median | position, mm | | median |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for renderer, name in NAMES.items():
        for result in (each for each in results if each.renderer == renderer):
            cells = []
            for summary in result.summary().values():
                low, high = summary["mean_interval"]
                cells += [
                    f"{summary['mean']:.2f} ± {summary['std']:.2f}", f"[{low:.2f}, {high:.2f}]",
                    f"{summary['median']:.2f}",
                ]  # fmt: skip
            lines.append(f"| {name} | {result.estimator} | {' | '.join(cells)} |")
        paper = TABLE_6[renderer]
        cells = [f"{mean} ± {std} | | " for mean, std in (paper.rotation, paper.position)]
        lines.append(f"| {paper.label} | paper | {' | '.join(cells)} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_pose_json(path: Path, results: Sequence[PoseErrors]) -> None:
    """Summaries of everything and the paper's rows."""
    document = {
        "contract_version": CONTRACT_VERSION,
        "results": [
            {"estimator": each.estimator, "renderer": each.renderer, **each.summary()} for each in results
        ],
        "paper": {
            name: {"rotation": row.rotation, "position": row.position} for name, row in TABLE_6.items()
        },
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def write_pose_csv(path: Path, results: Sequence[PoseErrors]) -> None:
    """One line for each set of pictures."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("estimator", "renderer", "index", "rotation_degrees", "position_mm"))
        for result in results:
            for index, (rotation, position) in enumerate(zip(result.rotation, result.position, strict=True)):
                writer.writerow(
                    (result.estimator, result.renderer, index, f"{rotation:.3f}", f"{position:.3f}")
                )


def plot_poses(path: Path, results: Sequence[PoseErrors]) -> None:
    """Histograms of both errors, a row for each renderer; the paper's means dashed.

    The last bin holds everything beyond.
    """
    figure = Figure(figsize=(9.0, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(NAMES), 2, sharex="col")
    for row, (renderer, name) in enumerate(NAMES.items()):
        shown = [each for each in results if each.renderer == renderer]
        for column, (quantity, unit) in enumerate(QUANTITIES.items()):
            axis = grid[row, column]
            limit = max(np.percentile(getattr(each, quantity), 97) for each in results)
            edges = np.linspace(0.0, limit, BINS + 1)
            for result, colour in zip(shown, POLICY_COLOURS, strict=False):
                values = np.clip(getattr(result, quantity), 0, limit)
                weights = np.full(len(values), 100 / len(values))
                mean = getattr(result, quantity).mean()
                label = f"{result.estimator}: mean {mean:.1f}, median {np.median(values):.1f}"
                axis.hist(values, edges, weights=weights, color=colour, alpha=0.6, label=label)
            paper = getattr(TABLE_6[renderer], quantity)[0]
            axis.axvline(
                paper, color=PAPER_COLOUR, linestyle="--", linewidth=1.2, label=f"paper: mean {paper}"
            )
            axis.set_title(name, fontsize=10, loc="left")
            axis.set_xlim(0, limit)
            axis.set_ylabel("% of the pictures" if column == 0 else "")
            if row == len(NAMES) - 1:
                axis.set_xlabel(f"error of the {quantity}, {unit}; the last bin holds all beyond")
            axis.grid(color=FAINT)
            axis.set_axisbelow(True)
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)
