"""Bundles carry a policy faithfully, and everything that is not a sound bundle is refused by name."""

import hashlib
import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save

from benchmarks.learner import synthetic_rollout
from dactyl_tl import contract, load_policy
from dactyl_tl.checkpoint import (
    VALUE,
    WEIGHTS,
    BundleError,
    actor_from_checkpoint,
    critic_from_checkpoint,
    load_actor,
    load_critic,
    policy_from_checkpoint,
    read_description,
    save_bundle,
)
from dactyl_tl.models import NetworkConfig, build_actor, build_critic
from dactyl_tl.policies import DESCRIPTION, shipped_policies
from tests.learning.cue import CueEnv
from tests.learning.runs import fit, make_module

SMALL = NetworkConfig(dense=24, lstm=16)


@pytest.fixture
def actor():
    actor = build_actor(SMALL)
    actor.normalizer.update(3 + torch.randn(50, 22))
    return actor


@pytest.fixture
def bundle(actor, tmp_path):
    return save_bundle(tmp_path / "bundle", actor, {"experiment": "laptop", "ppo": {"gamma": 0.998}})


def rewrite(bundle, **changes):
    """Change entries of the description; ``None`` removes one."""
    description = json.loads((bundle / DESCRIPTION).read_text())
    description.update(changes)
    kept = {name: value for name, value in description.items() if value is not None}
    (bundle / DESCRIPTION).write_text(json.dumps(kept))


def rewrite_weights(bundle, change):
    """Change the tensors, and the hash so that only the tensors are wrong."""
    tensors = load_file(bundle / WEIGHTS)
    change(tensors)
    data = save(tensors)
    (bundle / WEIGHTS).write_bytes(data)
    rewrite(bundle, sha256=hashlib.sha256(data).hexdigest())


def test_a_bundle_gives_back_the_same_policy(actor, bundle):
    loaded = load_actor(bundle)
    assert loaded.config == SMALL
    for (name, one), (_, other) in zip(actor.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(one, other), name
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_a_loaded_policy_runs_in_a_plain_rollout(bundle):
    rollout = CueEnv(3, length=20).rollout(10, load_policy(bundle))
    assert rollout["action"].shape == (3, 10, 20)
    assert not rollout.requires_grad


def test_a_bundle_states_what_it_is(bundle):
    description = read_description(bundle)
    assert description["contract_version"] == contract.CONTRACT_VERSION
    assert description["joints"] == list(contract.JOINTS)
    assert description["actuators"] == list(contract.ACTUATORS)
    assert description["policy_inputs"] == [
        ["fingertip_positions", 15],
        ["object_position", 3],
        ["relative_target_orientation", 4],
    ]
    assert description["network"]["lstm"] == 16
    assert description["normalized_frames"] == 50
    assert description["config"] == {"experiment": "laptop", "ppo": {"gamma": 0.998}}
    assert sorted(path.name for path in bundle.iterdir()) == [DESCRIPTION, WEIGHTS]


def test_saving_again_replaces_the_bundle(bundle):
    other = build_actor(NetworkConfig(dense=8, lstm=4, policy="feedforward"))
    save_bundle(bundle, other)
    assert load_actor(bundle).config == other.config


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_either_file_stands_for_the_bundle(bundle, name):
    assert load_actor(bundle / name).config == SMALL


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("contract_version", 999),
        ("joints", list(reversed(contract.JOINTS))),
        ("actuators", ["WRJ1"]),
        ("bins", 7),
        ("control_period", 0.04),
        ("policy_inputs", [["object_position", 3]]),
        ("policy_inputs", None),
    ],
)
def test_another_contract_is_refused_with_both_values(bundle, name, value):
    rewrite(bundle, **{name: value})
    with pytest.raises(BundleError, match=f"{DESCRIPTION}.*{name}") as error:
        load_policy(bundle)
    assert str(bundle) in str(error.value)


