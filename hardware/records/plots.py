"""A campaign's pictures: rotations of each trial, where the control step goes, how late ticks are."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from dactyl_tl.contract import CONTROL_PERIOD
from hardware.lowlevel.wire import BUCKETS
from hardware.records.summary import Summary

INK, FAINT, QUIET = "#23262b", "#e3e6ea", "#868e99"
LEAST_BARS = 12
"""Width of the rotations' axis, bars, so that a few do not fill it."""

COLOURS = ("#2f6fb7", "#e0792b", "#3c9d5b", "#8a4fa3", "#c23b4b", "#27a5a2")


def draw_picture(path: Path, summary: Summary) -> None:
    """Everything in one picture; the suffix decides the format."""
    figure = _figure(10.5, 7.4)
    grid = figure.add_gridspec(2, 2, height_ratios=(1.1, 1))
    draw_rotations(figure.add_subplot(grid[0, :]), summary)
    draw_budget(figure.add_subplot(grid[1, 0]), summary)
    draw_lateness(figure.add_subplot(grid[1, 1]), summary)
    figure.savefig(path, dpi=150, facecolor="white")


def embedded(draw: Callable[[Axes, Summary], None], summary: Summary, width: float, height: float) -> str:
    """A drawing as a data URI (SVG) for a page; its size in inches."""
    figure = _figure(width, height)
    draw(figure.add_subplot(), summary)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def draw_rotations(axes: Axes, summary: Summary) -> None:
    """A bar a trial, each policy's sorted downwards, with its mean."""
    start, centres = 0.0, []
    for number, row in enumerate(summary.rows):
        colour = COLOURS[number % len(COLOURS)]
        places = start + np.arange(len(row.trials))
        axes.bar(places, row.trials, width=0.78, color=colour)
        axes.hlines(row.mean, places[0] - 0.5, places[-1] + 0.5, color=INK, lw=1.2, ls=(0, (4, 2)))
        for place, rotations in zip(places, row.trials, strict=True):
            axes.annotate(f"{rotations}", (place, rotations), (0, 2), textcoords="offset points",
                          ha="center", va="bottom", fontsize=8.5, color=INK,
                          bbox={"fc": "white", "ec": "none", "pad": 0.6})  # fmt: skip
        centres.append(float(places.mean()))
        start = places[-1] + 2.2
    most = max((row.trials[0] for row in summary.rows), default=0)
    axes.set(
        ylim=(0, max(4.0, 1.12 * most)),
        xlim=(-0.8, max(start - 1.4, LEAST_BARS)),
        ylabel="rotations in a row",
    )
    axes.set_xticks(centres, [f"{row.policy}\n{_mean(row.mean, row.std)}" for row in summary.rows])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _tidy(axes, "Trials, sorted; mean dashed", "y")


def draw_budget(axes: Axes, summary: Summary) -> None:
    """Median, 99th percentile and maximum of each part of a control step, on a logarithmic axis."""
    stages = [stage for stage in summary.budget.stages if stage.count]
    for place, stage in enumerate(stages):
        low, high, longest = (max(value, 1e-3) for value in (stage.median, stage.high, stage.longest))
        axes.plot([low, longest], [place, place], color=FAINT, lw=6, solid_capstyle="round", zorder=1)
        axes.plot([low, high], [place, place], color=COLOURS[0], lw=6, alpha=0.35, solid_capstyle="round")
        axes.plot(low, place, "o", color=COLOURS[0], ms=7)
        axes.plot(longest, place, "|", color=QUIET, ms=9, mew=1.6)
        axes.annotate(f"{stage.median:.3g}", (low, place), (0, 7), textcoords="offset points", ha="center",
                      fontsize=8.5, color=INK)  # fmt: skip
    axes.axvline(1e3 * CONTROL_PERIOD, color=INK, lw=1, ls=(0, (4, 2)))
    axes.set_xscale("log")
    axes.set(
        ylim=(len(stages) - 0.4, -0.7), xlabel=f"ms; dashed: the control step, {1e3 * CONTROL_PERIOD:g} ms"
    )
    axes.set_yticks(range(len(stages)), [stage.name for stage in stages])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _tidy(axes, "Control step: median, to 99 %, to the maximum", "x")


def draw_lateness(axes: Axes, summary: Summary) -> None:
    """Ticks of the low-level controller by how late they began; both axes logarithmic."""
    ticks = summary.ticks
    counts = np.array(ticks.lateness)
    edges = 2.0 ** np.arange(-1, BUCKETS)
    seen = np.flatnonzero(counts)
    axes.set_xscale("log")
    axes.set_yscale("log")
    if seen.size:
        first, last = int(seen[0]), int(seen[-1])
        axes.bar(edges[first : last + 1], counts[first : last + 1], width=np.diff(edges)[first : last + 1],
                 align="edge", color=COLOURS[2], edgecolor="white", lw=1)  # fmt: skip
        right = max(edges[last + 1], 2 * ticks.period)
        axes.set(xlim=(edges[first] / 1.5, 1.5 * right), ylim=(0.5, 4.0 * counts.max()))
        axes.axvline(ticks.period, color=INK, lw=1, ls=(0, (4, 2)))
    axes.set(xlabel=f"µs late; dashed: one period, {ticks.period:g} µs", ylabel="ticks")
    axes.xaxis.set_major_locator(LogLocator(10, numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", "\u202f")))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", "\u202f")))
    _tidy(axes, "Low-level controller: lateness of its ticks", "y")


def _mean(mean: float, std: float) -> str:
    return f"{mean:.1f}" if np.isnan(std) else f"{mean:.1f} ± {std:.1f}"


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes: Axes, title: str, grid: Literal["x", "y"]) -> None:
    """No frame, no ticks, faint lines to read off by."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#9aa1ab")
    axes.tick_params(which="both", length=0, labelsize=9, colors=INK)
    axes.grid(axis=grid, color=FAINT, lw=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=10, color=INK, fontweight="bold")
