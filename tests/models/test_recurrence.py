"""The LSTM's backends agree with each other and wait for nothing."""

import dataclasses

import pytest
import torch
from torchrl.modules import set_recurrent_mode

from dactyl_tl.checkpoint import load_actor, read_description, save_bundle
from dactyl_tl.models import IS_INIT, POLICY_STATE, NetworkConfig, build_actor, check_backend, inner_starts
from tests.models.test_networks import SMALL, confident, frames, stepwise
from tests.synchronising import SynchronisationError, no_synchronisation

STARTS = [(0, 3), (1, 9), (2, 1), (2, 2), (2, 7), (4, 0), (5, 5)]
"""Where episodes start: [row, step], six of them inside a sequence."""
INNER = 6


def sequences():
    data = frames(6, 10)
    for row, step in STARTS:
        data[IS_INIT][row, step] = True
    for state in POLICY_STATE:
        data[state][:, 0] = torch.randn(6, 1, 16) * ~data[IS_INIT][:, 0, None]
    return data


def actor_with(backend: str, device: str = "cpu"):
    torch.manual_seed(0)
    return confident(build_actor(dataclasses.replace(SMALL, backend=backend))).to(device)


def outcome(backend: str, data, device: str = "cpu"):
    """Logits and the gradients of all parameters and of the first states."""
    actor = actor_with(backend, device)
    data = data.clone().to(device)
    for key in POLICY_STATE:
        data[key].requires_grad_()
    with set_recurrent_mode(True):
        logits = actor.get_dist(data.copy()).base_dist.logits
    logits.square().sum().backward()
    gradients = [parameter.grad for parameter in actor.parameters()]
    states = [data[key].grad[:, 0] for key in POLICY_STATE]
    return [each.cpu() for each in (logits.detach(), *gradients, *states)]


@pytest.mark.parametrize("backend", ["auto", "scan", pytest.param("triton", marks=pytest.mark.gpu)])
def test_backends_give_the_same_outputs_and_gradients_also_where_episodes_start_inside(backend):
    device = "cuda" if backend == "triton" else "cpu"
    data = sequences()
    # Triton multiplies in TF32.
    tolerance = {"atol": 2e-2, "rtol": 2e-2} if device == "cuda" else {"atol": 1e-5, "rtol": 1e-4}
    for expected, actual in zip(outcome("pad", data), outcome(backend, data, device), strict=True):
        torch.testing.assert_close(actual, expected, **tolerance)


@pytest.mark.parametrize("backend", ["pad", "scan"])
def test_every_backend_says_of_a_sequence_what_its_steps_say(backend):
    actor, data = actor_with(backend), sequences()
    with set_recurrent_mode(True):
        logits = actor.get_dist(data.copy()).base_dist.logits
    torch.testing.assert_close(logits, stepwise(actor, data, "logits"), atol=1e-5, rtol=1e-4)


def test_states_stored_inside_a_sequence_are_read_by_no_backend():
    data = sequences()
    littered = data.clone()
    for key in POLICY_STATE:
        littered[key][:, 1:] = 7.0
    for backend in ("pad", "scan"):
        with set_recurrent_mode(True):
            one, other = (
                actor_with(backend).get_dist(each.copy()).base_dist.logits for each in (data, littered)
            )
        assert torch.equal(one, other), backend


def test_a_known_number_of_starts_changes_nothing_and_waits_for_nothing():
    actor, data = actor_with("pad"), sequences()
    with set_recurrent_mode(True):
        expected = actor.get_dist(data.copy()).base_dist.logits
        with pytest.raises(SynchronisationError), no_synchronisation():
            actor.get_dist(data.copy())
        with inner_starts(INNER), no_synchronisation():
            logits = actor.get_dist(data.copy()).base_dist.logits
            logits.square().sum().backward()
    assert torch.equal(logits, expected)


def test_without_starts_inside_there_is_one_plain_call():
    actor, data = actor_with("pad"), frames(6, 10)
    with set_recurrent_mode(True), inner_starts(0), no_synchronisation():
        logits = actor.get_dist(data.copy()).base_dist.logits
    torch.testing.assert_close(logits, stepwise(actor, data, "logits"), atol=1e-5, rtol=1e-4)


def test_the_backend_is_no_part_of_a_policy(tmp_path):
    policies = {backend: actor_with(backend) for backend in ("auto", "pad", "scan")}
    for backend, actor in policies.items():
        assert actor.state_dict().keys() == policies["auto"].state_dict().keys()
        save_bundle(tmp_path / backend, actor)
        assert "backend" not in read_description(tmp_path / backend)["network"]
        loaded = load_actor(tmp_path / backend)
        assert loaded.config.backend == "auto"
        for name, weight in actor.state_dict().items():
            assert torch.equal(weight, loaded.state_dict()[name])


def test_a_backend_that_cannot_run_here_is_named_with_those_that_can(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"'triton', which needs an NVIDIA GPU; choose from auto, pad, scan"):
        check_backend("triton")
    with pytest.raises(ValueError, match=r"network\.backend is 'cudnn'; choose from auto, pad, scan, triton"):
        NetworkConfig(backend="cudnn")
    check_backend("auto")


def test_a_gpus_backend_is_refused_to_a_learner_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    check_backend("triton", torch.device("cuda", 0))
    with pytest.raises(ValueError, match="which does not run on cpu; choose from auto, pad, scan"):
        check_backend("triton", torch.device("cpu"))


def test_room_for_more_starts_than_there_are_changes_nothing():
    actor, data = actor_with("pad"), sequences()
    with set_recurrent_mode(True):
        expected = actor.get_dist(data.copy()).base_dist.logits
        with inner_starts(INNER + 5):
            roomy = actor.get_dist(data.copy()).base_dist.logits
        with inner_starts(4):
            none = frames(6, 10)
            unneeded = actor.get_dist(none.copy()).base_dist.logits
    torch.testing.assert_close(roomy, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(unneeded, stepwise(actor, none, "logits"), atol=1e-5, rtol=1e-4)
