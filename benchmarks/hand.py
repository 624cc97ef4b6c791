"""How fast the wire to the hand is, and how punctual the loops at its two ends are.

    python -m benchmarks.hand [--output results.json] [--seconds 60]

*Round trip*: commands of 213 bytes at 200 Hz over TCP on loopback to the low-level controller, which drives
the dry hand in a process of its own at 200 Hz; from sending until its report is read. Plain and with CURVE,
in turns.

*Control loop*: steps of 80 ms that observe, decide with the shipped LSTM policy, command the controller and
wait for the next, as :class:`hardware.world.HandWorld` does: how late they begin, and how many do not end in
time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict

from benchmarks.report import environment, heading, table, write_json
from dactyl_tl import load_policy
from dactyl_tl.contract import CONTROL_PERIOD, NUM_BINS, OBSERVATION_SIZES, policy_keys
from dactyl_tl.trials import empty_memory
from hardware.client import HandClient, Link
from hardware.lowlevel.sockets import Keys, make_keys
from hardware.lowlevel.wire import Mode
from hardware.session import go_ahead
from hardware.twin.laboratory import Ports

TURNS = 3
RATE = 200.0
"""Commands a second."""

PACKAGES = ("pyzmq", "torch", "tensordict", "numpy")


def round_trips(link: Link, seconds: float) -> dict[str, Any]:
    """Milliseconds from each command's sending to its report, and the controller's own counts."""
    client = HandClient(link)
    try:
        client.connect()
        client.arm(velocity=5.0, force=1.0)
        client.info(reset=True)
        times, due = [], time.monotonic_ns()
        for _ in range(round(seconds * RATE)):
            due += round(1e9 / RATE)
            _sleep_until(due)
            exchange = client.command((0.0,) * 20, Mode.ABSOLUTE, 0.3)
            times.append((exchange.answered_ns - exchange.sent_ns) * 1e-6)
        info = client.info()
        client.disarm()
    finally:
        client.close()
    return {"round_trip_ms": times, "ticks": info.ticks, "missed": info.missed, "realtime": info.realtime}


def control_steps(link: Link, seconds: float) -> dict[str, Any]:
    """Milliseconds by which control steps begin late, and how many were not done in time."""
    policy = load_policy("block_lstm")
    observation = TensorDict(
        {key: torch.zeros(1, OBSERVATION_SIZES[key[1]]) for key in policy_keys()}, batch_size=[1]
    )
    observation["is_init"] = torch.zeros(1, 1, dtype=torch.bool)
    memory = empty_memory(policy, 1)
    client = HandClient(link)
    late, work, missed, period = [], [], 0, round(CONTROL_PERIOD * 1e9)
    try:
        with torch.no_grad():
            policy(observation.clone().update(memory))
            client.connect()
            client.arm(velocity=5.0, force=1.0)
            due = time.monotonic_ns()
            for _ in range(round(seconds / CONTROL_PERIOD)):
                began = time.monotonic_ns()
                late.append((began - due) * 1e-6)
                decision = policy(observation.clone().update(memory))
                memory = decision["next"].select(*memory.keys(True, True))
                action = [bin_ * (2.0 / (NUM_BINS - 1)) - 1.0 for bin_ in decision["action"][0].tolist()]
                client.command(action, Mode.ABSOLUTE, 0.3)
                work.append((time.monotonic_ns() - began) * 1e-6)
                due += period
                missed += time.monotonic_ns() >= due
                due = max(due, time.monotonic_ns())
                client.stay(due)
            client.disarm()
    finally:
        client.close()
    return {"late_ms": late, "work_ms": work, "missed": missed}


def measure(seconds: float, directory: Path) -> dict[str, dict[str, Any]]:
    """All figures by contender."""
    results: dict[str, dict[str, Any]] = {"plain": {}, "CURVE": {}}
    for turn in range(TURNS):
        for name in results:
            with _controller(directory, f"{name}{turn}" if name == "CURVE" else None) as link:
                _extend(results[name], round_trips(link, seconds / TURNS))
    with _controller(directory, "loop") as link:
        results["control loop, CURVE"] = control_steps(link, seconds)
    return results


class _controller:
    """A controller of the dry hand in a process of its own, with keys if they have a name."""

    def __init__(self, directory: Path, keys: str | None) -> None:
        ports = Ports.free()
        self._command = [
            sys.executable, "-m", "hardware.lowlevel.command", "--backend", "dry", "--requests",
            ports.address("requests"), "--conditions", ports.address("conditions"),
        ]  # fmt: skip
        mine = None
        if keys:
            ends = {}
            for end in ("controller", "loop"):
                folder = directory / keys / end
                folder.mkdir(parents=True, mode=0o700)
                ends[end] = make_keys(str(folder), end)
            allowed = directory / keys / "allowed"
            allowed.mkdir()
            (allowed / "loop.key").write_bytes(Path(ends["loop"][0]).read_bytes())
            self._command += ["--keys", ends["controller"][1], "--allowed", str(allowed)]
            mine = Keys(ends["loop"][1], ends["controller"][0])
        self._link = Link(ports.address("requests"), ports.address("conditions"), mine)

    def __enter__(self) -> Link:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        return self._link

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait()


def _extend(total: dict[str, Any], part: dict[str, Any]) -> None:
    for name, value in part.items():
        total[name] = total.get(name, type(value)()) + value if name != "realtime" else value


def _sleep_until(due: int) -> None:
    left = due - time.monotonic_ns()
    if left > 0:
        time.sleep(left * 1e-9)


def _row(name: str, values: Sequence[float], missed: int, of: int) -> list[str]:
    median, high = np.percentile(values, (50, 99))
    return [name, f"{median:.3f}", f"{high:.3f}", f"{max(values):.3f}", f"{missed} of {of}"]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each contender (%(default)s)")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    go_ahead()
    facts = environment(PACKAGES)
    with tempfile.TemporaryDirectory() as directory:
        results = measure(options.seconds, Path(directory))
    print(heading(facts) + "\n")
    rows = [
        _row(f"round trip, {name}", found["round_trip_ms"], found["missed"], found["ticks"])
        for name, found in results.items()
        if "round_trip_ms" in found
    ]
    loop = results["control loop, CURVE"]
    steps = len(loop["late_ms"])
    rows.append(_row("control step: late by", loop["late_ms"], loop["missed"], steps))
    rows.append(_row("control step: policy and command", loop["work_ms"], loop["missed"], steps))
    print(table(["ms", "median", "99 %", "maximum", "deadlines missed"], rows))
    if options.output:
        write_json(options.output, {"environment": facts, **results})


if __name__ == "__main__":
    main()
