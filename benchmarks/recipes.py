"""``python -m benchmarks.recipes COMPARISON``: small paired trainings that decide what a recipe is made of.

Every arm differs from the baseline in one thing (``benchmarks/recipes.toml``), trains for the same frames
from the same seeds, one core each, and is evaluated on the same trials, or on the same pictures where what
is trained sees. Ctrl-C or SIGTERM stops after the rollouts under way; the same line goes on.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from benchmarks.report import environment, heading, table, write_json
from benchmarks.runs import ROOT
from dactyl_tl.evaluation.pose_report import read_pose_csv
from dactyl_tl.evaluation.report import read_json
from dactyl_tl.evaluation.statistics import bootstrap_difference
from dactyl_tl.metrics import FRAMES, read_metrics
from dactyl_tl.policies import BUNDLES, METRICS

ARMS = Path(__file__).with_name("recipes.toml")
BASELINE = "baseline"


@dataclass(frozen=True)
class Subject:
    """What is trained, and how it is judged.

    Attributes:
        one_core: Words of train.py that keep it on one core.
        judged: Words of evaluate.py, with the bundle's directory to be filled in.
        results: The file that holds what came of it, in evaluate.py's output.
        values: What came of each trial, read from that file.
        curve: Metric that is drawn, and what its axis says.
        smoothed: Rows that a point of the curve is the mean of.
    """

    one_core: tuple[str, ...]
    judged: tuple[str, ...]
    results: str
    values: Callable[[Path], np.ndarray]
    curve: tuple[str, str]
    smoothed: int


def _successes(path: Path) -> np.ndarray:
    return read_json(path)[0].successes


def _degrees(path: Path) -> np.ndarray:
    return next(each.rotation for each in read_pose_csv(path) if each.pictures == "classic")


SUBJECTS = {
    "policy": Subject(
        one_core=(
            *("collection=inprocess", "collection.workers=1", "collection.num_envs=256"),
            *("trainer.devices=1", "logger=csv"),
        ),
        judged=("policy={bundle}", "threads=1"),
        results="results.json",
        values=_successes,
        curve=("rollout/successes_per_second", "goals a simulated second"),
        smoothed=20,
    ),
    "pose": Subject(
        one_core=("threads=1", "pictures.workers=1", "trainer.devices=1", "logger=csv"),
        judged=("suite=pose", "pose={bundle}", "workers=1", "threads=1"),
        results="errors.csv",
        values=_degrees,
        curve=("classic/rotation", "degrees, the other renderer"),
        smoothed=1,
    ),
}


@dataclass(frozen=True)
class Comparison:
    """One table of ``recipes.toml``."""

    name: str
    about: str
    subject: str
    base: tuple[str, ...]
    frames: int
    trials: tuple[str, ...]
    arms: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, name: str, path: Path = ARMS) -> Comparison:
        """The comparison called ``name``; its first arm is the baseline.

        Raises:
            SystemExit: there is none of that name.
        """
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        if name not in tables:
            raise SystemExit(f"there is no comparison {name}; choose from {', '.join(tables)}")
        found = tables[name]
        arms = {BASELINE: ()} | {arm: tuple(words) for arm, words in found["arms"].items()}
        return cls(
            name, found["about"], found.get("subject", "policy"), tuple(found["base"]), found["frames"],
            tuple(found["trials"]), arms,
        )  # fmt: skip

    @property
    def of(self) -> Subject:
        """What is trained."""
        return SUBJECTS[self.subject]


@dataclass(frozen=True)
class Run:
    """One arm trained from one seed."""

    comparison: Comparison
    arm: str
    seed: int
    folder: Path

    @property
    def directory(self) -> Path:
        """Of the training run."""
        name = re.sub(r"[^\w.-]+", "_", self.arm.replace("'", ""))  # Hydra reads a comma as a list's
        return self.folder / self.comparison.name / name / str(self.seed)

    @property
    def results(self) -> Path:
        """What the trials gave; there once the run is complete."""
        return self.directory / "trials" / self.comparison.of.results

    @property
    def values(self) -> np.ndarray:
        """What came of each trial."""
        return self.comparison.of.values(self.results)

    def commands(self) -> list[list[str]]:
        """Training and evaluation."""
        both = self.comparison
        train = [*both.base, *both.of.one_core, f"frames={both.frames}", f"seed={self.seed}", "resume=auto"]
        judge = [
            *both.trials,
            *(word.format(bundle=self.directory / BUNDLES / "last") for word in both.of.judged),
        ]
        return [
            ["train.py", *train, *both.arms[self.arm], f"hydra.run.dir={self.directory}"],
            ["evaluate.py", *judge, f"hydra.run.dir={self.results.parent}"],
        ]


def main() -> None:
    """Train what is missing, evaluate, print and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description=__doc__)
    parser.add_argument("comparison", help="a table of recipes.toml")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="ARM", help="these arms beside the baseline")
    parser.add_argument("--frames", type=int, help="of each run; default: the comparison's")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, a core each")
    parser.add_argument("--output", type=Path, default=Path("outputs/recipes"))
    options = parser.parse_args()
    comparison = Comparison.read(options.comparison)
    if options.frames:
        comparison = Comparison(**vars(comparison) | {"frames": options.frames})
    for arm in options.only or ():
        if arm not in comparison.arms:
            parser.error(f"there is no arm {arm!r}; choose from {', '.join(map(repr, comparison.arms))}")
    arms = [arm for arm in comparison.arms if not options.only or arm in (BASELINE, *options.only)]
    folder = options.output.resolve()
    runs = [Run(comparison, arm, seed, folder) for seed in range(options.seeds) for arm in arms]
    facts = environment(["torch", "torchrl", "mujoco-core"])
    print(heading(facts), flush=True)
    train_all([run for run in runs if not run.results.exists()], options.jobs)
    complete = {arm: [run for run in runs if run.arm == arm and run.results.exists()] for arm in arms}
    complete = {arm: found for arm, found in complete.items() if len(found) == options.seeds}
    if BASELINE not in complete:
        raise SystemExit("the baseline is not complete; run the same line again")
    values = {arm: [run.values for run in found] for arm, found in complete.items()}
    print(f"\n{comparison.name}: {comparison.about}; {comparison.frames:,} frames, one core each\n")
    print(summary(values))
    place = folder / comparison.name
    write_json(
        place / "comparison.json",
        {
            "environment": facts,
            **vars(comparison),
            "values": {a: [s.tolist() for s in each] for a, each in values.items()},
        },
    )
    draw(
        {arm: [run.directory / METRICS for run in found] for arm, found in complete.items()},
        place / "curves.png",
        comparison.of,
    )
    print(f"\nwrote {place / 'comparison.json'}, {place / 'curves.png'}")


