"""How fast an update could be at best: its matrix products at the machine's peak, its bytes at its bandwidth.

Both floors count what any implementation has to do. Products only: element-wise arithmetic is left out.
Of memory, every tensor that has to exist is written once and read once; whatever a cache keeps is free.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from dactyl_tl.contract import NUM_ACTUATORS, NUM_BINS, OBSERVATION_SIZES, policy_keys, privileged_keys

FLOAT32 = 4
"""Bytes of a parameter, a gradient and an observation, whatever the precision of the products."""


@dataclass(frozen=True)
class Network:
    """Sizes of one of the two networks: inputs -> dense -> LSTM -> outputs."""

    inputs: int
    dense: int
    lstm: int
    outputs: int

    @property
    def parameters(self) -> int:
        """Number of parameters, biases included (``nn.LSTM`` has two of each)."""
        gates = 4 * self.lstm
        return (
            (self.inputs + 1) * self.dense
            + (self.dense + self.lstm + 2) * gates
            + (self.lstm + 1) * self.outputs
        )

    @property
    def forward_flops(self) -> int:
        """Floating-point operations of the products of one frame, a multiplication and an addition each."""
        return 2 * (
            self.inputs * self.dense + 4 * self.lstm * (self.dense + self.lstm) + self.lstm * self.outputs
        )

    @property
    def training_flops(self) -> int:
        """Forward, and the gradients of weights and inputs; the observations need no gradient."""
        return 3 * self.forward_flops - 2 * self.inputs * self.dense

    @property
    def activations(self) -> int:
        """Numbers per frame that the backward pass needs: inputs, dense layer, gates, cell, output, head."""
        return self.inputs + self.dense + 6 * self.lstm + self.outputs


def networks(dense: int, lstm: int) -> tuple[Network, Network]:
    """Policy and value network of the given sizes."""
    policy = sum(OBSERVATION_SIZES[name] for _, name in policy_keys())
    value = sum(OBSERVATION_SIZES[name] for _, name in privileged_keys())
    return Network(policy, dense, lstm, NUM_ACTUATORS * NUM_BINS), Network(value, dense, lstm, 1)


def step_flops(dense: int, lstm: int, frames: int, epochs: int) -> int:
    """Of a rollout's valuation and ``epochs`` passes over its ``frames``."""
    policy, value = networks(dense, lstm)
    return frames * (value.forward_flops + epochs * (policy.training_flops + value.training_flops))


def step_bytes(
    dense: int, lstm: int, frames: int, epochs: int, minibatches: int, chunk: int, activation_bytes: int
) -> int:
    """Of the same: parameters, Adam's state, gradients, minibatches, recurrent states and activations.

    A minibatch reads the parameters forward and backward, writes and reads the gradients, reads and
    writes parameters and both of Adam's moments, reads its frames and the states of its chunks, and writes
    and reads the activations. The valuation reads parameters and frames and writes values.
    """
    policy, value = networks(dense, lstm)
    parameters = policy.parameters + value.parameters
    update = FLOAT32 * parameters * (2 + 2 + 6)
    frame = FLOAT32 * (policy.inputs + value.inputs + 3) + 8 * NUM_ACTUATORS  # actions are int64
    states = FLOAT32 * 4 * lstm / chunk
    activations = 2 * activation_bytes * (policy.activations + value.activations)
    valuation = FLOAT32 * (value.parameters + frames * (value.inputs + 1))
    return int(valuation + epochs * (minibatches * update + frames * (frame + states + activations)))


def matmul_peak(device: torch.device, dtype: torch.dtype, size: int, repetitions: int = 10) -> float:
    """Floating-point operations a second of a square product of ``size``, the best of some."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / best_time(lambda: a @ b, device, repetitions)


def copy_bandwidth(device: torch.device, megabytes: int, repetitions: int = 10) -> float:
    """Bytes a second read and written by copying ``megabytes``, the best of some."""
    source = torch.ones(megabytes * 250_000, device=device)
    target = torch.empty_like(source)
    return 2 * 4 * source.numel() / best_time(lambda: target.copy_(source), device, repetitions)


def best_time(function: Callable[[], object], device: torch.device, repetitions: int) -> float:
    """Shortest time of a call, in seconds, after two to warm up."""
    times = []
    for _ in range(repetitions + 2):
        start = clock(device)
        function()
        times.append(clock(device) - start)
    return min(times[2:])


def clock(device: torch.device) -> float:
    """Seconds, when all work on ``device`` has ended."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
