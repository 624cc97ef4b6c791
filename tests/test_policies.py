"""Policies that come with the package, and those that training leaves behind."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dactyl_tl import contract, load_policy, make_env
from dactyl_tl.checkpoint import load_actor, load_critic, read_description, save_bundle
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.export import export
from dactyl_tl.launch import adapted_config
from dactyl_tl.models import NetworkConfig, build_actor
from dactyl_tl.policies import CURVE, FOLDER, choices, locate, shipped_policies
from dactyl_tl.stages import CURVE_POINTS, Stage, write_curve
from dactyl_tl.training import train
from tests.compose import TOY, compose

ROOT = Path(__file__).resolve().parents[1]
SMALL = NetworkConfig(dense=16, lstm=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training of two rollouts."""
    directory = tmp_path_factory.mktemp("run")
    train(compose(directory, ["experiment=smoke", "logger=csv", TOY]))
    return directory


@pytest.mark.parametrize("name", shipped_policies())
def test_every_shipped_policy_acts_and_says_how_it_was_trained(name):
    env = make_env("block", num_envs=2, randomization="all", seed=0, initial_states={"steps": 2})
    rollout = env.rollout(3, load_policy(name), break_when_any_done=False)
    assert rollout["action"].shape == (2, 3, contract.NUM_ACTUATORS)
    assert load_critic(name) is not None
    training = read_description(name)["training"]
    assert training["frames"] > 1e6
    assert all(command.startswith("python train.py ") for command in training["commands"])
    assert training["minutes"] > 0
    with (FOLDER / name / CURVE).open() as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["frames"]) == training["frames"]


@pytest.mark.parametrize("name", shipped_policies())
def test_a_shipped_policy_is_small_and_names_no_machine(name):
    assert sum(path.stat().st_size for path in (FOLDER / name).iterdir()) < 5e6
    words = json.dumps(read_description(name))
    assert "/root" not in words
    assert "/home" not in words


def test_a_name_wins_over_a_folder_unless_it_is_written_as_a_path(tmp_path, monkeypatch):
    save_bundle(tmp_path / "block_none", build_actor(SMALL))
    monkeypatch.chdir(tmp_path)
    assert locate("block_none") == FOLDER / "block_none"
    assert load_actor("./block_none").config == SMALL


def test_what_is_nowhere_is_answered_with_the_names(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"blocks does not exist; choose .*block_none"):
        locate("blocks")
    with pytest.raises(FileNotFoundError, match="holds no policy"):
        locate(tmp_path)
    assert "block_none" in choices()


def test_a_run_is_exported_with_its_value_network_and_its_record(run, tmp_path):
    bundle = export(run, tmp_path / "bundle")
    training = read_description(bundle)["training"]
    assert training["frames"] == 128
    assert training["seed"] == 0
    assert "cores of" in training["machine"]
    assert load_critic(bundle) is not None
    assert not [path for path in bundle.iterdir() if path.name.startswith(".")]
    with (bundle / CURVE).open() as file:
        assert [int(row["frames"]) for row in csv.DictReader(file)] == [64, 128]
    exact = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in load_actor(bundle).state_dict().items():
        assert torch.allclose(tensor, exact[f"loss.actor_network.{name}"], rtol=2**-11, atol=1e-7), name


def test_the_record_of_a_policy_trained_in_stages_is_of_all_of_them(run, tmp_path):
    with pytest.raises(ConfigurationError, match="commands are 1, trainings 2"):
        export(run, tmp_path / "bundle", after=[run], commands=["python train.py"])
    bundle = export(run, tmp_path / "bundle", after=[run])
    training = read_description(bundle)["training"]
    once = read_description(export(run, tmp_path / "once"))["training"]
    assert training["frames"] == 2 * 128
    assert training["minutes"] == pytest.approx(2 * once["minutes"], abs=0.11)
    assert training["commands"] == 2 * once["commands"]
    with (bundle / CURVE).open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frames"]) for row in rows] == [64, 128, 192, 256]
    assert [float(row["minutes"]) for row in rows] == sorted(float(row["minutes"]) for row in rows)


