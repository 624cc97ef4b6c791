"""The Gymnasium view: Gymnasium's own checkers, its ways of resetting, and equality with the native batch."""

import itertools
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.passive_env_checker import data_shares_objects
from gymnasium.vector import AutoresetMode
from tensordict import TensorDict

import dactyl_tl
from dactyl_tl.contract import OBSERVATION_SIZES, POLICY_INPUTS, policy_keys, privileged_keys
from dactyl_tl.envs.gymnasium import INFOS, GymnasiumVectorEnv
from dactyl_tl.registration import TASKS, environment_id

BLOCK = environment_id("Block")
QUICK = {"initial_states": {"steps": 2}}
"""Few steps of random actions before an episode: a reset takes milliseconds."""


def make_batch(num_envs=6, **settings):
    return gymnasium.make_vec(BLOCK, num_envs=num_envs, **QUICK, **settings)


def test_importing_the_package_registers_the_tasks_and_loads_nothing_heavy():
    program = (
        "import sys, dactyl_tl, gymnasium;"
        "print(sorted(i for i in gymnasium.registry if i.startswith('dactyl_tl/')));"
        "print([m for m in ('torch', 'torchrl', 'mujoco', 'lightning') if m in sys.modules])"
    )
    root = dactyl_tl.__path__[0] + "/.."
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert printed == [str(sorted(map(environment_id, TASKS))), "[]"]


@pytest.mark.filterwarnings("ignore:.*A Box observation space m:UserWarning")
@pytest.mark.parametrize("name", TASKS)
def test_gymnasiums_checker_accepts_every_task(name):
    env = gymnasium.make(environment_id(name), **QUICK)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


@pytest.mark.filterwarnings("ignore:.*A Box observation space m:UserWarning")
def test_passive_checker_is_silent_over_whole_episodes(recwarn):
    env = gymnasium.make(BLOCK, **QUICK)  # gymnasium.make wraps the environment in the passive checker
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(60):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    env.close()
    assert not [str(w.message) for w in recwarn if "Box observation space m" not in str(w.message)]


def test_spaces_and_names():
    envs = make_batch(3)
    names = [f"{group}_{name}" for group, name in policy_keys() + privileged_keys()]
    assert sorted(envs.single_observation_space) == sorted(names)
    for group, name in policy_keys() + privileged_keys():
        assert envs.single_observation_space[f"{group}_{name}"].shape == (OBSERVATION_SIZES[name],)
    assert envs.single_action_space == gymnasium.spaces.MultiDiscrete([11] * 20)
    observations, infos = envs.reset(seed=0)
    assert observations in envs.observation_space
    assert envs.action_space.sample() in envs.action_space
    assert set(infos) == {*INFOS, *(f"_{name}" for name in INFOS)}
    observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
    assert observations in envs.observation_space
    assert rewards.shape == terminated.shape == truncated.shape == infos["successes"].shape == (3,)
    assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
    envs.close()


def test_same_numbers_as_the_native_environment():
    envs = make_batch(4, randomization="all", autoreset_mode="Disabled")
    native = dactyl_tl.make_env("block", num_envs=4, randomization="all", **QUICK)
    observations, _ = envs.reset(seed=3)
    native.set_seed(int(np.random.Generator(np.random.PCG64(3)).integers(2**31)))
    entries = native.reset()
    for name in POLICY_INPUTS:
        np.testing.assert_array_equal(observations[f"policy_{name}"], entries["policy", name].numpy())
    actions = np.random.default_rng(0).integers(11, size=(4, 20))
    observations, rewards, terminated, _, infos = envs.step(actions)
    entries = native.step(TensorDict({"action": torch.from_numpy(actions)}, [4]))["next"]
    np.testing.assert_array_equal(rewards, entries["reward"][:, 0].numpy().astype(np.float64))
    np.testing.assert_array_equal(terminated, entries["terminated"][:, 0].numpy())
    np.testing.assert_array_equal(infos["goal_distance"], entries["goal_distance"][:, 0].numpy())
    for name in OBSERVATION_SIZES:
        np.testing.assert_array_equal(observations[f"privileged_{name}"], entries["privileged", name].numpy())
    envs.close()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_same_seed_same_batch_and_no_returned_data_reused(mode):
    def run(seed):
        envs = make_batch(4, autoreset_mode=mode)
        random = np.random.default_rng(0)
        steps = [envs.reset(seed=seed)]
        steps += [envs.step(random.integers(11, size=(4, 20))) for _ in range(25)]
        envs.close()
        return steps

    first, second, third = run(5), run(5), run(6)
    assert data_equivalence(first, second, exact=True)
    assert not data_equivalence(first[0], third[0])
    for earlier, later in itertools.pairwise(first):
        assert not data_shares_objects(earlier[0], later[0])
        assert not data_shares_objects(earlier[-1], later[-1])


