"""``python -m benchmarks.scaling``: one and two of everything, on this machine.

Each case is the real command, ``python train.py``, for a few rollouts with the real environment; the figures
are read from its metrics. Cases take turns, so that a machine that is busy for a while slows all of them.
The cost model (``python -m benchmarks.costs``) is fitted to the file that this writes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import asdict, dataclass

import torch

from benchmarks.report import environment, heading, spread, table, write_json
from benchmarks.runs import metrics_of
from dactyl_tl.collection.board import Board
from dactyl_tl.models import NetworkConfig, build_actor

TARGET = 0.85
"""Share of twice the speed of one that two should reach where there are cores for them."""

WARMUP = 2
"""Rollouts that are not counted: kernels load, actors start, first episodes begin together."""

TRANSFERS = ((32, 64, 32), (512, 256, 128), (512, 1024, 512))
"""Simulations, dense and LSTM units: small and large messages, for the costs of a message and of a byte."""

TRANSFER_ROLLOUTS = 5
TRANSFER_COLUMNS = ("weights, MB", "weights, ms", "rollout, MB", "rollout, ms")

COLUMNS = (
    "collection",
    "frames/s",
    "frames/s while collecting",
    "learner, s a rollout",
    "learner waits",
    "workers wait",
    "bytes a frame",
    "weights, ms",
    "weights' age",
)


@dataclass(frozen=True)
class Case:
    """One way to train.

    Args:
        kind: of collection.
        workers: of it.
        ranks: that train together.
    """

    kind: str
    workers: int = 1
    ranks: int = 1

    @property
    def name(self) -> str:
        """As the table calls it."""
        if self.ranks > 1:
            return f"DDP, {self.ranks} ranks of {self.kind}, {self.workers} each"
        return f"{self.kind}, {self.workers}"

    @property
    def overlapping(self) -> bool:
        """Whether workers go on while the learner learns: what it waits is then not what they take."""
        return self.kind in ("asynchronous", "ray")

    @property
    def busy(self) -> int:
        """Cores that work at a time at most."""
        return self.ranks * (self.workers if self.kind != "inprocess" else 1) + self.overlapping


CASES = (
    Case("inprocess"),
    Case("multiprocess"),
    Case("multiprocess", 2),
    Case("asynchronous"),
    Case("asynchronous", 2),
    Case("ray"),
    Case("ray", 2),
    Case("inprocess", 1, 2),
)


def main() -> None:
    """Measure all cases and print the tables."""
    options = _options()
    facts = environment(["torch", "torchrl", "mujoco-core", "ray"])
    print(heading(facts), flush=True)
    cases = [case for case in CASES if case.kind in options.kinds]
    laps: dict[Case, list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(options.repetitions):
        for case in cases:
            began = time.monotonic()
            laps[case].append(measure(case, options))
            print(f"  {case.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    weights = weight_update(NetworkConfig(dense=options.dense, lstm=options.lstm))
    transfers = [transfer(size, options) for size in TRANSFERS] if "ray" in options.kinds else []
    rows = [_row(case, laps[case], weights) for case in cases]
    print(
        f"\n{options.num_envs} simulations a worker, {options.steps} control steps a rollout, dense "
        f"{options.dense}, LSTM {options.lstm}; repetitions: {options.repetitions}\n"
    )
    print(table(COLUMNS, rows))
    print()
    if transfers:
        print(table(TRANSFER_COLUMNS, [_transfer_row(each) for each in transfers]))
        print()
    print(table(("of two beside one", "speed", "efficiency", "target"), _efficiencies(laps)))
    if options.output:
        write_json(
            options.output,
            {
                "environment": facts,
                "options": {key: value for key, value in vars(options).items() if key != "output"},
                "weights": weights,
                "transfers": transfers,
                "cases": [asdict(case) | {"laps": laps[case]} for case in cases],
            },
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--rollouts", type=int, default=8, help="of each case and repetition, besides warm-up"
    )
    parser.add_argument("--num-envs", type=int, default=256, help="simulations of a worker")
    parser.add_argument("--steps", type=int, default=20, help="control steps of a rollout")
    parser.add_argument("--dense", type=int, default=256)
    parser.add_argument("--lstm", type=int, default=128)
    parser.add_argument("--kinds", nargs="+", default=sorted({case.kind for case in CASES}))
    parser.add_argument("--output", help="JSON file for all measurements")
    return parser.parse_args()


def measure(case: Case, options: argparse.Namespace, *words: str) -> dict[str, float]:
    """Means over the rollouts of one run, with further ``words`` on its command line.

    Returns:
        ``frames_per_second`` of the whole; ``collecting`` and ``learning``, s a rollout; ``frames`` of a
        rollout over all ranks; ``waiting``, share of the workers' time; ``bytes`` a frame on its way to the
        learner; ``weights`` and ``rollout``, s that either is on its way (Ray); ``age`` of the weights,
        versions.
    """
    rollout = case.ranks * case.workers * options.num_envs * options.steps
    line = [
        *("task=block", "randomization=all", "network=small", "ppo=laptop"),
        *(f"network.dense={options.dense}", f"network.lstm={options.lstm}"),
        *("ppo.chunk=10", "ppo.epochs=2", "ppo.minibatches=4", "environment.initial_states.fresh=0.05"),
        *(f"collection={case.kind}", f"collection.workers={case.workers}"),
        *(f"collection.num_envs={options.num_envs}", f"collection.steps={options.steps}"),
        *("trainer.accelerator=cpu", f"trainer.devices={case.ranks}"),
        f"frames={rollout * (options.rollouts + WARMUP)}",
    ]
    rows = metrics_of([*line, *words])[WARMUP:]
    seconds = [rollout / row["throughput/frames_per_second"] for row in rows]
    total = sum(seconds)

    def spent(name: str) -> float:
        shares = (row[f"throughput/{name}"] * each for row, each in zip(rows, seconds, strict=True))
        return sum(shares) / len(rows)

    def mean(name: str) -> float:
        return sum(row.get(name, 0.0) for row in rows) / len(rows)

    return {
        "frames": float(rollout),
        "frames_per_second": rollout * len(rows) / total,
        "collecting": spent("collecting"),
        "learning": spent("learning"),
        "waiting": mean("throughput/workers_waiting"),
        "bytes": mean("collection/megabytes") * 1e6 * case.ranks / rollout,
        "weights": mean("throughput/weights_seconds"),
        "rollout": mean("throughput/rollout_seconds"),
        "age": mean("collection/weights_age"),
    }


def transfer(size: tuple[int, int, int], options: argparse.Namespace) -> dict[str, float]:
    """Bytes and s of a weight update and of a rollout between one actor and the learner, in step.

    Args:
        size: simulations, and units of the dense layer and of the LSTM.
        options: of the benchmark.
    """
    num_envs, dense, lstm = size
    words = (f"collection.num_envs={num_envs}", f"network.dense={dense}", f"network.lstm={lstm}")
    rollout = num_envs * options.steps
    lap = measure(
        Case("ray"),
        options,
        *words,
        *("collection.max_age=0", f"frames={rollout * (TRANSFER_ROLLOUTS + WARMUP)}"),
        "ppo.epochs=1",
    )
    per_rollout = lap["bytes"] * options.num_envs * options.steps  # measure() divides by its own sizes
    return {
        "weight_bytes": weight_update(NetworkConfig(dense=dense, lstm=lstm), 1)["bytes"],
        "weight_seconds": lap["weights"],
        "rollout_bytes": per_rollout,
        "rollout_seconds": lap["rollout"],
    }


def _transfer_row(each: dict[str, float]) -> list[str]:
    return [
        f"{each['weight_bytes'] / 1e6:.1f}",
        f"{1e3 * each['weight_seconds']:.1f}",
        f"{each['rollout_bytes'] / 1e6:.1f}",
        f"{1e3 * each['rollout_seconds']:.1f}",
    ]


def weight_update(network: NetworkConfig, repetitions: int = 50) -> dict[str, float]:
    """Bytes of the policy's weights, and s to post and to read them in shared memory."""
    actor = build_actor(network)
    board = Board(actor, torch.multiprocessing.get_context("spawn"))
    board.post(actor)
    began = time.perf_counter()
    for _ in range(repetitions):
        board.post(actor)
        board.read(actor)
    seconds = (time.perf_counter() - began) / repetitions
    tensors = [*actor.parameters(), *actor.buffers()]
    return {"bytes": float(sum(each.numel() * each.element_size() for each in tensors)), "seconds": seconds}