def test_the_order_of_the_policys_inputs_is_part_of_the_contract(bundle):
    rewrite(bundle, policy_inputs=read_description(bundle)["policy_inputs"][::-1])
    with pytest.raises(BundleError, match="policy_inputs"):
        load_policy(bundle)


def test_missing_normalisation_is_refused(bundle):
    rewrite_weights(bundle, lambda tensors: tensors.pop("module.encoder.module.normalizer.mean"))
    with pytest.raises(BundleError, match=r"lacks the normalisation statistics .*normalizer\.mean"):
        load_policy(bundle)


def test_missing_and_unexpected_tensors_are_refused_by_name(bundle):
    def rename(tensors):
        tensors["head.weight"] = tensors.pop("module.head.module.weight")

    rewrite_weights(bundle, rename)
    with pytest.raises(
        BundleError, match=r"missing \['module\.head\.module\.weight'\], unexpected \['head\.weight'\]"
    ):
        load_policy(bundle)


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        (
            torch.zeros(3),
            r"module\.head\.module\.bias is torch\.float32 \[3\], expected torch\.float32 \[220\]",
        ),
        (torch.zeros(220).bfloat16(), r"is torch\.bfloat16 \[220\], expected torch\.float32"),
        (torch.full((220,), float("nan")), "holds values that are not finite"),
    ],
)
def test_tensors_of_another_kind_are_refused(bundle, replacement, message):
    rewrite_weights(bundle, lambda tensors: tensors.update({"module.head.module.bias": replacement}))
    with pytest.raises(BundleError, match=message):
        load_policy(bundle)


