"""``python -m benchmarks.costs scaling.json``: where time goes on machines that are not here.

A model with few parameters, each fitted to what ``python -m benchmarks.scaling --output scaling.json``
measured or assumed and then named. It is checked against the measurements it was not fitted to, and carried
to the paper's own 384 machines of 16 cores and 8 GPUs (App. C, section 4.3).
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.floors import networks, step_flops
from benchmarks.report import heading, table
from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.learning import PPOConfig
from dactyl_tl.models import NetworkConfig

HOUR, YEAR = 3600.0, 365.25 * 24 * 3600.0

PAPER = {"machines": 384, "cores": 16, "gpus": 8, "years_per_hour": 2.0, "batch_per_gpu": 800_000}
"""Section 4.3 and Table 10."""

ASSUMED = {
    "peak of a V100, half precision (data sheet), FLOP/s": 125e12,
    "share of it that an LSTM's update reaches": 0.2,
    "network of a learner, bytes/s (10 Gbit/s)": 1.25e9,
    "network of an actor's machine, bytes/s (10 Gbit/s)": 1.25e9,
    "share of a core's speed when all 16 work": 0.8,
}
"""What nothing here can measure. On a CPU the update reaches 0.7 to 0.8 of the peak of large products; a GPU
minds an LSTM's small ones more."""


NOTICEABLE = 0.5
"""Share of a message's latency that its bytes must take to say how fast they go."""


@dataclass(frozen=True)
class Line:
    """Seconds of a message: ``latency + bytes / bandwidth``."""

    latency: float
    bandwidth: float

    def seconds(self, size: float) -> float:
        """Of a message of ``size`` bytes."""
        return self.latency + size / self.bandwidth

    def words(self, largest: float) -> str:
        """Latency and bandwidth; no bandwidth that shows neither in the ``largest`` message measured."""
        latency = f"{1e3 * self.latency:.1f} ms"
        if largest / self.bandwidth < NOTICEABLE * self.latency:
            return f"{latency}, whatever the size up to {largest / 1e6:.1f} MB"
        return f"{latency}, and {self.bandwidth / 1e6:,.0f} MB/s"


@dataclass(frozen=True)
class Model:
    """What one core, one message and one rank cost here.

    Attributes:
        core: frames/s of an actor on a core of its own.
        learner: s of the learner a frame, one thread.
        weights: of a weight update.
        rollout: of a rollout.
        reduce: s a frame that a second rank adds to the learner's.
        second: speed of two actors at a time beside twice that of one.
    """

    core: float
    learner: float
    weights: Line
    rollout: Line
    reduce: float
    second: float


def fit(measured: dict[str, Any]) -> Model:
    """The model of the machine that ``benchmarks.scaling`` ran on."""
    cases = {(each["kind"], each["workers"], each["ranks"]): each["laps"] for each in measured["cases"]}

    def of(key: tuple[str, int, int], name: str) -> float:
        return statistics.median(lap[name] for lap in cases[key])

    single, double = ("multiprocess", 1, 1), ("multiprocess", 2, 1)

    def acting(key: tuple[str, int, int]) -> float:
        return of(key, "frames") / of(key, "collecting")

    rank, ranks = ("inprocess", 1, 1), ("inprocess", 1, 2)
    alone = of(rank, "learning") / of(rank, "frames")
    together = of(ranks, "learning") / (of(ranks, "frames") / 2)
    transfers = measured["transfers"]
    return Model(
        core=acting(single),
        learner=alone,
        weights=line([(each["weight_bytes"], each["weight_seconds"]) for each in transfers]),
        rollout=line([(each["rollout_bytes"], each["rollout_seconds"]) for each in transfers]),
        reduce=max(together - alone, 0.0),
        second=acting(double) / (2 * acting(single)),
    )


def line(points: Sequence[tuple[float, float]]) -> Line:
    """Least squares through (bytes, s); the latency is at least 0."""
    slope, intercept = statistics.linear_regression(*zip(*points, strict=True))
    if intercept < 0:
        slope, intercept = sum(x * y for x, y in points) / sum(x * x for x, _ in points), 0.0
    return Line(intercept, 1 / slope if slope > 0 else float("inf"))


