"""What a policy remembers of hand and object (Section 6.4): ``python -m dactyl_tl.analysis.memory POLICY``.

In the fully randomised simulation, is a parameter of the episode above its median? A linear classifier
reads the answer off the LSTM's state some seconds into the episode, and is judged on episodes that it
was not fitted to. The paper reports one number: after 5 s, 80 % for the block's size.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tensordict import TensorDictBase

from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.policies import NamedPolicy, find_policies
from dactyl_tl.evaluation.report import TABLE_WIDTH
from dactyl_tl.evaluation.statistics import CONFIDENCE, Interval, bootstrap_mean
from dactyl_tl.evaluation.worlds import simulated_world
from dactyl_tl.trials import act_once, batch_seed_of, empty_memory

SECONDS = 5.0
"""Into the episode (Section 6.4)."""

HELD_OUT = 0.3
"""Share of the episodes that judge the classifiers."""

STRENGTHS = tuple(10.0**exponent for exponent in range(0, 6))
"""Of the classifiers' regularisation, chosen on the other episodes by leaving one out."""

PAPER = {"object dimensions": 0.80}
"""Published accuracies (Section 6.4)."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Memories:
    """Recurrent states and what the episodes' parameters were.

    Attributes:
        states: (episodes, 2 x LSTM units), hidden and cell state.
        parameters: name -> (episodes, coordinates), as :attr:`ReorientEnv.parameters` names them.
        survived: share of the episodes that had not ended before; the others are not here.
    """

    states: Array
    parameters: Mapping[str, Array]
    survived: float


@dataclass(frozen=True)
class Probe:
    """How well one parameter can be read off.

    Attributes:
        parameter: of Table 1, in words.
        coordinates: how many there are of its kind, each with a classifier of its own.
        accuracy: on held-out episodes, mean of the coordinates, with its interval; 0.5 is chance.
    """

    parameter: str
    coordinates: int
    accuracy: Interval


def collect(
    policy: NamedPolicy, episodes: int, *, seconds: float = SECONDS, parallel: int = 250, seed: int = 0
) -> Memories:
    """Run episodes with all randomizations and keep the recurrent state of those that last.

    Args:
        policy: a recurrent one.
        episodes: to begin.
        seconds: into each episode.
        parallel: of them side by side.
        seed: of initial states, randomizations, goals and actions.

    Raises:
        ConfigurationError: the policy has no memory.
    """
    memory = empty_memory(policy.module, parallel)
    if not memory.keys():
        raise ConfigurationError(f"{policy.name} has no recurrent state to read")
    world = simulated_world(
        policy.task,
        num_trials=parallel,
        randomization="all",
        hand=policy.hand,
        actions=policy.actions,
        num_threads=0,
    )
    states, parameters, begun = [], [], 0
    batches = -(-episodes // parallel)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for batch in track(range(batches), policy.name, transient=True):
            world.begin(batch_seed_of(seed, batch))
            sampled = world.env.parameters
            carried: TensorDictBase = memory
            alive = torch.ones(parallel, dtype=torch.bool)
            for _ in range(round(seconds / CONTROL_PERIOD)):
                events, carried = act_once(world, policy.module, carried)
                alive &= ~events.stopped.cpu()
            begun += parallel
            states.append(torch.cat([carried[key].flatten(1) for key in carried.keys()], 1)[alive])
            parameters.append(sampled[alive])
    world.close()
    values = {name: torch.cat([each[name] for each in parameters]).double() for name in parameters[0].keys()}
    kept = torch.cat(states).double().numpy()
    return Memories(kept, {k: v.flatten(1).numpy() for k, v in values.items()}, len(kept) / begun)


def table_1(parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The rows of Table 1, each (episodes, coordinates), named in words."""
    gravity = parameters["gravity"]
    return {
        "object dimensions": parameters["object_dimensions"],
        "object mass": parameters["object_mass"],
        "surface friction": parameters["surface_friction"],
        "gravity, x": gravity[:, :1],
        "gravity, y": gravity[:, 1:2],
        "gravity, z": gravity[:, 2:],
        "actuator gain": parameters["actuator_gain"],
        "joint damping": parameters["joint_damping"],
        "joint limits": parameters["joint_limits"],
        "link masses": parameters["link_masses"],
    }