def test_unseeded_environments_differ():
    first, second = (gymnasium.make(BLOCK, **QUICK) for _ in range(2))
    assert not data_equivalence(first.reset()[0], second.reset()[0])


def run_until_finished(envs, steps=200):
    """Random actions until a simulation finishes; what that step returned, and who finished."""
    random = np.random.default_rng(1)
    envs.reset(seed=1)
    for _ in range(steps):
        returned = envs.step(random.integers(11, size=(envs.num_envs, 20)))
        finished = returned[2] | returned[3]
        if finished.any() and not finished.all():
            return returned, finished
    raise AssertionError(f"no episode ended within {steps} steps")


def test_next_step_resets_in_the_step_after():
    envs = make_batch()
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    (last, _, _, _, infos), finished = run_until_finished(envs)
    assert (infos["elapsed"][finished] > 0).all()
    envs.action_space.seed(0)
    observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
    assert (infos["elapsed"][finished] == 0).all()
    assert (rewards[finished] == 0).all()
    assert not (terminated | truncated)[finished].any()
    assert (infos["elapsed"][~finished] > 0).all()
    name = "privileged_target_orientation"
    assert (observations[name] != last[name]).any(axis=1)[finished].all()
    ended = terminated | truncated
    infos = envs.step(envs.action_space.sample())[-1]
    np.testing.assert_array_equal(infos["elapsed"] > 0, ~ended)


def test_same_step_returns_the_new_episode_and_keeps_the_last_step_of_the_old():
    envs = make_batch(autoreset_mode=AutoresetMode.SAME_STEP)
    (observations, rewards, terminated, _, infos), finished = run_until_finished(envs)
    assert (infos["elapsed"][finished] == 0).all()
    assert (infos["final_info"]["elapsed"][finished] > 0).all()
    assert (infos["final_info"]["dropped"] == terminated)[finished].all()
    assert (rewards[terminated] < -10).all()
    np.testing.assert_array_equal(infos["_final_obs"], finished)
    for row in range(envs.num_envs):
        if finished[row]:
            assert infos["final_obs"][row] in envs.single_observation_space
            last = infos["final_obs"][row]["privileged_object_position"]
            assert (last != observations["privileged_object_position"][row]).any()
        else:
            assert infos["final_obs"][row] is None


def test_disabled_autoreset_asks_for_a_reset_of_the_finished():
    envs = make_batch(autoreset_mode="Disabled")
    (before, *_), finished = run_until_finished(envs)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset_mask"):
        envs.step(envs.action_space.sample())
    after, infos = envs.reset(options={"reset_mask": finished})
    name = "privileged_object_position"
    np.testing.assert_array_equal(before[name][~finished], after[name][~finished])
    assert (before[name] != after[name]).any(axis=1)[finished].all()
    np.testing.assert_array_equal(infos["_elapsed"], finished)
    envs.step(envs.action_space.sample())


def test_rendered_pictures_show_a_hand():
    envs = make_batch(2, render_mode="rgb_array", width=160, height=120)
    envs.reset(seed=0)
    pictures = envs.render()
    assert [picture.shape for picture in pictures] == [(120, 160, 3)] * 2
    assert all(picture.std() > 10 for picture in pictures)
    assert (pictures[0] != pictures[1]).any()
    envs.close()
    envs.close()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GymnasiumVectorEnv(2, autoreset_mode="never"), "NextStep, SameStep, Disabled"),
        (lambda: GymnasiumVectorEnv(2, render_mode="human"), "rgb_array"),
        (lambda: GymnasiumVectorEnv(2, task="sphere"), "'sphere'.*block"),
        (lambda: make_batch(2).reset(seed=[1, 2]), r"integer, not \[1, 2\]"),
        (lambda: make_batch(2).reset(options={"reset_mask": np.zeros(2, bool)}), "no simulation"),
        (lambda: make_batch(2).reset(options={"reset_mask": [True, False]}), "boolean array"),
        (lambda: stepped(np.full((2, 20), 11)), r"0\.\.10"),
        (lambda: stepped(np.zeros((2, 19), int)), r"\(2, 20\)"),
        (lambda: stepped(np.zeros((2, 20))), "integers"),
    ],
)
def test_wrong_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def stepped(actions):
    envs = make_batch(2)
    envs.reset(seed=0)
    return envs.step(actions)


def test_stepping_before_a_reset_is_an_error():
    with pytest.raises(gymnasium.error.ResetNeeded):
        make_batch(2).step(np.zeros((2, 20), int))
