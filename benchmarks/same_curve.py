"""``python -m benchmarks.same_curve``: does it learn the same, however it collects?

In step (in-process, multi-process, Ray with ``max_age=0``) one seed gives one curve, to the last bit
(``tests/test_same_curve.py``). Out of step the order in which rollouts arrive differs from run to run, so
seeds are compared as a sample: the laptop's recipe, the same frames, each seed once in every way.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from benchmarks.report import environment, heading, table, write_json
from benchmarks.runs import metrics_of

METRICS = (
    "episode/successes",
    "rollout/goal_distance",
    "reward/total",
    "policy/entropy",
    "policy/first_kl",
    "policy/clip_fraction",
    "collection/weights_age",
)
LAST = 0.2
"""Share of the rollouts, the last ones, that a run's figures are means of."""

STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36}
"""Two-sided 95 % quantiles of Student's distribution by the number of values."""


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_curve", description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=["multiprocess", "asynchronous", "ray"])
    parser.add_argument("--seeds", type=int, default=4, choices=sorted(STUDENT))
    parser.add_argument("--frames", type=int, default=300_000)
    parser.add_argument("--output", help="JSON file for all figures")
    options = parser.parse_args()
    facts = environment(["torch", "torchrl", "mujoco-core", "ray"])
    print(heading(facts), flush=True)
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in options.kinds}
    for seed in range(options.seeds):
        for kind in options.kinds:
            found[kind].append(last_figures(kind, seed, options.frames))
            print(f"  {kind}, seed {seed}: {found[kind][-1]}", file=sys.stderr, flush=True)
    first, *others = options.kinds
    print(
        f"\n{options.frames:,} frames of experiment=laptop, seeds 0 to {options.seeds - 1}; means over the "
        f"last {LAST:.0%} of the rollouts\n"
    )
    columns = ("metric", *options.kinds, *(f"{kind} less {first}" for kind in others))
    print(table(columns, [_row(metric, found, first, others) for metric in METRICS]))
    if options.output:
        write_json(options.output, {"environment": facts, "frames": options.frames, "runs": found})


def last_figures(kind: str, seed: int, frames: int) -> dict[str, float]:
    """Train once; means over the last rollouts."""
    rows = metrics_of(
        ["experiment=laptop", "minutes=null", f"collection.kind={kind}", f"seed={seed}", f"frames={frames}"]
    )
    rows = rows[-max(1, round(LAST * len(rows))) :]
    return {metric: statistics.fmean(row[metric] for row in rows) for metric in METRICS}


def _row(metric: str, found: dict[str, list[dict[str, float]]], first: str, others: list[str]) -> list[str]:
    values = {kind: [run[metric] for run in runs] for kind, runs in found.items()}
    cells = [f"{statistics.fmean(each):.3f} ± {statistics.stdev(each):.3f}" for each in values.values()]
    for kind in others:
        differences = [other - one for other, one in zip(values[kind], values[first], strict=True)]
        cells.append(interval(differences))
    return [metric, *cells]


def interval(values: list[float]) -> str:
    """Mean and its 95 % interval, by Student's distribution."""
    mean = statistics.fmean(values)
    half = STUDENT[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


if __name__ == "__main__":
    main()