def probe(memories: Memories, *, seed: int = 0) -> list[Probe]:
    """Fit and judge a classifier for every coordinate of every row of Table 1.

    Args:
        memories: of enough episodes; a few thousand.
        seed: of the split.
    """
    rows = table_1(memories.parameters)
    fitted, judged = train_test_split(np.arange(len(memories.states)), test_size=HELD_OUT, random_state=seed)
    probes = []
    for name, values in track(rows.items(), "classifiers", transient=True):
        right = np.stack([_judge(memories.states, column, fitted, judged) for column in values.T], 1)
        # A resampled episode brings all its coordinates along.
        probes.append(Probe(name, values.shape[1], bootstrap_mean(right.mean(1))))
    return probes


def _judge(states: Array, values: Array, fitted: NDArray[np.int64], judged: NDArray[np.int64]) -> Array:
    """1 where a classifier of the ``fitted`` episodes is right about a ``judged`` one, else 0."""
    above = values > np.median(values[fitted])
    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=STRENGTHS))
    classifier.fit(states[fitted], above[fitted])
    return (classifier.predict(states[judged]) == above[judged]).astype(float)


def plot_probes(path: Path, probes: Sequence[Probe], title: str) -> None:
    """Draw accuracies with their intervals, chance, and what the paper reports."""
    figure = Figure(figsize=(7.5, 0.36 * len(probes) + 1.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for y, each in enumerate(probes):
        accuracy = each.accuracy
        axes.plot([accuracy.low, accuracy.high], [y, y], color="#2f6fb7", lw=4, alpha=0.4, zorder=2)
        axes.plot(accuracy.estimate, y, "o", color="#2f6fb7", ms=6, zorder=3)
        axes.annotate(f"{accuracy.estimate:.0%}", (accuracy.high, y), (6, 0), textcoords="offset points",
                      va="center", fontsize=8.5, color="#2f6fb7")  # fmt: skip
        if each.parameter in PAPER:
            axes.plot(PAPER[each.parameter], y, "D", color="#3d434c", ms=6, zorder=3)
            axes.annotate("paper", (PAPER[each.parameter], y), (7, 0), textcoords="offset points",
                          va="center", fontsize=8.5, color="#3d434c")  # fmt: skip
    axes.axvline(0.5, color="#9aa1ab", lw=1, ls=(0, (3, 2)))
    labels = [f"{p.parameter}" + (f" (mean of {p.coordinates})" if p.coordinates > 1 else "") for p in probes]
    axes.set_yticks(range(len(probes)), labels)
    axes.set(xlim=(0.45, 1.0), ylim=(len(probes) - 0.5, -0.5))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(f"right on held-out episodes, with {CONFIDENCE:.0%} interval; dashed: chance", fontsize=9)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=150)


def table(probes: Sequence[Probe], title: str) -> Table:
    """For a terminal."""
    shown = Table(title=title, title_justify="left", width=TABLE_WIDTH)
    shown.add_column("above its median?", ratio=1)
    for column in ("coordinates", "right", f"{CONFIDENCE:.0%} interval", "paper"):
        shown.add_column(column, justify="right", no_wrap=True)
    for each in probes:
        accuracy = each.accuracy
        paper = f"{PAPER[each.parameter]:.0%}" if each.parameter in PAPER else ""
        interval = f"{accuracy.low:.1%} to {accuracy.high:.1%}"
        shown.add_row(each.parameter, str(each.coordinates), f"{accuracy.estimate:.1%}", interval, paper)
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Collect, probe, print, draw."""
    parser = argparse.ArgumentParser(prog="python -m dactyl_tl.analysis.memory", description=__doc__)
    parser.add_argument("policy", help="a shipped policy's name, a bundle, a checkpoint or a run")
    parser.add_argument("--episodes", type=int, default=4000, help="to begin")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="into each episode")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("outputs/memory"))
    options = parser.parse_args(arguments)
    try:
        (policy,) = find_policies([options.policy])
        memories = collect(policy, options.episodes, seconds=options.seconds, seed=options.seed)
    except ConfigurationError as error:
        parser.error(str(error))
    probes = probe(memories, seed=options.seed)
    title = f"{policy.name}, {options.seconds:g} s into {len(memories.states):,} episodes"
    console = Console()
    console.print(table(probes, title))
    console.print(f"{memories.survived:.0%} of {options.episodes:,} episodes lasted; seed {options.seed}")
    options.output.mkdir(parents=True, exist_ok=True)
    facts = {"policy": policy.name, "seconds": options.seconds, "episodes": len(memories.states)}
    facts |= {
        "survived": memories.survived,
        "seed": options.seed,
        "probes": [asdict(each) for each in probes],
    }
    (options.output / "memory.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    plot_probes(options.output / "memory.png", probes, title)
    console.print(f"wrote {options.output / 'memory.json'}, {options.output / 'memory.png'}")


if __name__ == "__main__":
    main()
