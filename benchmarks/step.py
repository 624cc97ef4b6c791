"""The learner's step by backend, precision and compilation, against its two floors.

``python -m benchmarks.learner --step``. A step is everything the learner does with a rollout: values,
advantages, all updates, statistics. The shortest of several is reported, because other processes can only
lengthen it; the variants take turns.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.floors import clock, copy_bandwidth, matmul_peak, step_bytes, step_flops
from benchmarks.learner import CHUNK, fit, learner, synthetic_rollout
from benchmarks.report import environment, heading, table, write_json
from dactyl_tl.learning import check_compilable
from dactyl_tl.models import NetworkConfig, check_backend
from dactyl_tl.resources import forget_peak_gpu, peak_gpu

COLUMNS = ("step", "seconds", "transitions/s", "of the arithmetic floor", "of the byte floor", "peak memory")
VARIANTS = [("pad", False), ("pad", True), ("scan", False), ("scan", True), ("triton", False)]
"""Backends, uncompiled and compiled."""

DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}
NOT_MEASURED = "not measured"


class Timer:
    """A learner whose training steps are timed."""

    def __init__(self, options: argparse.Namespace, backend: str, compile: bool, precision: str) -> None:
        self.device, self.precision = torch.device(options.device), precision
        self.module = learner(options, options.epochs, backend, compile)
        self.rollout = synthetic_rollout(
            options.envs, options.steps, options.lstm, options.reset_rate, seed=0
        ).to(self.device)
        self.seconds: list[float] = []
        step = self.module.training_step

        def timed(*arguments: Any) -> None:
            start = clock(self.device)
            step(*arguments)
            self.seconds.append(clock(self.device) - start)

        self.module.training_step = timed  # type: ignore[method-assign,assignment]

    def run(self, count: int) -> None:
        """Take ``count`` steps; the optimiser starts afresh."""
        fit(self.module, _Repeated(self.rollout, count), [], self.device.type, self.precision)


class _Repeated(torch.utils.data.IterableDataset[Any]):
    def __init__(self, rollout: Any, count: int) -> None:
        self.rollout, self.count = rollout, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        return iter([self.rollout] * self.count)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Floors, and the shortest step of every variant, or why there is none."""
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        reason = f"{NOT_MEASURED}: no NVIDIA GPU here"
        return {"floors": {}, "steps": {_name(*each): reason for each in _variants(options)}, "peaks": {}}
    torch.set_num_threads(options.threads[0])
    floors, timers = {}, {}
    steps: dict[str, Any] = {}
    peaks: dict[str, float | None] = {}
    for precision in options.precision:
        floors[precision] = floor_seconds(options, device, precision)
    for backend, compile, precision in _variants(options):
        name = _name(backend, compile, precision)
        refusal = _refusal(backend, compile, device)
        if refusal:
            steps[name] = f"{NOT_MEASURED}: {refusal}"
            continue
        timer = Timer(options, backend, compile, precision)
        if device.type == "cuda":
            forget_peak_gpu(device)
        timer.run(1)  # warms up: kernels, memory pools, compilation
        peaks[name] = peak_gpu(device) if device.type == "cuda" else None
        timer.seconds.clear()
        timers[name] = timer
    for _ in range(options.repetitions):
        for timer in timers.values():
            timer.run(1)
    return {
        "floors": floors,
        "steps": steps | {name: min(timer.seconds) for name, timer in timers.items()},
        "peaks": peaks,
    }


def floor_seconds(options: argparse.Namespace, device: torch.device, precision: str) -> dict[str, float]:
    """The two floors of a step in seconds, and the peaks of this machine that they stand on."""
    on_gpu = device.type == "cuda"
    frames = options.envs * options.steps
    flops = step_flops(options.dense, options.lstm, frames, options.epochs)
    size = DTYPES[precision].itemsize
    moved = step_bytes(options.dense, options.lstm, frames, options.epochs, options.minibatches, CHUNK, size)
    peak = matmul_peak(device, DTYPES[precision], 8192 if on_gpu else 1536)
    bandwidth = copy_bandwidth(device, 2000 if on_gpu else 400)
    return {
        "flops": flops,
        "bytes": moved,
        "peak_flops": peak,
        "bandwidth": bandwidth,
        "arithmetic": flops / peak,
        "memory": moved / bandwidth,
    }


def print_step(options: argparse.Namespace) -> None:
    """Measure and print."""
    facts = environment(["torch", "torchrl", "tensordict", "pytorch-lightning"])
    result = measure(options)
    print(heading(facts))
    print(
        f"\n{options.epochs} epochs over {options.envs} x {options.steps} transitions, {options.minibatches} "
        f"minibatches each, of chunks of {CHUNK}; dense {options.dense}, LSTM {options.lstm}, two networks;\n"
        f"on {options.device}, {options.threads[0]} threads; shortest of {options.repetitions}\n"
    )
    for precision, floor in result["floors"].items():
        print(
            f"{precision}: {floor['flops'] / 1e9:.0f} GFLOP at {floor['peak_flops'] / 1e9:.0f} GFLOP/s = "
            f"{floor['arithmetic']:.3f} s; {floor['bytes'] / 1e9:.2f} GB at "
            f"{floor['bandwidth'] / 1e9:.1f} GB/s = {floor['memory']:.3f} s"
        )
    print("\n" + table(COLUMNS, [row(options, result, *each) for each in _variants(options)]))
    if options.output:
        write_json(options.output, {"environment": facts, **result})


def row(
    options: argparse.Namespace, result: dict[str, Any], backend: str, compile: bool, precision: str
) -> list[str]:
    """A variant's line of the table; a floor's share is the floor's time in the step's."""
    name = _name(backend, compile, precision)
    seconds = result["steps"][name]
    if isinstance(seconds, str):
        return [name, seconds, "", "", "", ""]
    floor, peak = result["floors"][precision], result["peaks"].get(name)
    return [
        name,
        f"{seconds:.3f}",
        f"{options.envs * options.steps / seconds:.0f}",
        f"{floor['arithmetic'] / seconds:.2f}",
        f"{floor['memory'] / seconds:.2f}",
        "" if peak is None else f"{peak:.2f} GB",
    ]


def print_profile(options: argparse.Namespace) -> None:
    """Where a step's time goes: torch's operations by the time they take themselves."""
    timer = Timer(options, "pad", False, options.precision[0])
    timer.run(1)
    on_gpu = timer.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        timer.run(1)
    key = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: -getattr(event, key))
    total = sum(getattr(event, key) for event in events)
    rows = [[e.key[:60], f"{getattr(e, key) / total:.1%}", str(e.count)] for e in events[:14]]
    print(table(("operation", "of the time", "calls"), rows))


def _variants(options: argparse.Namespace) -> list[tuple[str, bool, str]]:
    return [(*variant, precision) for precision in options.precision for variant in VARIANTS]


def _name(backend: str, compile: bool, precision: str) -> str:
    return f"{precision} {backend}{', compiled' if compile else ''}"


def _refusal(backend: str, compile: bool, device: torch.device) -> str | None:
    """Why a variant cannot run; None if it can."""
    try:
        check_backend(backend, device)
        if compile:
            check_compilable(NetworkConfig(backend=backend))
    except ValueError as error:
        return str(error).partition(", which ")[2].partition(";")[0]
    return None
