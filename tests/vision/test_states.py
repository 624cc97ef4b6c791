"""States come from rollouts, without falling objects, and are split by episode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from dactyl_tl.contract import FINGERS, NUM_ACTUATORS, NUM_BINS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.rendering.cameras import CameraScene
from dactyl_tl.simulation.hand import PREFIX
from dactyl_tl.simulation.objects import OBJECT_BODY
from dactyl_tl.vision.poses import OBJECT_POSITION
from dactyl_tl.vision.states import FALL, ScriptedPolicy, States, _Kept, gather

ENVIRONMENT = {"task": "block", "randomization": "none", "initial_states": {"steps": 5}}


@pytest.fixture(scope="module")
def states() -> States:
    return gather(None, ENVIRONMENT, count=300, every=3, num_envs=16, seed=0)


def test_states_are_those_of_the_simulation(states: States) -> None:
    assert states.qpos.shape == (300, 31)
    assert states.qpos.isfinite().all()
    assert (states.task, states.source) == ("block", "scripted")
    torch.testing.assert_close(states.qpos[:, 27:].norm(dim=-1), torch.ones(300), atol=1e-4, rtol=0)
    assert states.qpos.unique(dim=0).shape[0] == 300
    height = states.qpos[:, OBJECT_POSITION][:, 2]
    assert height.min() > 0.05  # a dropped one lies below


def test_object_wrist_and_fingers_are_in_every_picture(states: States) -> None:
    scene = CameraScene("block", physical=False)
    data, body = scene.data, scene.data.body(OBJECT_BODY)
    links = [data.body(f"{PREFIX}{name}").id for name in ("wrist", "palm", *(f"{f}distal" for f in FINGERS))]
    places = []
    for qpos in states.qpos.double():
        scene.pose(qpos)
        of_links = (data.xpos[links] - body.xpos) @ body.xmat.reshape(3, 3)
        places.append(scene.project(np.concatenate((np.zeros((1, 3)), of_links))))
    inside = (np.abs(places) < 1).all(axis=(1, 3))  # (states, points), in all three pictures
    assert inside[:, :3].all(), "object, wrist and palm"
    assert inside[:, 3:].mean() > 0.97, "the last links of the fingers, but for one stretched far out"


def test_the_same_seed_gives_the_same_states(states: States) -> None:
    again = gather(None, ENVIRONMENT, count=300, every=3, num_envs=16, seed=0)
    torch.testing.assert_close(again.qpos, states.qpos, atol=0, rtol=0)
    other = gather(None, ENVIRONMENT, count=50, every=3, num_envs=16, seed=1)
    assert (other.qpos != states.qpos[:50]).any()


def test_a_policys_states_are_of_its_own_actions() -> None:
    held = gather("block_none", ENVIRONMENT, count=40, every=2, num_envs=8, seed=0)
    assert held.source == "block_none"
    with pytest.raises(ConfigurationError, match="nobody does not exist"):
        gather("nobody", ENVIRONMENT, count=40, every=2, num_envs=8, seed=0)
    with pytest.raises(ConfigurationError, match="Unknown task"):
        gather(None, {"task": "sphere"}, count=40, every=2, num_envs=8, seed=0)


def test_states_before_a_drop_are_forgotten() -> None:
    kept = _Kept()
    for step in range(1, 11):
        kept.forget_fall(step, torch.tensor([False, step == 7]))
        kept.add(step, torch.full((2, 31), float(step)), torch.tensor([0, 1], dtype=torch.int32),
                 torch.tensor([True, step < 7]))  # fmt: skip
    for step in range(11, 11 + FALL):
        kept.forget_fall(step, torch.zeros(2, dtype=torch.bool))
    qpos, episodes = kept.states()
    assert sorted(qpos[episodes == 0, 0].tolist()) == list(range(1, 11))
    assert sorted(qpos[episodes == 1, 0].tolist()) == list(range(1, 7 - FALL))


def test_a_split_leaves_episodes_whole(states: States) -> None:
    first, second = states.split(0.2)
    assert len(first) + len(second) == len(states)
    assert not set(first.episode.tolist()) & set(second.episode.tolist())
    assert 0.02 < len(second) / len(states) < 0.6
    with pytest.raises(ValueError, match="between 0 and 1"):
        states.split(1.0)
    one = states.part(states.episode == states.episode[0])
    with pytest.raises(ValueError, match="1 episodes cannot be split"):
        one.split(0.5)


def test_states_are_stored_and_read_without_code(tmp_path: Path, states: States) -> None:
    path = tmp_path / "states.safetensors"
    states.save(path)
    read = States.load(path)
    torch.testing.assert_close(read.qpos, states.qpos, atol=0, rtol=0)
    assert (read.task, read.source, read.episode.tolist()) == ("block", "scripted", states.episode.tolist())
    assert path.stat().st_size < 300 * 32 * 4 + 1000
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ConfigurationError, match="holds no states"):
        States.load(path)


def test_the_scripted_policy_moves_and_keeps() -> None:
    policy = ScriptedPolicy()
    torch.manual_seed(0)
    actions = torch.stack([policy(TensorDict(batch_size=64))["action"] for _ in range(30)])
    assert actions.dtype == torch.int64
    assert actions.shape == (30, 64, NUM_ACTUATORS)
    assert (actions.min(), actions.max()) == (0, NUM_BINS - 1)
    kept = (actions[1:] == actions[:-1]).float().mean()
    assert 0.6 < kept < 0.95
    assert actions.float().mean().item() == pytest.approx((NUM_BINS - 1) / 2, abs=0.1)