def _row(case: Case, laps: list[dict[str, float]], weights: dict[str, float]) -> list[str]:
    def of(name: str, form: str) -> str:
        return format(spread([lap[name] for lap in laps])[0], form)

    speed, half = spread([lap["frames_per_second"] for lap in laps])
    while_collecting = [lap["frames"] / lap["collecting"] for lap in laps]
    waits = [lap["collecting"] / (lap["frames"] / lap["frames_per_second"]) for lap in laps]
    arrived = of("weights", ".4f")
    if case.kind == "inprocess":
        seconds = None
    else:
        seconds = float(arrived) if case.kind == "ray" else weights["seconds"]
    return [
        case.name,
        f"{speed:,.0f} ± {half:,.0f}" if len(laps) > 1 else f"{speed:,.0f}",
        "-" if case.overlapping else f"{spread(while_collecting)[0]:,.0f}",
        of("learning", ".2f"),
        "-" if case.kind == "inprocess" else f"{spread(waits)[0]:.0%}",
        "-" if case.kind == "inprocess" else of("waiting", ".0%"),
        of("bytes", ",.0f"),
        "-" if seconds is None else f"{1e3 * seconds:.1f}",
        of("age", ".2f"),
    ]


def _efficiencies(laps: dict[Case, list[dict[str, float]]]) -> list[list[str]]:
    """Speed of two beside twice the speed of one; while collecting where one learner serves both."""
    rows = []
    cores = os.cpu_count() or 1
    for case, mine in laps.items():
        one = Case(case.kind)
        number = case.workers * case.ranks
        if number == 1 or one not in laps:
            continue
        parts = [("training", _speed)] + [("collecting", _collecting_speed)] * (not case.overlapping)
        for name, of in parts:
            pairs = zip(mine, laps[one], strict=True)
            gain = spread([of(two) / of(single) for two, single in pairs])[0]
            fits = case.busy <= cores and (name == "collecting" or case.ranks > 1)
            aim = (
                f"{TARGET}"
                if fits
                else f"none: {case.busy} busy, {cores} cores"
                if case.busy > cores
                else "-"
            )
            rows.append([f"{case.name}: {name}", f"{gain:.2f}", f"{gain / number:.2f}", aim])
    return rows


def _speed(lap: dict[str, float]) -> float:
    return lap["frames_per_second"]


def _collecting_speed(lap: dict[str, float]) -> float:
    return lap["frames"] / lap["collecting"]


if __name__ == "__main__":
    main()
