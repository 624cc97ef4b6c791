"""The floors count what the update really does."""

import argparse

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import step
from benchmarks.floors import best_time, copy_bandwidth, matmul_peak, networks, step_bytes, step_flops
from benchmarks.learner import synthetic_rollout
from dactyl_tl.learning.rollout import with_states
from dactyl_tl.models import NetworkConfig, build_actor, build_critic, inner_starts
from tests.learning.runs import make_module

SIZES = argparse.Namespace(
    envs=8,
    steps=20,
    minibatches=2,
    epochs=1,
    dense=16,
    lstm=8,
    reset_rate=0.05,
    repetitions=1,
    threads=[1],
    device="cpu",
    precision=["32-true"],
    output=None,
)


def test_parameters_are_those_of_the_networks():
    config = NetworkConfig()
    for network, built in zip(networks(1024, 512), (build_actor(config), build_critic(config)), strict=True):
        assert network.parameters == sum(parameter.numel() for parameter in built.parameters())


def test_operations_are_those_that_torch_counts():
    module = make_module(NetworkConfig(dense=48, lstm=32), epochs=1, minibatches=1)
    rollout = synthetic_rollout(16, 10, 32, 0.0, seed=0)
    steps, starts = module._checked(rollout)
    with torch.backends.mkldnn.flags(enabled=False):  # whose LSTM is one operation that nobody counts
        with FlopCounterMode(display=False) as valuation:
            chunks, starts, _ = module._prepare(steps, starts)
        with FlopCounterMode(display=False) as update, inner_starts(0):
            module._losses(with_states(chunks, starts))["loss"].backward()
    policy, value = networks(48, 32)
    # Bootstrapping values one more frame of each simulation.
    assert valuation.get_total_flops() == (160 + 16) * value.forward_flops
    counted, ours = update.get_total_flops(), 160 * (policy.training_flops + value.training_flops)
    assert counted == pytest.approx(ours, rel=0.02)
    assert step_flops(48, 32, 160, 3) == 160 * value.forward_flops + 3 * ours


def test_bytes_by_hand():
    policy, value = networks(16, 8)
    parameters = policy.parameters + value.parameters
    frame = 4 * (22 + 85 + 3) + 8 * 20 + 4 * 4 * 8 / 10
    activations = 2 * 2 * (22 + 16 + 48 + 220 + 85 + 16 + 48 + 1)
    valuation = 4 * (value.parameters + 160 * 86)
    expected = valuation + 3 * (2 * 40 * parameters + 160 * (frame + activations))
    assert step_bytes(16, 8, 160, 3, 2, 10, 2) == pytest.approx(expected, abs=1)


def test_the_machines_peaks_are_positive_and_the_best_of_all():
    device = torch.device("cpu")
    assert matmul_peak(device, torch.float32, 64, 2) > 0
    assert copy_bandwidth(device, 1, 2) > 0
    assert best_time(lambda: None, device, 2) < 0.1


def test_every_backend_has_a_row_with_its_share_of_the_floors(monkeypatch, capsys):
    monkeypatch.setattr(step, "VARIANTS", [("pad", False), ("scan", True), ("triton", False)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    step.print_step(SIZES)
    lines = capsys.readouterr().out.splitlines()
    measured, refused, absent = lines[-3:]
    assert measured.startswith("| 32-true pad ")
    assert [0 <= float(share) < 1 for share in measured.split("|")[4:6]] == [True, True]
    assert "not measured: network.backend=scan cannot do: its gradients come out wrong" in refused
    assert "not measured: needs an NVIDIA GPU" in absent


def test_without_a_gpu_its_rows_say_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    step.print_step(argparse.Namespace(**vars(SIZES) | {"device": "cuda"}))
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 32-true")]
    assert len(rows) == len(step.VARIANTS)
    assert all("not measured: no NVIDIA GPU here" in line for line in rows)
