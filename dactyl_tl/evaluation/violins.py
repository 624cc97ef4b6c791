"""Trials of several policies and conditions as violins, the paper's rows beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dactyl_tl.evaluation.comparison import ResultGroup
from dactyl_tl.evaluation.paper import PaperRow
from dactyl_tl.evaluation.plots import (
    ENDING_COLOURS,
    FAINT,
    INK,
    PAPER_COLOUR,
    POLICY_COLOURS,
    draw_endings,
    tidy,
)
from dactyl_tl.evaluation.report import describe_settings, paper_name
from dactyl_tl.evaluation.statistics import CONFIDENCE
from dactyl_tl.evaluation.trials import TrialResults

ROW, HEADING, MARGIN = 0.42, 0.5, 1.5
"""Inches of a row, of a group's heading and of the rest."""


def plot_groups(path: Path, title: str, groups: Sequence[ResultGroup]) -> None:
    """Draw each policy's trials as a violin with its mean, interval and median, and why trials ended.

    The paper's rows are its listed trials and its mean; it gives no intervals, and none is drawn.

    Args:
        path: Picture to write; the suffix decides the format.
        title: Of the picture.
        groups: From the top.
    """
    rows = sum(len(group.results) + len(group.paper) for group in groups)
    figure = Figure(
        figsize=(11.5, ROW * rows + HEADING * len(groups) + MARGIN),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08),
    )
    FigureCanvasAgg(figure)
    heights = [len(group.results) + len(group.paper) + HEADING / ROW for group in groups]
    panels = figure.subplots(
        len(groups), 2, squeeze=False, gridspec_kw={"width_ratios": (1.8, 1), "height_ratios": heights}
    )
    for number, (group, (left, right)) in enumerate(zip(groups, panels, strict=True)):
        _draw_group(left, group)
        names = len(group.results) + len(group.paper)
        last = number == len(groups) - 1
        draw_endings(right, group.results, legend=False)
        right.set(ylim=(names - 0.5, -0.5))
        right.set_yticks([])
        for axes in (left, right):
            tidy(axes)
            if not last:
                axes.set_xticklabels([])
        right.set_title("why trials ended" if number == 0 else "", loc="left", fontsize=10, color=INK)
    panels[-1][0].set_xlabel("rotations in a row", loc="left", fontsize=9, color=INK)
    figure.legend(handles=_signs(), loc="outside lower left", ncols=4, frameon=False, fontsize=8.5,
                  handlelength=1.4, columnspacing=1.6)  # fmt: skip
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK)
    figure.savefig(path, dpi=150, facecolor="white")


def _signs() -> list[Artist]:
    ours, paper = POLICY_COLOURS[0], PAPER_COLOUR
    return [
        Line2D(
            [], [], color=ours, lw=4, alpha=0.6, marker="o", ms=6, label=f"mean, {CONFIDENCE:.0%} interval"
        ),
        Line2D([], [], color=INK, lw=0, marker="|", ms=9, label="median"),
        Line2D([], [], color=paper, lw=0, marker="D", ms=5.5, label="the paper's mean"),
        Line2D([], [], color=paper, lw=0, marker=".", alpha=0.55, label="the paper's trials"),
        *(Patch(color=colour, label=str(ending)) for ending, colour in ENDING_COLOURS.items()),
    ]


def _draw_group(axes: Axes, group: ResultGroup) -> None:
    names = [result.policy for result in group.results]
    names += [paper_name(row, group.paper) for row in group.paper]
    for y, result in enumerate(group.results):
        _draw_trials(axes, y, result, POLICY_COLOURS[y % len(POLICY_COLOURS)])
    for y, row in enumerate(group.paper, start=len(group.results)):
        _draw_paper(axes, y, row)
    limit = group.results[0].limits.rotations
    axes.set(xlim=(-0.02 * limit, 1.04 * limit), ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names)
    axes.grid(axis="x", color=FAINT, lw=0.8)
    axes.set_title(", ".join(describe_settings(group.results[0])), loc="left", fontsize=10, color=INK)


def _draw_trials(axes: Axes, y: int, result: TrialResults, colour: str) -> None:
    trials = result.successes.astype(float)
    if trials.min() < trials.max():
        parts = axes.violinplot(
            trials, [y], orientation="horizontal", widths=0.85, showextrema=False, points=200
        )
        for body in parts["bodies"]:  # type: ignore[attr-defined]
            body.set(facecolor=colour, alpha=0.25, linewidth=0)
            outline = body.get_paths()[0].vertices
            outline[:, 0] = np.clip(outline[:, 0], 0, result.limits.rotations)
    summary = result.summary()
    axes.plot([summary.mean.low, summary.mean.high], [y, y], color=colour, lw=4, alpha=0.6, zorder=3,
              solid_capstyle="round")  # fmt: skip
    axes.plot(summary.mean.estimate, y, "o", color=colour, ms=6, zorder=4)
    axes.plot([summary.median] * 2, [y - 0.22, y + 0.22], color=INK, lw=1.2, zorder=3)
    axes.annotate(f"{summary.mean.estimate:.1f}", (summary.mean.estimate, y), (0, 7), fontsize=8.5,
                  textcoords="offset points", ha="center", color=colour, fontweight="bold")  # fmt: skip


def _draw_paper(axes: Axes, y: int, row: PaperRow) -> None:
    if row.trials:
        axes.plot(row.trials, [y] * len(row.trials), ".", color=PAPER_COLOUR, ms=5, alpha=0.55)
    axes.plot(row.mean, y, "D", color=PAPER_COLOUR, ms=5.5, zorder=4)
    axes.plot([row.median] * 2, [y - 0.22, y + 0.22], color=INK, lw=1.2, zorder=3)
    axes.annotate(f"{row.mean:g}", (row.mean, y), (0, 6), textcoords="offset points", ha="center",
                  fontsize=8.5, color=PAPER_COLOUR)  # fmt: skip