def main() -> None:
    """Print the fit, how it does on the measurements, and the paper's cluster."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("measured", type=Path, help="JSON of benchmarks.scaling")
    measured = json.loads(parser.parse_args().measured.read_text())
    model = fit(measured)
    print(heading(measured["environment"]))
    print("\nFitted\n")
    sizes = {
        name: max(each[f"{name}_bytes"] for each in measured["transfers"]) for name in ("weight", "rollout")
    }
    print(table(("parameter", "value"), _parameters(model, sizes)))
    print("\nChecked: frames/s of the whole\n")
    print(table(("case", "measured", "model", "ratio"), checks(measured, model)))
    print("\nAssumed\n")
    print(table(("assumption", "value"), [[name, f"{value:g}"] for name, value in ASSUMED.items()]))
    print("\nThe paper's cluster\n")
    print(table(("what", "frames/s", "million frames an hour", "years an hour"), paper(model)))
    print()
    print(table(("traffic", "bytes", "of a machine's or learner's network"), traffic(model)))


def _parameters(model: Model, sizes: Mapping[str, float]) -> list[list[str]]:
    return [
        ["an actor on a core, frames/s", f"{model.core:,.0f}"],
        ["two at a time, beside twice one", f"{model.second:.2f}"],
        ["learner, us a frame", f"{1e6 * model.learner:.1f}"],
        ["a second rank adds, us a frame", f"{1e6 * model.reduce:.1f}"],
        ["weights on their way", model.weights.words(sizes["weight"])],
        ["a rollout on its way", model.rollout.words(sizes["rollout"])],
    ]


def checks(measured: dict[str, Any], model: Model) -> list[list[str]]:
    """The model beside every measurement; in step: the sum of the parts, out of step: the longest."""
    rows = []
    cores = measured["environment"]["cores"]
    for case in measured["cases"]:
        frames = statistics.median(lap["frames"] for lap in case["laps"])
        speed = statistics.median(lap["frames_per_second"] for lap in case["laps"])
        number = case["workers"] * case["ranks"]
        share = model.second if number > 1 else 1.0
        collecting = frames / (number * model.core * share)
        learning = frames / case["ranks"] * (model.learner + (model.reduce if case["ranks"] > 1 else 0.0))
        if case["kind"] in ("asynchronous", "ray"):
            work = number * (frames / number / model.core) + learning
            seconds = max(collecting, learning, work / cores)
        else:
            seconds = collecting + learning
        name = f"{case['kind']}, {case['workers']} x {case['ranks']}"
        predicted = frames / seconds
        rows.append([name, f"{speed:,.0f}", f"{predicted:,.0f}", f"{predicted / speed:.2f}"])
    return rows


def paper(model: Model) -> list[list[str]]:
    """Rates of each part of the paper's cluster, and of the whole, which is its slowest part."""
    network, config = NetworkConfig(), PPOConfig()
    cores = PAPER["machines"] * PAPER["cores"]
    acting = model.core * ASSUMED["share of a core's speed when all 16 work"]
    flops = step_flops(network.dense, network.lstm, 1, config.epochs)
    reached = (
        ASSUMED["peak of a V100, half precision (data sheet), FLOP/s"]
        * ASSUMED["share of it that an LSTM's update reaches"]
    )
    learning = PAPER["gpus"] * reached / flops
    ingest = PAPER["gpus"] * ASSUMED["network of a learner, bytes/s (10 Gbit/s)"] / frame_bytes()
    rates = {
        f"{cores:,.0f} cores simulate and act": cores * acting,
        f"{PAPER['gpus']:.0f} GPUs learn": learning,
        f"{PAPER['gpus']:.0f} learners receive": ingest,
    }
    theirs = PAPER["years_per_hour"] * YEAR / HOUR / CONTROL_PERIOD
    rates |= {"predicted, the slowest of these": min(rates.values()), "the paper's": theirs}
    return [
        [
            name,
            f"{rate:,.0f}",
            f"{rate * HOUR / 1e6:,.0f}",
            f"{rate * CONTROL_PERIOD * HOUR / YEAR:.1f}",
        ]
        for name, rate in rates.items()
    ]


def frame_bytes() -> float:
    """Of a frame of Table 10's policy on its way to the learner."""
    from benchmarks.learner import CHUNK, synthetic_rollout

    network = NetworkConfig()
    steps = synthetic_rollout(1, CHUNK, 1, 0.0, 0)
    states = 2 * network.lstm * 4 / CHUNK
    return steps.bytes() / CHUNK + states


def traffic(model: Model) -> list[list[str]]:
    """What passes the wires between two updates of the paper's batch, at the paper's own rate."""
    policy, _ = networks(NetworkConfig().dense, NetworkConfig().lstm)
    weights = 4.0 * policy.parameters
    batch = PAPER["gpus"] * PAPER["batch_per_gpu"]
    interval = batch / (PAPER["years_per_hour"] * YEAR / HOUR / CONTROL_PERIOD)
    per_machine = batch / PAPER["machines"] * frame_bytes()
    link = ASSUMED["network of an actor's machine, bytes/s (10 Gbit/s)"]
    learner = ASSUMED["network of a learner, bytes/s (10 Gbit/s)"]
    received = PAPER["batch_per_gpu"] * frame_bytes()
    sent = weights * PAPER["machines"] / PAPER["gpus"]

    def share(size: float, bandwidth: float) -> str:
        return f"{size / bandwidth / interval:.1%} of {interval:.0f} s"

    return [
        ["weights to a machine", f"{weights / 1e6:,.0f} MB", share(weights, link)],
        ["rollouts from a machine", f"{per_machine / 1e6:,.0f} MB", share(per_machine, link)],
        ["rollouts to a learner", f"{received / 1e9:,.2f} GB", share(received, learner)],
        ["weights from a learner, to each machine one by one", f"{sent / 1e9:,.2f} GB", share(sent, learner)],
    ]


if __name__ == "__main__":
    main()
