"""The update on a GPU is the CPU's, compiled or not."""

import pytest
import torch

from benchmarks.learner import synthetic_rollout
from dactyl_tl.models import NetworkConfig
from tests.learning.runs import compiles, fit, make_module


def weights_after_two_updates(accelerator, backend="auto", **ppo):
    network = NetworkConfig(dense=24, lstm=16, backend=backend)
    data = [synthetic_rollout(6, 20, 16, rate, seed) for seed, rate in enumerate((0.0, 0.5))]
    module = make_module(network, epochs=2, minibatches=1, learning_rate=1e-3, **ppo)
    fit(module, data, 2, accelerator=accelerator, devices=1)
    return [parameter.detach().cpu() for parameter in module.parameters()]


@pytest.mark.gpu
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("backend", "compile"), [("pad", False), pytest.param("pad", True, marks=compiles), ("triton", False)]
)
def test_updates_on_a_gpu_lead_to_the_same_weights(backend, compile, monkeypatch):
    # cuDNN's LSTM would round products to ten bits.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    expected = weights_after_two_updates("cpu")
    got = weights_after_two_updates("gpu", backend, compile=compile)
    for on_gpu, on_cpu in zip(got, expected, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, atol=1e-4, rtol=1e-2)
