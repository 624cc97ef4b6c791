"""Errors of pose estimators as pictures: how they are distributed, and how they fell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dactyl_tl.curves import logarithmic, numbers
from dactyl_tl.evaluation.paper import TABLE_6
from dactyl_tl.evaluation.plots import FAINT, PAPER_COLOUR, POLICY_COLOURS, tidy
from dactyl_tl.evaluation.pose_report import NAMES, QUANTITIES
from dactyl_tl.evaluation.poses import PoseErrors
from dactyl_tl.metrics import FRAMES, read_metrics
from dactyl_tl.vision.drawing import VALIDATIONS

BINS = 40

AHEAD = 4.0
"""Curves are drawn with room for this many times the sets learnt from."""


def plot_poses(path: Path, results: Sequence[PoseErrors]) -> None:
    """Histograms of both errors, a row for each kind of pictures; the paper's means dashed.

    Errors on a logarithmic axis; the first bin holds everything below.
    """
    figure = Figure(figsize=(9.0, 8.1), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(NAMES), 2, sharex="col")
    edges_of = {each: _edges([getattr(result, each) for result in results]) for each in QUANTITIES}
    for row, (pictures, name) in enumerate(NAMES.items()):
        shown = [each for each in results if each.pictures == pictures]
        for column, (quantity, unit) in enumerate(QUANTITIES.items()):
            axis, edges = grid[row, column], edges_of[quantity]
            for result, colour in zip(shown, POLICY_COLOURS, strict=False):
                values = np.clip(getattr(result, quantity), edges[0], edges[-1])
                weights = np.full(len(values), 100 / len(values))
                mean = getattr(result, quantity).mean()
                label = f"{result.estimator}: mean {mean:.1f}, median {np.median(values):.1f}"
                axis.hist(values, edges, weights=weights, color=colour, alpha=0.6, label=label)
            if pictures in TABLE_6:
                paper = getattr(TABLE_6[pictures], quantity)[0]
                axis.axvline(
                    paper, color=PAPER_COLOUR, linestyle="--", linewidth=1.2, label=f"paper: mean {paper}"
                )
            axis.set_title(name, fontsize=10, loc="left")
            axis.set_xscale("log")
            axis.set_xlim(edges[0], edges[-1])
            numbers(axis.xaxis)
            axis.set_ylim(top=1.45 * axis.get_ylim()[1])  # for the legend
            axis.set_ylabel("% of the pictures" if column == 0 else "")
            if row == len(NAMES) - 1:
                axis.set_xlabel(f"error of the {quantity}, {unit}")
            _finish(axis)
    figure.savefig(path, dpi=120)


def _edges(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Edges of bins, evenly spaced in logarithms, that hold nearly all of each of ``values``."""
    low = min(np.percentile(each, 1) for each in values)
    return np.geomspace(low, max(each.max() for each in values), BINS + 1)


def plot_learning(path: Path, curves: Mapping[str, Path]) -> None:
    """Errors on held-out pictures over sets of pictures learnt from, on logarithmic axes.

    A column for each kind of pictures, the paper's means dashed: what falls by a power of the sets is a
    line, which can be drawn on.

    Args:
        path: File to write.
        curves: Metrics files by the estimator's name.
    """
    figure = Figure(figsize=(9.0, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(QUANTITIES), len(VALIDATIONS), sharex=True, sharey="row")
    rows = {name: read_metrics(file) for name, file in curves.items()}
    for column, pictures in enumerate(VALIDATIONS):
        for row, (quantity, unit) in enumerate(QUANTITIES.items()):
            axis = grid[row, column]
            for (name, run), colour in zip(rows.items(), POLICY_COLOURS, strict=False):
                sets = [each[FRAMES] for each in run]
                errors = [each[f"{pictures}/{quantity}"] for each in run]
                axis.plot(sets, errors, color=colour, linewidth=1.4, label=name)
            paper = getattr(TABLE_6[pictures], quantity)[0]
            axis.axhline(paper, color=PAPER_COLOUR, linestyle="--", linewidth=1.2, label=f"paper: {paper}")
            logarithmic(axis)
            axis.set_title(NAMES[pictures] if row == 0 else "", fontsize=10, loc="left")
            axis.set_ylabel(f"mean error of the {quantity}, {unit}" if column == 0 else "")
            axis.set_xlabel("sets of three pictures learnt from" if row == len(QUANTITIES) - 1 else "")
            _finish(axis)
    grid[0, 0].set_xlim(right=AHEAD * max(run[-1][FRAMES] for run in rows.values()))  # of all
    figure.savefig(path, dpi=120)


def _finish(axis: Axes) -> None:
    tidy(axis)
    axis.grid(color=FAINT)
    axis.legend(frameon=False, fontsize=8)
