"""The compiled update is the plain one."""

import shutil

import pytest
import torch

from benchmarks.learner import synthetic_rollout
from dactyl_tl.learning.compiled import roomy
from dactyl_tl.models import NetworkConfig
from tests.learning.runs import compiles, fit, make_module

SMALL = NetworkConfig(dense=24, lstm=16)


@compiles
@pytest.mark.timeout(400)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_compiled_updates_lead_to_the_same_weights():
    # Room for 16 starts inside the first rollout's chunks and for 64 inside the second's: two shapes.
    data = [synthetic_rollout(6, 20, 16, rate, seed) for seed, rate in enumerate((0.0, 0.5))]
    weights, logged = [], []
    for compile in (False, True):
        module = make_module(SMALL, epochs=2, minibatches=1, learning_rate=1e-3, compile=compile)
        trainer = fit(module, data, 2)
        weights.append([parameter.detach() for parameter in module.parameters()])
        logged.append({name: value.item() for name, value in trainer.callback_metrics.items()})
    for plain, compiled in zip(*weights, strict=True):
        torch.testing.assert_close(compiled, plain, atol=2e-5, rtol=1e-3)
    assert logged[1] == pytest.approx(logged[0], rel=1e-3, abs=1e-4)


def test_a_torch_that_compiles_wrongly_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.11.0+cu130")
    with pytest.raises(ValueError, match=r"torch 2\.11\.0\+cu130 cannot do: .*install torch 2\.13"):
        make_module(SMALL, compile=True)


def test_a_backend_whose_compiled_gradients_are_wrong_is_refused():
    with pytest.raises(ValueError, match=r"network\.backend=scan cannot do: .*set network\.backend=pad"):
        make_module(NetworkConfig(dense=24, lstm=16, backend="scan"), compile=True)


def test_room_is_made_in_few_sizes():
    assert [roomy(number) for number in (0, 1, 16, 17, 100, 128)] == [16, 16, 16, 32, 128, 128]