def test_a_truncated_file_is_refused(bundle):
    data = (bundle / WEIGHTS).read_bytes()
    (bundle / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(BundleError, match=f"{WEIGHTS} is damaged or belongs to another bundle"):
        load_policy(bundle)


def test_weights_that_are_no_safetensors_are_refused(bundle):
    (bundle / WEIGHTS).write_bytes(b"nothing of the kind")
    rewrite(bundle, sha256=hashlib.sha256(b"nothing of the kind").hexdigest())
    with pytest.raises(BundleError, match="is not a safetensors file"):
        load_policy(bundle)


def test_a_damaged_description_is_refused(bundle):
    (bundle / DESCRIPTION).write_text('{"joints": [')
    with pytest.raises(BundleError, match=f"{DESCRIPTION} is not JSON"):
        load_policy(bundle)
    (bundle / DESCRIPTION).write_text("[]")
    with pytest.raises(BundleError, match="does not hold a JSON object"):
        load_policy(bundle)


@pytest.mark.parametrize("network", [None, {"dense": 24, "width": 3}, {"policy": "gru"}])
def test_a_network_that_cannot_be_built_is_refused(bundle, network):
    rewrite(bundle, network=network)
    with pytest.raises(BundleError, match="network"):
        load_policy(bundle)


def test_a_missing_file_is_named(bundle):
    (bundle / WEIGHTS).unlink()
    with pytest.raises(BundleError, match=f"it has no {WEIGHTS}"):
        load_policy(bundle)
    (bundle / DESCRIPTION).unlink()
    with pytest.raises(FileNotFoundError, match=f"holds no policy: neither {DESCRIPTION}"):
        load_policy(bundle)


def test_nothing_there_is_not_found(tmp_path):
    names = ", ".join(shipped_policies())
    with pytest.raises(
        FileNotFoundError, match=f"elsewhere does not exist; choose {names}, a bundle's directory"
    ):
        load_policy(tmp_path / "elsewhere")


@pytest.mark.parametrize("suffix", ["pt", "ckpt", "pkl"])
def test_a_pickle_is_refused_unread(tmp_path, suffix):
    class Explosive:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was read",))

    path = tmp_path / f"policy.{suffix}"
    path.write_bytes(pickle.dumps(Explosive()))
    with pytest.raises(BundleError, match=rf"policy\.{suffix} is a pickle.*directory with"):
        load_policy(path)


def test_a_pickle_under_another_name_is_no_bundle_either(tmp_path, actor):
    torch.save(actor.state_dict(), tmp_path / "policy.safetensors")
    with pytest.raises(BundleError, match=r"policy.safetensors is no bundle"):
        load_policy(tmp_path / "policy.safetensors")


@pytest.fixture
def checkpoint(tmp_path):
    module = make_module(SMALL, epochs=1, minibatches=2)
    trainer = fit(module, [synthetic_rollout(6, 20, 16, 0.05, seed=0)], 1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt", module


def test_half_precision_rounds_parameters_and_keeps_statistics(actor, tmp_path):
    full = save_bundle(tmp_path / "full", actor)
    half = save_bundle(tmp_path / "half", actor, half=True)
    assert (half / WEIGHTS).stat().st_size < 0.7 * (full / WEIGHTS).stat().st_size
    loaded = load_actor(half)
    for name, one in actor.state_dict().items():
        other = loaded.state_dict()[name]
        assert other.dtype == one.dtype
        if ".normalizer." in name:
            assert torch.equal(one, other), name
        else:
            assert torch.allclose(one, other, rtol=2**-11, atol=1e-7), name


def test_a_bundle_may_hold_the_value_network(actor, tmp_path):
    critic = build_critic(SMALL)
    bundle = save_bundle(tmp_path / "bundle", actor, critic=critic, training={"frames": 7})
    assert read_description(bundle)["training"] == {"frames": 7}
    loaded = load_critic(bundle)
    for name, one in critic.state_dict().items():
        assert torch.equal(one, loaded.state_dict()[name]), name
    save_bundle(bundle, actor)
    assert load_critic(bundle) is None
    assert sorted(path.name for path in bundle.iterdir()) == [DESCRIPTION, WEIGHTS]


def test_a_damaged_or_missing_value_network_is_refused(actor, tmp_path):
    bundle = save_bundle(tmp_path / "bundle", actor, critic=build_critic(SMALL))
    (bundle / VALUE).write_bytes(b"0")
    with pytest.raises(BundleError, match=f"{VALUE} is damaged"):
        load_critic(bundle)
    (bundle / VALUE).unlink()
    with pytest.raises(BundleError, match=f"lacks its {VALUE}"):
        load_critic(bundle)
    load_policy(bundle)  # who acts has no need of it


def test_a_training_checkpoint_gives_the_same_policy(checkpoint):
    path, module = checkpoint
    actor = actor_from_checkpoint(path)
    for (name, one), (_, other) in zip(
        module.actor.state_dict().items(), actor.state_dict().items(), strict=True
    ):
        assert torch.equal(one, other), name
    critic = critic_from_checkpoint(path).state_dict()
    for name, one in module.critic.state_dict().items():
        assert torch.equal(one, critic[name]), name
    assert actor.normalizer.count == 120
    assert CueEnv(2).rollout(4, policy_from_checkpoint(path))["action"].shape == (2, 4, 20)


def test_checkpoints_of_others_and_of_another_contract_are_refused(checkpoint, tmp_path):
    path, _ = checkpoint
    content = torch.load(path, weights_only=True)
    content["dactyl_tl"]["bins"] = 7
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(BundleError, match=r"other.ckpt was made for another contract: its bins is 7"):
        policy_from_checkpoint(tmp_path / "other.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(BundleError, match=r"foreign.ckpt is not a training checkpoint"):
        policy_from_checkpoint(tmp_path / "foreign.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(path.read_bytes()[:5000])
    with pytest.raises(BundleError, match=r"cut.ckpt cannot be read"):
        policy_from_checkpoint(tmp_path / "cut.ckpt")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        policy_from_checkpoint(tmp_path / "absent.ckpt")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Explosive:
        def __reduce__(self):
            return (pytest.fail, ("code was run",))

    torch.save({"state_dict": {}, "dactyl_tl": Explosive()}, tmp_path / "bad.ckpt")
    with pytest.raises(BundleError, match=r"bad.ckpt cannot be read as a checkpoint of tensors"):
        policy_from_checkpoint(tmp_path / "bad.ckpt")
