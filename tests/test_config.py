"""Every configuration composes and holds; every wrong value is refused with its name and the choices."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dactyl_tl.collection.simulations import seed_of
from dactyl_tl.config_files import config_directory
from dactyl_tl.configuration import SCHEMAS, build, check
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.launch import explain
from dactyl_tl.learning import PPOConfig
from dactyl_tl.models import NetworkConfig
from dactyl_tl.pose_training import check_pose
from dactyl_tl.training import collection_plan, train
from tests.compose import compose, experiments

OF_EVALUATION = "hardware"
"""A group that training does not have; tests/hardware/test_settings.py reads it."""

CHOICES = sorted(
    (folder.name, file.stem)
    for folder in config_directory().iterdir()
    if folder.is_dir() and folder.name != OF_EVALUATION
    for file in folder.glob("*.yaml")
)

SEEING = {("experiment", name) for name in experiments(sees=True)}


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_holds(tmp_path: Path, group: str, choice: str) -> None:
    value = f"[default,{choice}]" if group == "callbacks" and choice != "default" else choice
    cfg = compose(tmp_path, [f"{group}={value}"])
    if not torch.cuda.is_available():
        OmegaConf.update(cfg, "environment.device", "cpu", force_add=True)
    if (group, choice) in SEEING:
        assert check_pose(cfg).pictures.workers > 0
    else:
        assert check(cfg).collection.rollout_frames > 0
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize("choice", [choice for group, choice in CHOICES if group == "logger"])
def test_every_logger_is_built(tmp_path: Path, choice: str) -> None:
    for entry in compose(tmp_path, [f"logger={choice}"]).logger.values():
        assert instantiate(entry, _convert_="all").log_metrics is not None


def test_groups_leave_the_dataclasses_defaults_where_they_stand(tmp_path: Path) -> None:
    cfg = compose(tmp_path, ["network=paper", "ppo=paper"])
    assert build(NetworkConfig, cfg.network, "network") == NetworkConfig()
    assert build(PPOConfig, cfg.ppo, "ppo") == PPOConfig()
    for name in ("goals", "reward", "actions", "initial_states"):
        assert build(SCHEMAS[name], cfg.environment[name], name) == SCHEMAS[name]()
    assert asdict(SCHEMAS["collection"]()).keys() == cfg.collection.keys()


def test_paper_experiment_is_table_10(tmp_path: Path) -> None:
    settings = check(compose(tmp_path, ["experiment=paper"]))
    ppo = settings.ppo
    assert (ppo.gamma, ppo.gae_lambda, ppo.entropy_coefficient, ppo.clip) == (0.998, 0.95, 0.01, 0.2)
    assert ppo.learning_rate == 3e-4
    assert settings.collection.rollout_frames == 80_000 * 10
    assert ppo.epochs * ppo.minibatches == 60
    assert (settings.network.dense, settings.network.lstm) == (1024, 512)
    assert settings.environment["randomization"] == "all"


def test_a_linear_schedule_takes_the_training_that_frames_limit(tmp_path: Path) -> None:
    words = ["experiment=finetune", "frames=4000"]
    assert check(compose(tmp_path, words)).ppo.anneal_frames == 4000
    assert check(compose(tmp_path, [*words, "ppo.anneal_frames=3000"])).ppo.anneal_frames == 3000
    with pytest.raises(
        ConfigurationError, match=r"anneal_frames is None; .* or frames, where a schedule is linear"
    ):
        check(compose(tmp_path, [*words, "frames=null"]))


def test_seeds_differ_between_workers_ranks_sessions_and_runs(tmp_path: Path) -> None:
    seeds: list[int] = []
    for run in (0, 1):
        settings = check(compose(tmp_path, [f"seed={run}", "collection.workers=4"]))
        for rank in (0, 1):
            for frames in (0, 128):
                plan = collection_plan(settings, rank, frames=frames)
                entropy = plan.make_env.args[1]
                seeds += [plan.seed, *(seed_of(entropy, 1 + worker) for worker in range(plan.workers))]
    assert len(set(seeds)) == len(seeds) == 2 * 2 * 2 * 5


def test_a_new_runs_seeds_are_those_of_earlier_versions(tmp_path: Path) -> None:
    plan = collection_plan(check(compose(tmp_path, ["seed=3", "collection.workers=2"])), 1)
    streams = np.random.SeedSequence([3, 1]).spawn(3)
    seeds = [seed_of(plan.make_env.args[1], stream) for stream in range(3)]
    assert seeds == [int(each.generate_state(1)[0]) for each in streams]


WRONG = [
    ("ppo.learning_rate=fast", "ppo.learning_rate is 'fast'; it must be a number"),
    ("ppo.clip=-1", "ppo.clip is -1.0; it must be above 0"),
    ("ppo.epochs=2.5", "ppo.epochs is 2.5; it must be a whole number"),
    ("ppo.learning_rate_schedule=cosine", "choose from constant, linear, kl"),
    ("ppo.learning_rate_range=[1]", "ppo.learning_rate_range is [1]"),
    ("network.policy=gru", "network.policy is 'gru'; choose from lstm, feedforward"),
    ("network.lstm=true", "network.lstm is True; it must be a whole number"),
    ("environment.task=cube", "environment.task is 'cube'; choose from block, prism, block_locked_wrist"),
    ("environment.hand=left", "environment.hand is 'left'; choose from gymnasium_robotics, calibrated"),
    ("environment.engine=bullet", "environment.engine is 'bullet'; choose from auto, native, warp"),
    ("environment.max_constraints=0", "environment.max_constraints is 0; it must be at least 1"),
    ("environment.device=tpu", "Simulations run on device cpu or cuda, not 'tpu'"),
    ("environment.randomization=some", "'some'; choose one of all, none, no_observation_noise"),
    ("environment.randomization={wind: 1}", "Unknown randomization group 'wind'; choose from physics"),
    ("environment.goals.kind=far", "'far'; choose one of uniform, parallel, within_angle"),
    ("environment.goals.angle=[2, 1]", "goals.angle must satisfy"),
    ("environment.actions.smoothing=1", "actions.smoothing must lie in [0, 1)"),
    ("collection.kind=threads", "collection.kind is 'threads'; choose from multiprocess, inprocess"),
    ("collection.device=gpu", "collection.device is 'gpu'; choose from cpu, learner"),
    ("network.backend=cudnn", "network.backend is 'cudnn'; choose from auto, pad, scan, triton"),
    ("collection.patience=0", "collection.patience is 0.0; it must be above 0"),
    ("collection.workers=0", "collection.workers is 0; it must be at least 1"),
    ("collection.steps=17", "collection.steps is 17; it must be a multiple of ppo.chunk=8"),
    ("ppo.minibatches=99", "ppo.minibatches is 99; a rollout of collection.workers=1 x num_envs=4"),
    ("minutes=ten", "minutes is 'ten'; it must be a number"),
    ("frames=0", "frames is 0; it must be at least 1"),
    ("seed=-1", "seed is -1; it must be at least 0"),
    ("resume=nowhere", "resume=nowhere does not exist"),
    ("policy=nowhere", "policy=nowhere does not exist"),
    ("trainer.accelerator=abacus", "trainer: You selected an invalid accelerator name"),
    ("callbacks.checkpoints.minutes=often", "callbacks:"),
    ("output_dir=/proc/nowhere", "cannot write to the run's directory /proc/nowhere"),
]


@pytest.mark.parametrize(("override", "message"), WRONG)
def test_wrong_values_are_refused_before_any_worker_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, message: str
) -> None:
    def start(*_: object) -> None:
        pytest.fail("a worker was started")

    monkeypatch.setattr("dactyl_tl.collection.datamodule.RolloutDataModule.setup", start)
    with pytest.raises(ConfigurationError) as caught:
        train(compose(tmp_path / "run", ["experiment=smoke", override]))
    assert message in str(caught.value)


def test_only_collection_in_process_can_be_where_the_learner_is(tmp_path: Path) -> None:
    words = ["experiment=smoke", "collection.device=learner"]
    settings = check(compose(tmp_path, words))
    assert collection_plan(settings, 0, torch.device("cuda", 1)).device == "cuda:1"
    assert collection_plan(check(compose(tmp_path, words[:1])), 0, torch.device("cuda", 1)).device == "cpu"
    message = "collection.device is 'learner', which collection.kind=multiprocess cannot do"
    with pytest.raises(ConfigurationError, match=message):
        check(compose(tmp_path, [*words, "collection=multiprocess"]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("task=cube", "there is no task/cube; choose from block, block_locked_wrist, prism"),
        ("randomization=some", "choose from all, no_observation_noise, no_physics, no_unmodeled, none"),
        (
            "experiment=moon",
            "there is no experiment/moon; choose from block_none, finetune, finetune_gpu, gpu, laptop, paper",
        ),
        ("callbacks=[default,fireworks]", "there is no callbacks/fireworks; choose from curriculum, default"),
        ("ppo.learning_speed=1", "unknown setting ppo.learning_speed; choose from gamma, gae_lambda"),
        ("learning_rate=1", "unknown setting learning_rate; choose from "),
        ("speed", "Error parsing override 'speed'; missing EQUAL"),
    ],
)
def test_what_hydra_cannot_compose_is_explained_in_one_line(
    tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)) as caught:
        compose(tmp_path, [override])
    assert message in explain(caught.value)
    assert "\n" not in explain(caught.value)


def test_the_command_says_it_in_one_line_and_exits_with_2(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    for override, message in (("task=cube", "there is no task/cube"), ("minutes=x", "minutes is 'x'")):
        done = subprocess.run(
            [sys.executable, "train.py", f"hydra.run.dir={tmp_path}/run", "experiment=smoke", override],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 2
        assert done.stderr.startswith(f"error: {message}")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
        assert not (tmp_path / "run").exists(), "nothing is left of a run that did not begin"
