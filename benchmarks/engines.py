"""Each engine against the number of simulations: speed, memory, and what an iteration of PPO consists of.

    python -m benchmarks.engines [--worlds 1 16 256 4096] [--iteration 256] [--output results.json]

Every case is a process of its own, one after the other. The environment has all randomizations and is moved
at random; a *control step* is ten physics steps of one simulation with its randomizations, observations,
rewards and resets. An iteration of PPO collects ``--steps`` control steps from every simulation with Table
10's LSTM policy and learns from them; it is split into simulation (the environment), inference (the policy
and TorchRL's bookkeeping) and optimisation (values, advantages, all minibatches). The device is waited for
at each border.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.floors import clock
from benchmarks.learner import CHUNK, fit
from benchmarks.process import MARK, peak_memory_mib
from benchmarks.report import environment, heading, spread, table, write_json
from dactyl_tl.collection import CollectionPlan, RolloutDataModule
from dactyl_tl.contract import CONTROL_PERIOD, NUM_ACTUATORS, NUM_BINS
from dactyl_tl.envs import ReorientEnv, make_env
from dactyl_tl.learning import PPOConfig, PPOModule
from dactyl_tl.models import NetworkConfig, build_actor, build_critic
from dactyl_tl.resources import GB, used_gpu

PACKAGES = ("mujoco", "mujoco-warp", "warp-lang", "torch", "torchrl", "tensordict", "pytorch-lightning")
FRESH = 0.01
"""Share of resets that simulate an initial state of their own."""
SPEED = ("engine", "simulations", "control steps/s", "+-", "simulated s/s", "host MiB", "GPU MiB")
ITERATION = (
    "engine",
    "simulations",
    "transitions",
    "simulation s",
    "inference s",
    "optimisation s",
    "transitions/s",
    "host MiB",
    "GPU MiB",
)
LARGEST = {("native", "cpu"): 1024, ("warp", "cpu"): 256}
"""Simulations beyond which an engine only takes long: Warp's CPU device exists for tests."""
TARGETS = {"simulated": 150_000, "trained": 100_000}
"""Control steps per second aimed at on one H100, all randomizations."""


@dataclass(frozen=True)
class Case:
    """An engine with a number of simulations.

    Attributes:
        engine: of :data:`dactyl_tl.simulation.engines.ENGINES`.
        device: torch device type.
        worlds: simulations.
        threads: of the CPU engine and of torch.
        trained: whether to measure iterations of PPO; the environment alone otherwise.
    """

    engine: str
    device: str
    worlds: int
    threads: int = 1
    trained: bool = False

    @property
    def title(self) -> str:
        """What the tables call the engine."""
        if self.engine == "native":
            return f"MuJoCo, {self.threads} thread{'s' * (self.threads > 1)}"
        return f"MuJoCo Warp, {'GPU' if self.device == 'cuda' else '1 thread'}"


def cases(options: argparse.Namespace) -> list[Case]:
    """All cases, those of absent devices included."""
    cores = os.cpu_count() or 1
    kinds = [("native", "cpu", threads) for threads in sorted({1, cores})]
    kinds += [("warp", "cpu", 1), ("warp", "cuda", 1)]
    chosen = []
    for trained, sizes in ((False, options.worlds), (True, options.iteration)):
        for engine, device, threads in kinds:
            if options.engines and f"{engine}-{device}" not in options.engines:
                continue
            for worlds in sizes:
                if worlds <= LARGEST.get((engine, device), worlds):
                    chosen.append(Case(engine, device, worlds, threads, trained))
    return chosen


def make(case: Case, worker: int = 0) -> ReorientEnv:
    """The environment of a case."""
    return make_env(
        "block",
        num_envs=case.worlds,
        randomization="all",
        device=case.device,
        engine=case.engine,
        num_threads=case.threads,
        seed=worker,
        initial_states={"fresh": FRESH},
    )


class Clock:
    """Wall-clock seconds by name, with the device idle at each border."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self.seconds: dict[str, float] = {}

    def now(self) -> float:
        """Seconds, once the device has done all it was asked to."""
        return clock(self._device)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` with its time added to ``name``."""

        def call(*args: Any, **kwargs: Any) -> Any:
            start = self.now()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - start

        return call