def test_a_bundle_may_be_the_first_stage(run, tmp_path):
    first = export(run, tmp_path / "first", commands=["python train.py experiment=smoke"])
    bundle = export(run, tmp_path / "bundle", after=[first])
    training = read_description(bundle)["training"]
    assert training["frames"] == 2 * 128
    assert training["commands"][0] == "python train.py experiment=smoke"
    with (bundle / CURVE).open() as file:
        assert [int(row["frames"]) for row in csv.DictReader(file)] == [64, 128, 192, 256]
    with pytest.raises(ConfigurationError, match="keeps no record of its training"):
        export(run, tmp_path / "other", after=[run / "bundles" / "last"])


def test_a_curve_is_short_and_keeps_its_end_and_its_mean(tmp_path):
    rows = [{"frames": 10.0 * k, "minutes": k / 60, "episode/successes": float(k)} for k in range(1, 1001)]
    stage = Stage(None, ("python train.py",), rows)
    write_curve(tmp_path / CURVE, [stage, stage])
    with (tmp_path / CURVE).open() as file:
        written = list(csv.DictReader(file))
    assert len(written) == CURVE_POINTS
    assert int(written[-1]["frames"]) == 20_000
    assert float(written[-1]["minutes"]) == pytest.approx(2000 / 60, abs=0.01)
    assert sum(float(row["episode/successes"]) for row in written) / CURVE_POINTS == pytest.approx(500.5)


def test_training_goes_on_from_a_bundle_with_its_value_network(run, tmp_path):
    bundle = export(run, tmp_path / "bundle")
    words = ["experiment=smoke", TOY, f"policy={bundle}", "ppo.learning_rate=1e-30"]
    train(compose(tmp_path / "more", words))
    after = torch.load(tmp_path / "more" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    critic = load_critic(bundle)
    for name, parameter in critic.named_parameters():
        assert torch.allclose(parameter, after[f"loss.critic_network.{name}"], atol=1e-6), name


def test_the_network_follows_the_policy_unless_it_is_asked_for(tmp_path):
    for words in (["policy=block_none"], ["policy=block_none", "experiment=gpu"]):
        adapted = adapted_config(compose(tmp_path, words), words)
        assert (adapted.network.dense, adapted.network.lstm) == (256, 128)
    for asked in ("network=paper", "network.dense=1024"):
        words = ["policy=block_none", asked]
        assert adapted_config(compose(tmp_path, words), words).network.dense == 1024


def test_actions_mean_what_the_policy_learnt_unless_they_are_asked_for(tmp_path):
    """A policy of absolute actions that is trained further with relative ones would begin from nothing."""
    words = ["experiment=smoke", TOY, "environment.actions={relative: false, smoothing: 0.2}"]
    train(compose(tmp_path / "run", words))
    for policy in ("", "bundles/last", "checkpoints/last.ckpt"):
        words = ["experiment=finetune", f"policy={tmp_path / 'run' / policy}"]
        assert adapted_config(compose(tmp_path, words), words).environment.actions == {
            "relative": False,
            "smoothing": 0.2,
        }
        words.append("environment.actions.smoothing=0.3")
        actions = adapted_config(compose(tmp_path, words), words).environment.actions
        assert (actions.relative, actions.smoothing) == (False, 0.3)
        words[-1] = "environment.actions={relative: true, smoothing: 0.3}"
        assert adapted_config(compose(tmp_path, words), words).environment.actions.relative


def test_the_command_goes_on_from_a_shipped_policy_and_then_from_its_own_run(tmp_path):
    """No word of the network: it is the policy's, at first and when the same line goes on."""
    words = ["policy=block_none", "resume=auto", "logger=csv", f"hydra.run.dir={tmp_path}"]
    words += ["collection=inprocess", "collection.workers=1", "collection.num_envs=4"]
    for frames in (80, 160):
        done = _train([*words, "environment.initial_states.steps=2", f"frames={frames}"])
        assert done.returncode == 0, done.stderr
        assert f"{frames} frames" in done.stdout
    assert load_actor(tmp_path / "bundles" / "last").config.dense == 256


def test_finetuning_a_shipped_policy_runs_on_its_two_ranks(tmp_path):
    words = ["experiment=finetune", "policy=block", "resume=auto", "logger=csv", f"hydra.run.dir={tmp_path}"]
    words += ["collection.num_envs=4", "ppo.minibatches=2", "environment.initial_states.steps=2"]
    for frames in (128, 256):
        done = _train([*words, f"frames={frames}"])
        assert done.returncode == 0, done.stderr
        assert f"{frames} frames" in done.stdout
    assert load_actor(tmp_path / "bundles" / "last").config.dense == 256


def _train(words):
    command = [sys.executable, str(ROOT / "train.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
