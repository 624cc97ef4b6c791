"""Learning curves of runs and shipped policies: ``python -m dactyl_tl.curves NAME [...] --output FILE``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from dactyl_tl.metrics import FRAMES, read_metrics
from dactyl_tl.policies import CURVE, METRICS, locate, shipped_policies

CURVES = {
    "episode/successes": "goals an episode",
    "rollout/successes_per_second": "goals a second",
    "curriculum/goal_angle": "goals within, rad",
    "curriculum/randomization_scale": "share of randomizations",
    "episode/drop_rate": "drops an episode",
    "reward/total": "reward a step",
    "policy/entropy": "entropy, nats",
    "value/explained_variance": "explained variance",
    "throughput/frames_per_second": "frames/s",
    "classic/rotation": "other renderer, degrees",
    "classic/position": "other renderer, mm",
    "filament/rotation": "this renderer, degrees",
    "filament/position": "this renderer, mm",
    "loss": "loss",
    "throughput/pictures_per_second": "pictures/s",
}
"""Metrics that are drawn where a run has them, and what their axes say."""

LOGARITHMIC = ("classic/rotation", "classic/position", "filament/rotation", "filament/position", "loss")
"""Those drawn on logarithmic axes, where errors that fall by a power of what was learnt from are lines."""

SEEING = "throughput/pictures_per_second"
"""A metric of runs whose frames are sets of pictures."""


def plot_curves(runs: Mapping[str, Path], picture: Path, curves: Mapping[str, str] = CURVES) -> bool:
    """Draw ``curves`` of metrics files against their frames; False if there are no rows.

    Args:
        runs: metrics files by the name to give them; one alone gets no legend.
        picture: PNG file to write.
        curves: metrics and what their axes say.
    """
    rows = {name: read_metrics(path) for name, path in runs.items()}
    present = {key: label for key, label in curves.items() if any(r and key in r[-1] for r in rows.values())}
    if not present:
        return False
    longest = max(run[-1][FRAMES] for run in rows.values() if run)
    what = "sets of pictures learnt from" if SEEING in present else "environment frames"
    figure = Figure(figsize=(9.0, 2.3 * math.ceil(len(present) / 2)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(math.ceil(len(present) / 2), 2, squeeze=False).flat)
    for axis, (key, label) in zip(axes, present.items(), strict=False):
        for name, run in rows.items():
            axis.plot(
                [row[FRAMES] for row in run],
                [row.get(key, math.nan) for row in run],
                linewidth=1.2,
                label=name,
            )
        axis.set_ylabel(label)
        axis.set_xlabel(what)
        if key in LOGARITHMIC:
            logarithmic(axis)
        else:
            axis.set_xlim(0, 1.02 * longest)
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(present) :]:
        axis.set_visible(False)
    if len(rows) > 1:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False)
    figure.align_ylabels()
    figure.savefig(picture, dpi=120)
    return True


def logarithmic(axis: Axes) -> None:
    """Both axes logarithmic, with numbers that can be read; to be called when all is drawn."""
    axis.set_xscale("log")
    axis.set_yscale("log")
    numbers(axis.xaxis)
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    numbers(axis.yaxis)


def numbers(axis: Axis) -> None:
    """Numbers that can be read at a logarithmic axis."""
    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high > 10 * low else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the curves of run directories into one picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a training run, or a shipped policy's name")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), help="picture to write")
    options = parser.parse_args(arguments)
    files = {Path(run).name: _metrics(run) for run in options.runs}
    for run, path in zip(options.runs, files.values(), strict=True):
        if not path.exists():
            parser.error(
                f"{run} has no {path.name}; name a training run or one of {', '.join(shipped_policies())}"
            )
    plot_curves(files, options.output)
    print(f"wrote {options.output}")


def _metrics(run: str) -> Path:
    return locate(run) / CURVE if run in shipped_policies() else Path(run) / METRICS


if __name__ == "__main__":
    main()