def measure_environment(case: Case, seconds: float, repetitions: int) -> dict[str, Any]:
    """Control steps per second, in so many samples."""
    env, watch = make(case), Clock(case.device)
    entries = env.reset()
    rates = []
    for turn in range(repetitions + 1):  # the first warms up
        start, steps = watch.now(), 0
        # Without a wait in between: a GPU is given the next step while it works on this one.
        while time.perf_counter() - start < seconds or steps < 2:
            shape = (case.worlds, NUM_ACTUATORS)
            entries["action"] = torch.randint(NUM_BINS, shape, device=case.device)
            with torch.no_grad():
                _, entries = env.step_and_maybe_reset(entries)
            steps += 1
        if turn:
            rates.append(steps * case.worlds / (watch.now() - start))
    env.check()
    return {"rates": rates, **memory(case)}


def measure_iteration(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each part of an iteration of PPO, in so many samples."""
    watch = Clock(case.device)
    network = NetworkConfig(options.dense, options.lstm)
    transitions = case.worlds * options.steps
    config = PPOConfig(
        chunk=CHUNK, epochs=options.epochs, minibatches=max(1, transitions // options.minibatch)
    )
    module = PPOModule(build_actor(network), build_critic(network), config)

    def timed_env(worker: int) -> ReorientEnv:
        env = make(case, worker)
        for name in ("_step", "_reset"):
            setattr(env, name, watch.timed("simulation", getattr(env, name)))
        return env

    plan = CollectionPlan(
        make_env=timed_env,
        make_policy=partial(build_actor, network),
        workers=1,
        steps=options.steps,
        chunk=CHUNK,
        seed=0,
        threads=case.threads,
        device=case.device,
    )
    data = RolloutDataModule(plan, module.actor, "inprocess")
    data.collect = watch.timed("collection", data.collect)  # type: ignore[method-assign]
    module.training_step = watch.timed("optimisation", module.training_step)  # type: ignore[method-assign]
    laps: list[dict[str, float]] = []

    class Laps(torch.utils.data.IterableDataset):
        def __len__(self) -> int:  # without one, Lightning collects ahead
            return options.repetitions + 1

        def __iter__(self) -> Any:
            for _ in range(options.repetitions + 1):
                laps.append(dict(watch.seconds))
                yield data.collect()

    fit(module, Laps(), [], case.device)
    laps.append(dict(watch.seconds))
    data.close()
    parts = []
    for before, after in itertools.pairwise(laps[1:]):  # the first iteration warms up
        taken = {name: after[name] - before[name] for name in after}
        parts.append(
            {
                "simulation": taken["simulation"],
                "inference": taken["collection"] - taken["simulation"],
                "optimisation": taken["optimisation"],
            }
        )
    return {"transitions": transitions, "parts": parts, **memory(case)}


def memory(case: Case) -> dict[str, float | None]:
    """Peak memory of this process on the host, and what is taken of the GPU, MiB."""
    gpu = None
    if case.device == "cuda":
        gpu = used_gpu(torch.device("cuda")) * GB / 2**20  # MuJoCo Warp's memory is not torch's
    return {"host_mib": peak_memory_mib(os.getpid()), "gpu_mib": gpu}


def measured(case: Case, options: argparse.Namespace, arguments: Sequence[str]) -> dict[str, Any]:
    """The case's measurement in a process of its own, or why there is none."""
    if case.device == "cuda" and not torch.cuda.is_available():
        return {"absent": "there is no GPU"}
    command = [sys.executable, "-m", "benchmarks.engines", *arguments, "--case", json.dumps(asdict(case))]
    done = subprocess.run(command, capture_output=True, text=True)
    answers = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not answers:
        reason = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"absent": f"failed: {reason[-1]}"}
    return json.loads(answers[-1].removeprefix(MARK))


def speed_row(case: Case, result: dict[str, Any]) -> list[str]:
    """Cells of :data:`SPEED`."""
    head = [case.title, f"{case.worlds:,}"]
    if "absent" in result:
        return [*head, "not measured", "", "", "", ""]
    rate, deviation = spread(result["rates"])
    simulated = rate * CONTROL_PERIOD
    return [*head, f"{rate:,.0f}", f"{deviation:,.0f}", f"{simulated:,.0f}", *_memory_cells(result)]