def train_all(runs: Sequence[Run], jobs: int) -> None:
    """Complete the runs, ``jobs`` at a time, each on a core of its own, in order.

    Raises:
        SystemExit: stopped by a signal; or a run failed, with what it said.
    """
    stop, cores = Event(), SimpleQueue[int]()
    for core in sorted(os.sched_getaffinity(0))[:jobs]:
        cores.put(core)
    processes: set[subprocess.Popen[str]] = set()

    def end(number: int, _: Any) -> None:
        stop.set()
        for process in list(processes):
            process.send_signal(signal.SIGTERM)

    def complete(run: Run) -> None:
        core = cores.get()
        try:
            for command in run.commands():
                if stop.is_set():
                    return
                _execute(command, core, processes, stop)
            if stop.is_set():
                return
            print(f"  {run.arm}, seed {run.seed}: {run.values.mean():.2f}", file=sys.stderr, flush=True)
        finally:
            cores.put(core)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ThreadPoolExecutor(jobs) as pool:
            waiting = [pool.submit(complete, run) for run in runs]
            for each in waiting:
                try:
                    each.result()
                except RuntimeError as error:
                    end(0, None)
                    raise SystemExit(str(error)) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.is_set():
        raise SystemExit("stopped; run the same line again to go on")


def _execute(command: Sequence[str], core: int, processes: set[subprocess.Popen[str]], stop: Event) -> None:
    process = subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C is ours to pass on
    )
    processes.add(process)
    _, said = process.communicate()
    processes.discard(process)
    if process.returncode and not stop.is_set():
        raise RuntimeError(f"{' '.join(command)} failed:\n{said}")


def summary(values: Mapping[str, Sequence[np.ndarray]]) -> str:
    """A row an arm: what each seed came to, and the difference from the baseline on the same trials.

    Its interval is over trials; how much seeds differ is to be seen from the seeds.

    Args:
        values: by arm, of each seed, goals or degrees of each trial (trials,); the baseline first.
    """
    base = values[BASELINE]
    rows = []
    for arm, seeds in values.items():
        means = [f"{each.mean():.2f} ± {each.std(ddof=1):.2f}" for each in seeds]
        if arm == BASELINE:
            rows.append([arm, *means, "", ""])
            continue
        # A resampled trial brings its result of every seed along.
        gain = bootstrap_difference(np.mean(seeds, axis=0), np.mean(base, axis=0))
        better = {bool(ours.mean() > theirs.mean()) for ours, theirs in zip(seeds, base, strict=True)}
        agreement = "one seed" if len(seeds) == 1 else "yes" if len(better) == 1 else "no"
        rows.append(
            [
                arm,
                *means,
                f"{gain.estimate:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]",
                agreement,
            ]
        )
    names = [f"seed {seed}" for seed in range(len(base))]
    return table(("arm", *names, "less the baseline", "seeds agree"), rows)


def draw(metrics: Mapping[str, Sequence[Path]], picture: Path, subject: Subject) -> None:
    """A panel an arm: its seeds over frames, the baseline's in grey behind.

    Args:
        metrics: metrics files of each arm, one a seed.
        picture: PNG file to write.
        subject: that was trained.
    """
    curves = {arm: [_curve(path, subject) for path in paths] for arm, paths in metrics.items()}
    arms = [arm for arm in curves if arm != BASELINE]
    columns = min(4, len(arms))
    rows = -(-len(arms) // columns)
    figure = Figure(figsize=(11.0, 2.0 * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for number, (panel, arm) in enumerate(zip(panels.flat, arms, strict=False)):
        for frames, values in curves[BASELINE]:
            panel.plot(frames, values, color="#b4bac4", lw=1.6)
        for frames, values in curves[arm]:
            panel.plot(frames, values, color="#2f6fb7", lw=1.2)
        panel.set_title(arm, fontsize=9, loc="left")
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.tick_params(labelsize=8, length=0)
        panel.xaxis.set_tick_params(labelbottom=number + columns >= len(arms))  # none stands below
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in list(panels.flat)[len(arms) :]:
        panel.set_visible(False)
    figure.supylabel(subject.curve[1], fontsize=9)
    figure.supxlabel("frames (grey: baseline)", fontsize=9)
    figure.savefig(picture, dpi=120)


def _curve(path: Path, subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    name, _ = subject.curve
    rows = [row for row in read_metrics(path) if name in row]
    values = np.array([row[name] for row in rows])
    width = min(subject.smoothed, len(values))
    means = np.convolve(values, np.ones(width) / width, mode="valid")
    return np.array([row[FRAMES] for row in rows])[width - 1 :], means


if __name__ == "__main__":
    main()
