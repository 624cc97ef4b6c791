"""Policies by name."""

from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

from dactyl_tl.checkpoint import save_bundle
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.policies import RandomPolicy, find_policies
from dactyl_tl.models import NetworkConfig, build_actor

SMALL = NetworkConfig(dense=16, lstm=8)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A training run's directory with a bundle in it."""
    config = {"environment": {"task": "prism", "actions": {"smoothing": 0.0}}}
    actor = build_actor(SMALL)
    actor.normalizer.update(torch.randn(64, actor.normalizer.mean.shape[-1]))
    save_bundle(tmp_path / "run" / "bundles" / "last", actor, config)
    return tmp_path / "run"


def test_random_actions_are_uniform() -> None:
    actions = RandomPolicy()(TensorDict({}, [2000]))["action"]
    assert actions.shape == (2000, 20)
    assert actions.dtype == torch.int64
    share = torch.bincount(actions.flatten(), minlength=11) / actions.numel()
    assert (share - 1 / 11).abs().max() < 0.01


def test_a_run_a_bundle_and_its_description_are_one_policy(run: Path) -> None:
    bundle = run / "bundles" / "last"
    for path in (run, bundle, bundle / "bundle.json"):
        (policy,) = find_policies([str(path)])
        assert policy.source == str(bundle)
        assert policy.environment["task"] == "prism"


def test_a_shipped_policy_says_how_long_it_was_trained(run: Path) -> None:
    shipped, other = find_policies(["block", str(run)])
    assert shipped.experience == "30.8 M frames from block_none"
    assert other.experience == ""


def test_untrained_is_the_trained_ones_network_with_fresh_repeatable_weights(run: Path) -> None:
    trained, untrained = find_policies([str(run), "untrained"], seed=3)
    assert untrained.module.actor.config == SMALL
    assert untrained.environment == trained.environment
    again = find_policies([str(run), "untrained"], seed=3)[1].module
    other = find_policies([str(run), "untrained"], seed=4)[1].module
    weights = [next(policy.parameters()) for policy in (untrained.module, again, other, trained.module)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_names_are_as_short_as_they_can_be(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    save_bundle(other / "bundles" / "last", build_actor(SMALL))
    names = [str(run / "bundles" / "last"), str(other / "bundles" / "last"), "random"]
    labels = [policy.name for policy in find_policies(names)]
    assert labels == ["run", "other", "random"]
    both = [policy.name for policy in find_policies([str(run), names[0]])]
    assert both == ["run", "last"]


def test_dates_of_runs_are_named_where_they_tell_them_apart(tmp_path: Path) -> None:
    dated = [f"2026-11-{day}_10-03-29_laptop" for day in (21, 22)]
    for name in (*dated, "laptop"):
        save_bundle(tmp_path / name / "bundles" / "last", build_actor(SMALL))
    runs = [str(tmp_path / name) for name in (*dated, "laptop")]
    assert [policy.name for policy in find_policies([runs[0], "random"])] == ["laptop", "random"]
    assert [policy.name for policy in find_policies(runs[:2])] == dated
    assert [policy.name for policy in find_policies(runs[1:])] == [dated[1], "laptop"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "policy is empty"),
        (["random", "random"], "names one twice"),
        (
            ["no/where"],
            r"policy=no/where does not exist; choose .*block_none.*, a bundle.*, random or untrained",
        ),
    ],
)
def test_wrong_names_say_what_would_do(names: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        find_policies(names)


def test_directories_and_files_without_a_policy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no policy"):
        find_policies([str(tmp_path)])
    stray = tmp_path / "notes.ckpt"
    stray.write_text("not a checkpoint")
    with pytest.raises(ConfigurationError, match=r"notes\.ckpt"):
        find_policies([str(stray)])
    damaged = save_bundle(tmp_path / "bundle", build_actor(SMALL))
    (damaged / "weights.safetensors").write_bytes(b"0")
    with pytest.raises(ConfigurationError, match="damaged"):
        find_policies([str(damaged)])
