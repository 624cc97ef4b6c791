"""The trials as a picture: how many got how far, the means, and why trials ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dactyl_tl.evaluation.paper import TRAINED_WITH, PaperRow
from dactyl_tl.evaluation.report import describe_settings
from dactyl_tl.evaluation.statistics import CONFIDENCE
from dactyl_tl.evaluation.trials import TrialResults
from dactyl_tl.protocol import Ending

POLICY_COLOURS = ("#2f6fb7", "#e0792b", "#3c9d5b", "#8a4fa3", "#c23b4b", "#27a5a2")
PAPER_COLOUR, INK, FAINT = "#3d434c", "#23262b", "#dfe2e6"
ENDING_COLOURS = {
    Ending.COMPLETED: "#3c9d5b",
    Ending.TIMEOUT: "#f2b632",
    Ending.DROPPED: "#c9ced6",
    Ending.DIVERGED: "#d94436",
}


def plot_results(path: Path, results: Sequence[TrialResults], paper: Sequence[PaperRow] = ()) -> None:
    """Draw the distribution of consecutive rotations.

    Left: the share of trials that achieved at least so many rotations, the paper's listed trials dashed.
    Right: each mean with its interval, the paper's mean as a diamond, and why trials ended.

    Args:
        path: Picture to write; the suffix decides the format.
        results: One for each policy; not empty.
        paper: Rows to draw beside them.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = Figure(figsize=(10.5, 4.2 + 0.3 * max(0, len(results) - 2)), layout=layout)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.35, 1))
    left = figure.add_subplot(grid[:, 0])
    means, endings = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    reach = _reach(results)
    _draw_survival(left, results, paper, reach)
    _draw_means(means, results, paper, reach)
    draw_endings(endings, results)
    for axes in (left, means, endings):
        tidy(axes)
    figure.savefig(path, dpi=160, facecolor="white")


def _reach(results: Sequence[TrialResults]) -> float:
    """Right end of the rotation axes: a little beyond the best trial, so that weak policies fill it."""
    best = max(int(result.successes.max()) for result in results)
    return min(1.06 * results[0].limits.rotations, max(4.0, 1.3 * best + 1))


def _draw_survival(
    axes: Axes, results: Sequence[TrialResults], paper: Sequence[PaperRow], reach: float
) -> None:
    counts = np.arange(0, results[0].limits.rotations + 1)
    for row in paper:
        if row.trials:
            share = (np.array(row.trials)[:, None] >= counts).mean(axis=0)
            axes.step(counts, share, where="mid", color=PAPER_COLOUR, lw=1.3, ls=(0, (4, 2)), zorder=1,
                      label=f"paper, {row.world} ({row.count} trials)")  # fmt: skip
    for number, result in enumerate(results):
        share = (result.successes[:, None] >= counts).mean(axis=0)
        colour = POLICY_COLOURS[number % len(POLICY_COLOURS)]
        axes.step(counts, share, where="mid", color=colour, lw=2.2, zorder=3, label=result.policy)
        if number == 0:
            axes.fill_between(counts, share, step="mid", color=colour, alpha=0.10, lw=0, zorder=2)
    axes.set(xlim=(0, reach), ylim=(0, 1.02), xlabel="rotations in a row",
             ylabel="trials that achieved at least so many")  # fmt: skip
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=FAINT, lw=0.8)
    axes.legend(frameon=True, framealpha=1.0, edgecolor="white", loc="upper right", fontsize=9)
    axes.set_title(_title(results[0]), loc="left", fontsize=10.5, color=INK, fontweight="bold")


def _draw_means(axes: Axes, results: Sequence[TrialResults], paper: Sequence[PaperRow], reach: float) -> None:
    names = []
    for number, result in enumerate(results):
        mean = result.summary().mean
        colour = POLICY_COLOURS[number % len(POLICY_COLOURS)]
        axes.plot(
            [mean.low, mean.high], [number, number], color=colour, lw=4, alpha=0.4, solid_capstyle="round"
        )
        axes.plot(mean.estimate, number, "o", color=colour, ms=7, clip_on=False, zorder=4)
        axes.annotate(f"{mean.estimate:.2f}", (mean.estimate, number), (0, 8), textcoords="offset points",
                      ha="center", fontsize=9, color=colour, fontweight="bold")  # fmt: skip
        names.append(result.policy)
    for row in paper:
        y = len(names)
        inside = row.mean <= reach
        x = row.mean if inside else 0.97 * reach
        axes.plot(x, y, "D" if inside else ">", color=PAPER_COLOUR, ms=6, clip_on=False)
        axes.annotate(f"{row.mean:g}", (x, y), (0, 7), textcoords="offset points", ha="center", fontsize=9,
                      color=PAPER_COLOUR)  # fmt: skip
        names.append(f"paper, {row.world}")
    axes.set(xlim=(0, reach), ylim=(len(names) - 0.4, -0.75))
    axes.set_yticks(range(len(names)), names)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", color=FAINT, lw=0.8)
    axes.set_title(f"mean, with its {CONFIDENCE:.0%} interval", loc="left", fontsize=10, color=INK)
    if paper:
        axes.set_xlabel(TRAINED_WITH, loc="right", fontsize=8, color=PAPER_COLOUR)


def draw_endings(axes: Axes, results: Sequence[TrialResults], *, legend: bool = True) -> None:
    """Why trials ended, a bar a policy from the top."""
    for number, result in enumerate(results):
        start = 0.0
        for ending, colour in ENDING_COLOURS.items():
            share = result.endings[ending] / len(result.trials)
            axes.barh(number, share, left=start, color=colour, height=0.55,
                      label=str(ending) if number == 0 else None)  # fmt: skip
            if share > 0.06:
                axes.text(start + share / 2, number, f"{share:.0%}", ha="center", va="center", fontsize=8.5,
                          color=INK)  # fmt: skip
            start += share
    axes.set(xlim=(0, 1), ylim=(len(results) - 0.5, -0.5))
    axes.set_yticks(range(len(results)), [result.policy for result in results])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.set_title("why trials ended", loc="left", fontsize=10, color=INK)
    if legend:
        axes.legend(frameon=False, ncols=4, loc="upper left", bbox_to_anchor=(-0.02, -0.18), fontsize=8.5,
                    handlelength=1.0, columnspacing=1.2, borderpad=0)  # fmt: skip


def _title(result: TrialResults) -> str:
    return ", ".join([*describe_settings(result), f"{len(result.trials)} trials"])


def tidy(axes: Axes) -> None:
    """Without frame and ticks."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#9aa1ab")
    axes.tick_params(length=0, labelsize=9, colors=INK)
    axes.set_axisbelow(True)
