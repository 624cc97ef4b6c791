"""How fast the hand and block are simulated, beside the engine alone and beside peers.

    python -m benchmarks.simulation [--output results.json]

Every contender runs in a process of its own on one core (the vector of processes and the multi-process
collector: on as many as the machine has). They are measured in turns, never at once, and the medians of the
turns are printed. All act at random (the collectors by an untrained policy), and every one starts a
simulation anew when its block has left the hand or its time is up, so that there is contact at all times.
How hard the hand presses the block decides what a step costs: the task's actions are relative to the present
joint angles, the peers' are targets anywhere in the range, so the environment is measured with both.

A *physics step* is one ``mj_step``. *Delivered* steps led to an observation for the caller; *executed* ones
include those that resets take. Peers simulate 2 ms a step and the task here 8 ms, which is harder on the
solver, so simulated seconds are printed too, and EnvPool is measured with both.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.process import Contender, ContenderFailed
from benchmarks.report import environment, heading, spread, table, write_json
from dactyl_tl.contract import PHYSICS_STEPS, PHYSICS_TIMESTEP

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path("build/peers/bin/python")
PACKAGES = ("mujoco", "torch", "torchrl", "tensordict", "numpy", "gymnasium", "gymnasium-robotics")
COLUMNS = (
    "contender",
    "steps/CPU-s",
    "+-",
    "executed/CPU-s",
    "steps/s",
    "simulated s/CPU-s",
    "step ms",
    "in hand %",
    "peak MiB",
)


@dataclass
class Entry:
    """A contender and what was measured of it.

    Attributes:
        title: what the table calls it.
        command: of its process, without the interpreter.
        peer: runs under the peers' interpreter, and may be absent.
        samples: of :func:`benchmarks.process.serve`.
        absent: why it could not be measured.
    """

    title: str
    command: Sequence[str]
    peer: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    absent: str = ""

    def rate(self, count: str = "delivered", clock: str = "cpu") -> float:
        """Median physics steps per second, ``delivered`` or ``executed``, by ``cpu`` or ``wall``."""
        return self._spread(count, clock)[0]

    def row(self) -> list[str]:
        """Cells of :data:`COLUMNS`."""
        rate, deviation = self._spread("delivered", "cpu")
        timestep = self.facts["timestep"]
        held = spread([sample["held"] for sample in self.samples])[0]
        memory = max(sample["peak_memory_mib"] for sample in self.samples)
        return [
            self.title,
            f"{rate:,.0f}",
            f"{deviation:,.0f}",
            f"{self.rate('executed'):,.0f}",
            f"{self.rate(clock='wall'):,.0f}",
            f"{rate * timestep:.0f}",
            f"{1000 * timestep:g}",
            f"{100 * held:.0f}",
            f"{memory:,.0f}",
        ]

    def _spread(self, count: str, clock: str) -> tuple[float, float]:
        return spread([sample[count] / sample[clock] for sample in self.samples])


def entries(simulations: int, cores: int) -> dict[str, Entry]:
    """All contenders, by a short name."""
    own, peer, size = ("-m", "benchmarks.contenders"), ("-m", "benchmarks.peers"), ("--simulations",)
    n, share = str(simulations), str(max(1, simulations // cores))
    pooled = ("--fresh", "0.01")
    equal = ("--timestep", str(PHYSICS_TIMESTEP), "--frame-skip", str(PHYSICS_STEPS))
    workers = ("--workers", str(cores))
    return {
        "raw": Entry("mujoco.batch.Batch alone", (*own, "raw", *size, n)),
        "environment": Entry("environment, 1 % of starts anew", (*own, "environment", *size, n, *pooled)),
        "as_peers": Entry(
            "environment, moved as peers", (*own, "environment", *size, n, *pooled, "--as-peers")
        ),
        "fresh": Entry("environment, every start anew", (*own, "environment", *size, n)),
        "inprocess": Entry("collector, LSTM policy", (*own, "inprocess", *size, n, *pooled)),
        "multiprocess": Entry(
            f"collector, LSTM policy, {cores} processes",
            (*own, "multiprocess", *size, share, *workers, *pooled),
        ),
        "envpool": Entry("EnvPool", (*peer, "envpool", *size, n), peer=True),
        "envpool_equal": Entry(
            f"EnvPool at {1000 * PHYSICS_TIMESTEP:g} ms", (*peer, "envpool", *size, n, *equal), peer=True
        ),
        "async": Entry(f"AsyncVectorEnv, {cores} processes", (*peer, "async", *size, str(cores)), peer=True),
    }


def measure(
    chosen: Mapping[str, Entry], peers: Path, repetitions: int, seconds: float, say: Callable[[str], None]
) -> None:
    """Start all contenders, then sample them in turns."""
    running: dict[str, Contender] = {}
    try:
        for name, entry in chosen.items():
            if entry.peer and not peers.exists():
                entry.absent = f"no {peers}; benchmarks/peers.txt says how to make it"
                continue
            interpreter = str(peers) if entry.peer else sys.executable
            say(f"starting {entry.title} ...")
            try:
                running[name] = Contender([interpreter, *entry.command], ROOT)
            except ContenderFailed as error:
                if not entry.peer:
                    raise
                entry.absent = str(error)
                continue
            entry.facts = running[name].facts
        for turn in range(repetitions):
            say(f"turn {turn + 1} of {repetitions} ...")
            for name, contender in running.items():
                chosen[name].samples.append(contender.sample(seconds))
    finally:
        for contender in running.values():
            contender.close()


def verdicts(measured: Mapping[str, Entry]) -> list[str]:
    """Each target as a line: the ratio, the target and whether it is met."""
    targets = [
        ("environment / raw", "environment", "raw", 0.85),
        ("environment / EnvPool", "environment", "envpool", 1.3),
        ("environment / AsyncVectorEnv", "environment", "async", 3.0),
        ("moved as peers / EnvPool", "as_peers", "envpool", 1.3),
        ("moved as peers / EnvPool at the same time-step", "as_peers", "envpool_equal", 1.3),
        ("moved as peers / AsyncVectorEnv", "as_peers", "async", 3.0),
    ]
    lines = []
    for title, ours, other, target in targets:
        if ours in measured and other in measured:
            mine, theirs = measured[ours], measured[other]
            steps = mine.rate() / theirs.rate()
            simulated = steps * mine.facts["timestep"] / theirs.facts["timestep"]
            answer = f"{'met' if steps >= target else 'missed'}: {target:g}"
            lines.append(
                f"{title}: {steps:.2f} in physics steps ({answer}), {simulated:.2f} in simulated time"
            )
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--simulations", type=int, default=256, help="of a batch")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one sample")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these contenders only")
    parser.add_argument(
        "--peers", type=Path, default=ROOT / PEERS, help="interpreter of benchmarks/peers.txt"
    )
    parser.add_argument("--output", type=Path, help="write all samples to this JSON file")
    options = parser.parse_args(arguments)
    available = entries(options.simulations, cores)
    if unknown := set(options.only or ()) - set(available):
        parser.error(f"unknown contender {', '.join(sorted(unknown))}; choose from {', '.join(available)}")
    chosen = {name: available[name] for name in options.only or available}

    facts = environment(PACKAGES)
    print(heading(facts), flush=True)
    measure(
        chosen,
        options.peers.absolute(),
        options.repetitions,
        options.seconds,
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    measured = {name: entry for name, entry in chosen.items() if entry.samples}
    for entry in measured.values():
        if entry.peer:
            print(f"{entry.title}: {', '.join(f'{k} {v}' for k, v in entry.facts['versions'].items())}")
    print(f"{options.simulations} simulations, {options.repetitions} turns of {options.seconds:g} s\n")
    print(table(COLUMNS, [entry.row() for entry in measured.values()]))
    for line in verdicts(measured):
        print(line)
    for entry in chosen.values():
        if entry.absent:
            print(f"{entry.title}: not measured: {entry.absent}")
    if options.output:
        content = {
            "machine": facts,
            "settings": {"simulations": options.simulations, "seconds": options.seconds},
            "contenders": {
                name: {"title": e.title, "facts": e.facts, "absent": e.absent, "samples": e.samples}
                for name, e in chosen.items()
            },
        }
        write_json(options.output, content)


if __name__ == "__main__":
    main()