def iteration_row(case: Case, result: dict[str, Any]) -> list[str]:
    """Cells of :data:`ITERATION`."""
    head = [case.title, f"{case.worlds:,}"]
    if "absent" in result:
        return [*head, "not measured", "", "", "", "", "", ""]
    names = ("simulation", "inference", "optimisation")
    parts = [spread([lap[name] for lap in result["parts"]])[0] for name in names]
    total = spread([sum(lap.values()) for lap in result["parts"]])[0]
    return [
        *head,
        f"{result['transitions']:,}",
        *(f"{part:.2f}" for part in parts),
        f"{result['transitions'] / total:,.0f}",
        *_memory_cells(result),
    ]


def winners(results: Sequence[tuple[Case, dict[str, Any]]]) -> list[str]:
    """For each number of simulations, the engine that was fastest and by how much."""
    lines = []
    for worlds in sorted({case.worlds for case, _ in results}):
        rates = sorted(
            (
                (spread(result["rates"])[0], case.title)
                for case, result in results
                if case.worlds == worlds and "rates" in result
            ),
            reverse=True,
        )
        if len(rates) > 1:
            (best, name), (second, other) = rates[:2]
            lines.append(f"{worlds:,} simulations: {name}, {best / second:.1f} times {other}")
    return lines


def _memory_cells(result: dict[str, Any]) -> list[str]:
    gpu = result["gpu_mib"]
    return [f"{result['host_mib']:,.0f}", "" if gpu is None else f"{gpu:,.0f}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    worlds = [1, 16, 64, 256, 1024, 4096, 8192, 16384]
    parser.add_argument("--worlds", type=int, nargs="*", default=worlds, help="for the environment alone")
    parser.add_argument("--iteration", type=int, nargs="*", default=[256, 8192], help="for PPO")
    parser.add_argument("--engines", nargs="+", metavar="ENGINE-DEVICE", help="only these, as native-cpu")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one sample")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2 * CHUNK, help="control steps of a rollout")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--minibatch", type=int, default=25_600, help="transitions (Table 10: 25.6k)")
    parser.add_argument("--dense", type=int, default=1024, help="units of the dense layer (Table 10)")
    parser.add_argument("--lstm", type=int, default=512, help="units of the LSTM (Table 10)")
    parser.add_argument("--output", help="write the measurements to this JSON file")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    if options.case:
        case = Case(**json.loads(options.case))
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        torch.set_num_threads(case.threads)
        torch.manual_seed(0)
        result = (
            measure_iteration(case, options)
            if case.trained
            else measure_environment(case, options.seconds, options.repetitions)
        )
        print(f"\n{MARK}{json.dumps(result)}", flush=True)
        return

    facts = environment(PACKAGES)
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    print(heading(facts), f"GPU: {facts.get('gpu', 'none')}\n", sep="\n", flush=True)
    results = []
    for case in cases(options):
        print(f"{case.title}, {case.worlds} {'with PPO' * case.trained} ...", file=sys.stderr, flush=True)
        results.append((case, measured(case, options, arguments)))
        if options.output:  # after each case: a machine may be lent for minutes
            content = [{**asdict(each), **result} for each, result in results]
            write_json(options.output, {"machine": facts, "settings": vars(options), "cases": content})
    alone = [pair for pair in results if not pair[0].trained]
    print("The environment, all randomizations, random actions\n")
    print(table(SPEED, [speed_row(*pair) for pair in alone]), *winners(alone), sep="\n")
    print(f"\nAn iteration of PPO, dense {options.dense}, LSTM {options.lstm}\n")
    print(table(ITERATION, [iteration_row(*pair) for pair in results if pair[0].trained]))
    reasons = {f"{case.title}: not measured: {r['absent']}": None for case, r in results if "absent" in r}
    print("", *reasons, sep="\n")
    print(
        f"\nTargets on one H100: {TARGETS['simulated']:,} control steps/s simulated, "
        f"{TARGETS['trained']:,} trained."
    )


if __name__ == "__main__":
    main()
