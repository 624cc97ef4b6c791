"""Every recipe runs; what it leaves behind can be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from dactyl_tl import load_policy
from dactyl_tl.errors import CheckpointError, ConfigurationError
from dactyl_tl.metrics import read_metrics
from dactyl_tl.models import NetworkConfig, build_actor
from dactyl_tl.training import TrainingResult, train
from tests.compose import TOY, compose, experiments

TINY = [
    "environment.initial_states.steps=2",
    "network.dense=16",
    "network.lstm=8",
    "ppo.minibatches=2",
    "ppo.epochs=1",
    "collection.workers=1",
    "collection.num_envs=2",
    "collection.steps=${ppo.chunk}",
    "minutes=null",
    "trainer.devices=1",  # a second rank would start these tests anew; test_policies.py runs two
]
LOGGED = [
    "throughput/frames_per_second",
    "rollout/goal_distance",
    "policy/entropy",
    "policy/kl",
    "policy/clip_fraction",
    "value/explained_variance",
    *(f"reward/{name}" for name in ("total", "rotation", "success", "drop", "dense")),
]


def smoke(directory: Path, *overrides: str) -> TrainingResult:
    return train(compose(directory, ["experiment=smoke", *overrides]))


@pytest.mark.parametrize("experiment", experiments())
def test_every_experiment_runs_for_two_rollouts(tmp_path: Path, experiment: str) -> None:
    asked = compose(tmp_path, [f"experiment={experiment}"])
    steps = asked.ppo.chunk
    absent = asked.trainer.accelerator == "gpu" and not torch.cuda.is_available()
    on_cpu = ["environment.device=cpu", "trainer.accelerator=cpu"] if absent else []
    words = [*on_cpu, *TINY, f"frames={4 * steps}", "collection.kind=inprocess", "logger=csv"]
    result = train(compose(tmp_path, [f"experiment={experiment}", *words]))
    assert result.frames == 4 * steps
    assert result.interrupted is None
    rows = read_metrics(result.run / "metrics.csv")
    assert [row["frames"] for row in rows] == [2 * steps, 4 * steps]
    for key in LOGGED:
        assert key in rows[-1], key
    assert all(row["policy/first_ratio"] == pytest.approx(1.0, abs=1e-3) for row in rows)
    assert (result.run / "curves.png").exists()
    assert load_policy(result.run / "bundles" / "last") is not None


def test_default_logging_has_wandb_offline_with_the_same_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    smoke(tmp_path / "run", TOY, "logger=default")
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert read_metrics(tmp_path / "run" / "metrics.csv")
    output = capfd.readouterr()
    assert "warning" not in (output.out + output.err).lower()
    assert "choice" not in output.out.lower()


def test_asynchronous_training_logs_the_age_of_the_weights(tmp_path: Path) -> None:
    words = ["collection=asynchronous", "collection.workers=2", "collection.num_envs=2", "frames=384"]
    result = smoke(tmp_path, TOY, *words)
    ages = [row["collection/weights_age"] for row in read_metrics(result.run / "metrics.csv")]
    assert len(ages) == 6
    assert all(0.0 <= age < 6.0 for age in ages)
    assert max(ages) > 0.0


def test_minutes_end_training_with_checkpoint_and_bundle(tmp_path: Path) -> None:
    result = smoke(tmp_path, TOY, "frames=null", "minutes=0.02")
    assert result.seconds >= 1.2
    assert result.checkpoint == tmp_path / "checkpoints" / "last.ckpt"
    assert (tmp_path / "bundles" / "last" / "weights.safetensors").exists()
    assert torch.load(result.checkpoint, weights_only=True)["state_dict"]["frames"] == result.frames


def actor_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_policy(run / "bundles" / "last").actor.state_dict()


def test_training_starts_from_a_given_policy(tmp_path: Path) -> None:
    first = smoke(tmp_path / "first", TOY)
    sources = [first.run, first.checkpoint, first.run / "bundles" / "last"]
    for index, source in enumerate(sources):
        # A learning rate this small leaves the weights as they came.
        words = (f"policy={source}", "ppo.learning_rate=1e-30", "seed=5", "frames=64")
        tuned = smoke(tmp_path / f"{index}", TOY, *words)
        assert tuned.frames == 64, "counted from the start"
        for name, weight in actor_weights(tuned.run).items():
            if name.endswith(("weight", "bias")):
                torch.testing.assert_close(weight, actor_weights(first.run)[name])


def test_a_policy_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    first = smoke(tmp_path / "first", TOY)
    with pytest.raises(ConfigurationError, match=r"has network.lstm=16, this run 8; set network.lstm=16"):
        smoke(tmp_path / "second", TOY, f"policy={first.run}", "network.lstm=8")
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(b"not a checkpoint")
    for setting in ("policy", "resume"):
        with pytest.raises(ConfigurationError, match=f"{setting}: .*damaged.ckpt"):
            smoke(tmp_path / "third", TOY, f"{setting}={damaged}")


def test_a_checkpoint_of_another_size_cannot_be_resumed(tmp_path: Path) -> None:
    smoke(tmp_path, TOY)
    with pytest.raises(ConfigurationError, match=r"network.dense=32"):
        smoke(tmp_path, TOY, f"resume={tmp_path}", "network.dense=64")


def test_a_disk_that_fills_up_is_a_clear_error_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    import resource

    first = smoke(tmp_path, TOY)
    assert first.checkpoint is not None
    before = first.checkpoint.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write the checkpoint .*last.ckpt"):
            smoke(tmp_path, TOY, f"resume={tmp_path}", "frames=192")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert first.checkpoint.read_bytes() == before
    assert not list((tmp_path / "checkpoints").glob("*.partial"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="cannot write to the run's directory"):
        smoke(tmp_path / "run", TOY)


def test_too_little_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dactyl_tl.runs.FREE_SPACE", 10**15)
    with pytest.raises(ConfigurationError, match="MB left; checkpoints of these networks need"):
        smoke(tmp_path, TOY)


def test_the_networks_of_the_seed_are_the_first_weights(tmp_path: Path) -> None:
    smoke(tmp_path, TOY, "seed=11", "ppo.learning_rate=1e-30")
    torch.manual_seed(11)
    fresh = build_actor(NetworkConfig(dense=32, lstm=16)).state_dict()
    trained = actor_weights(tmp_path)
    assert all(torch.allclose(trained[k], v) for k, v in fresh.items() if k.endswith(("weight", "bias")))
