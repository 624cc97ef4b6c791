"""The environment as TorchRL and its users see it."""

import itertools
import math

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import check_env_specs

from dactyl_tl import make_env, rotations
from dactyl_tl.contract import DROP_DEPTH, OBSERVATION_SIZES, POLICY_INPUTS, PRIVILEGED_INPUTS, REWARD_TERMS
from dactyl_tl.goals import GoalConfig

HOLD = 5  # the middle bin: zero


def step(env, td, bins=HOLD):
    action = torch.full((*env.batch_size, 20), bins) if isinstance(bins, int) else bins
    return env.step(td.set("action", action))["next"]


def held(env, steps):
    """Steps with constant actions; the last step's entries."""
    td = env.reset()
    for _ in range(steps):
        td = step(env, td)
    return td


@pytest.mark.parametrize("task", ["block", "prism", "block_locked_wrist"])
def test_specs(quick_env, task):
    check_env_specs(quick_env(task))


def test_entries_and_sizes(quick_env):
    env = quick_env()
    assert env.batch_size == torch.Size([4])
    assert env.action_spec.shape == (4, 20)
    assert env.action_spec.dtype == torch.int64
    rollout = env.rollout(3, break_when_any_done=False)
    for group, names in (("policy", POLICY_INPUTS), ("privileged", PRIVILEGED_INPUTS)):
        assert set(rollout[group].keys()) == set(names)
        for name in names:
            assert rollout[group, name].shape == (4, 3, OBSERVATION_SIZES[name])
            assert rollout[group, name].dtype == torch.float32
    assert sum(OBSERVATION_SIZES[name] for name in PRIVILEGED_INPUTS) == 85  # Table 2
    assert sum(OBSERVATION_SIZES[name] for name in POLICY_INPUTS) == 22


@pytest.mark.parametrize("threads", [1, 3])
def test_same_seed_same_trajectory_at_any_thread_count(quick_env, threads):
    rollouts = []
    for count in (1, threads):
        torch.manual_seed(0)
        env = quick_env(num_threads=count, seed=7, initial_states={"steps": 2, "fresh": 0.5, "pool": 8})
        rollouts.append(env.rollout(25, break_when_any_done=False))
    assert rollouts[0]["next", "done"].any()
    assert (rollouts[0] == rollouts[1]).all()
    other = quick_env(seed=8, initial_states={"steps": 2}).rollout(1)
    assert (
        other["privileged", "object_position"] != rollouts[0]["privileged", "object_position"][:, :1]
    ).any()


def test_reward_is_the_sum_of_its_terms_and_follows_the_distance(quick_env):
    env = quick_env(randomization="none", reward={"dense": 0.5}, num_envs=16)
    rollout = env.rollout(60, break_when_any_done=False)
    after = rollout["next"]
    terms = {name: after["reward_terms", name] for name in REWARD_TERMS}
    torch.testing.assert_close(after["reward"], sum(terms.values()))
    quiet = ~after["achieved"]
    moved = (rollout["goal_distance"] - after["goal_distance"])[quiet]
    torch.testing.assert_close(terms["rotation"][quiet], moved)
    assert ((terms["drop"] == -20) == after["dropped"]).all()
    assert ((terms["success"] == 5) == after["achieved"]).all()
    assert after["dropped"].any()


def throw(env, rows):
    """Put the objects of the given simulations far below the hand."""
    env.physics.qpos[rows, 26] = 0.0
    env.physics.forward(torch.ones(env.batch_size, dtype=torch.bool))


def test_a_drop_terminates_and_a_timeout_truncates(quick_env):
    env = quick_env(randomization="none", num_envs=4, goals={"timeout": 0.5})
    td = env.reset()
    throw(env, [1, 2])
    seen = set()
    for _ in range(12):
        td = step(env, td)
        assert torch.equal(td["terminated"], td["dropped"])
        assert torch.equal(td["done"], td["terminated"] | td["truncated"])
        seen |= {name for name in ("terminated", "truncated") if td[name].any()}
    assert seen == {"terminated", "truncated"}
    waited = td["elapsed"][td["truncated"]]
    assert (waited > 0.5 - 1e-5).all()


def test_achieving_a_goal_asks_for_the_next_and_the_last_one_ends_the_episode(quick_env):
    """With a tolerance of pi every orientation is a success."""
    env = quick_env(
        randomization="none",
        goals={"tolerance": math.pi, "maximum": 3},
        actions={"relative": False},
        initial_states={"steps": 5},  # settled, so that nothing drops within three steps
        num_envs=2,
    )
    td = env.reset()
    goals = [td["privileged", "target_orientation"]]
    for count in (1, 2, 3):
        td = step(env, td)
        assert td["successes"].flatten().tolist() == [count] * 2
        assert td["achieved"].all()
        goals.append(td["privileged", "target_orientation"])
    assert td["truncated"].all()
    assert not td["terminated"].any()
    for before, after in itertools.pairwise(goals):
        assert (before != after).any(dim=-1).all()


def test_a_finished_simulation_stays_as_it_is(quick_env):
    env = quick_env(randomization="all", goals={"timeout": 0.2}, num_envs=3)
    td = env.reset()
    for _ in range(5):
        td = step(env, td)
    assert td["done"].all()
    after = step(env, td, bins=10)
    for key in (
        ("policy", "object_position"),
        ("privileged", "joint_angles"),
        "elapsed",
        "successes",
        "done",
    ):
        assert torch.equal(after[key], td[key])
    assert (after["reward"] == 0).all()


def test_partial_reset_touches_only_its_simulations(quick_env):
    env = quick_env()
    td = held(env, 3)
    parameters = env.parameters
    mask = torch.tensor([[True], [False], [True], [False]])
    after = env.reset(td.clone().set("_reset", mask))
    rows = mask[:, 0]
    assert torch.equal(
        after["policy"][~rows]["fingertip_positions"], td["policy"][~rows]["fingertip_positions"]
    )
    assert torch.equal(after["elapsed"][~rows], td["elapsed"][~rows])
    assert (after["elapsed"][rows] == 0).all()
    for name, value in env.parameters.items():
        changed = (value != parameters[name]).flatten(1).any(dim=1)
        assert not changed[~rows].any(), name
    assert (env.parameters["object_mass"] != parameters["object_mass"])[rows].all()


def test_relative_target_orientation_takes_the_object_to_the_target(quick_env):
    env = quick_env(randomization="none")
    td = held(env, 2)
    privileged = td["privileged"]
    reached = rotations.multiply(privileged["relative_target_orientation"], privileged["object_orientation"])
    assert rotations.distance(reached, privileged["target_orientation"]).max() < 1e-3
    angle = rotations.distance(privileged["relative_target_orientation"], torch.tensor([1.0, 0, 0, 0]))
    torch.testing.assert_close(angle[:, None], td["goal_distance"], atol=1e-4, rtol=0)


def test_without_noise_the_policy_sees_the_privileged_values(quick_env):
    td = held(quick_env(randomization="no_observation_noise", num_envs=8), 1)
    torch.testing.assert_close(
        td["policy", "object_position"], td["privileged", "object_position"], atol=1e-5, rtol=0
    )
    noisy = held(quick_env(randomization="all", num_envs=8), 1)
    error = (noisy["policy", "object_position"] - noisy["privileged", "object_position"]).abs()
    assert 0.0005 < error.mean() < 0.02


def test_object_velocities_agree_with_the_motion(quick_env):
    env = quick_env(randomization="none", num_envs=8)
    before = env.reset()["privileged"]
    td = step(env, env.reset())
    before, after = td["privileged"], step(env, td)["privileged"]
    predicted = rotations.multiply(before["object_angular_velocity"], before["object_orientation"])
    moved = rotations.distance(after["object_orientation"], before["object_orientation"])
    missed = rotations.distance(after["object_orientation"], predicted)
    assert missed.mean() < 0.7 * moved.mean()  # contact changes the rate within the step, but not wholly


@pytest.mark.parametrize("kind", ["uniform", "parallel", "within_angle"])
def test_goals(quick_env, kind):
    env = quick_env(num_envs=64, goals={"kind": kind, "angle": [0.5, 1.2]})
    privileged = env.reset()["privileged"]
    target, present = privileged["target_orientation"], privileged["object_orientation"]
    distance = rotations.distance(target, present)
    if kind == "within_angle":
        assert distance.min() >= 0.5 - 1e-3
        assert distance.max() <= 1.2 + 1e-3
        env.goal_angle = 0.3  # a curriculum's
        privileged = env.reset()["privileged"]
        distance = rotations.distance(privileged["target_orientation"], privileged["object_orientation"])
        torch.testing.assert_close(distance, torch.full_like(distance, 0.3), atol=1e-3, rtol=0)
    elif kind == "parallel":
        up = torch.stack([rotations.rotate(target, torch.eye(3)[i].expand(64, 3))[:, 2] for i in range(3)], 1)
        torch.testing.assert_close(up.abs().max(dim=1).values, torch.ones(64), atol=1e-4, rtol=0)
    else:
        assert distance.mean() > 1.8  # pi/2 + 2/pi = 2.2


def test_initial_states_hold_the_object_and_vary(quick_env):
    env = quick_env(num_envs=32, initial_states={"steps": 10}, randomization="none")
    td = env.reset()
    clearance = env.physics.qpos[:, 26] - env.physics.xpos[:, env.scene.palm_body, 2]
    assert (clearance > -DROP_DEPTH).all()
    assert td["privileged", "joint_angles"].std(dim=0).mean() > 0.1  # random actions spread the hand
    orientation = td["privileged", "object_orientation"]
    assert rotations.distance(orientation[0], orientation[1:]).min() > 0.01


def test_a_trial_that_holds_nothing_is_discarded_with_its_parameters(native_env):
    env = native_env(num_envs=3, initial_states={"steps": 3}, randomization="no_unmodeled")
    sample = env._sample_parameters

    def sample_then_pull_sideways(mask):
        sample(mask)
        if mask.all():  # at the reset; not where a trial is discarded
            env.physics.field("opt.gravity")[1] = torch.tensor([40.0, 0.0, -30.0]).double()
            sampled.append(env.parameters["object_mass"][1].item())

    sampled = []
    env._sample_parameters = sample_then_pull_sideways
    env.reset()
    assert env.parameters["object_mass"][1].item() != sampled[0]
    assert env.physics.field("opt.gravity")[1, 0].abs() < 3  # a new draw


def test_pooled_initial_states_come_from_the_pool(native_env):
    env = native_env(num_envs=8, initial_states={"steps": 2, "fresh": 1e-9, "pool": 8}, randomization="none")
    first = env.reset()["privileged", "object_position"]
    again = env.reset()["privileged", "object_position"]
    assert (again[:, None] == first[None]).all(-1).any(1).all()
    assert not torch.equal(again, first)


def test_each_simulation_decides_whether_its_initial_state_is_simulated(native_env):
    env = native_env(num_envs=40, initial_states={"steps": 2, "fresh": 0.3, "pool": 40}, randomization="none")
    before: set[tuple[float, ...]] = set()
    shares = []
    for _ in range(6):
        positions = {tuple(row) for row in env.reset()["privileged", "object_position"].tolist()}
        if before:
            shares.append(len(positions - before) / 40)
        before |= positions
    assert all(0.0 < share < 0.7 for share in shares), "not all of a reset or none"
    assert 0.1 < sum(shares) / len(shares) < 0.4, "repeated draws from the pool count once"


def test_reseeding_a_used_environment_starts_it_over(quick_env):
    env = quick_env(num_envs=8, initial_states={"steps": 2, "fresh": 0.5, "pool": 8})
    rollouts = []
    for _ in range(2):
        torch.manual_seed(0)
        env.set_seed(5)
        rollouts.append(env.rollout(3, break_when_any_done=False))
        env.reset()
    assert (rollouts[0] == rollouts[1]).all()


def test_a_diverging_simulation_is_reset_counted_and_reported(quick_env):
    env, healthy = quick_env(), quick_env()
    td, same = env.reset(), healthy.reset()
    env.physics.qvel[2] = float("nan")
    after, expected = step(env, td), step(healthy, same)
    assert after["diverged"].flatten().tolist() == [False, False, True, False]
    assert after["truncated"][2]
    assert not after["terminated"][2]
    assert after["reward"][2] == 0
    assert env.divergences == 1
    assert all(value.isfinite().all() for value in after.values(True, True) if value.is_floating_point())
    rows = torch.tensor([0, 1, 3])
    assert torch.equal(
        after["privileged"][rows]["joint_angles"], expected["privileged"][rows]["joint_angles"]
    )
    alive = env.reset(after.set("_reset", after["done"]))
    assert step(env, alive)["diverged"].sum() == 0


@pytest.mark.parametrize("steps_before", [0, 6])
def test_state_dict_continues_bit_for_bit(quick_env, steps_before):
    settings = {"num_envs": 6, "initial_states": {"steps": 1, "fresh": 0.5, "pool": 16}}
    env, other = quick_env(seed=3, **settings), quick_env(seed=4, **settings)
    td = env.reset()
    other.rollout(3, break_when_any_done=False)
    g = torch.Generator().manual_seed(0)

    def play(env, td, g, steps):
        outputs = []
        for _ in range(steps):
            td["action"] = torch.randint(11, (6, 20), generator=g)
            output, td = env.step_and_maybe_reset(td)
            outputs.append(output["next"].clone())
        return outputs, td

    _, td = play(env, td, g, steps_before)
    throw(env, [0, 3])
    state = {name: value.clone() for name, value in env.state_dict().items()}
    position, carried = g.get_state(), td.clone()
    expected, _ = play(env, td, g, 15)
    assert any(output["done"].any() for output in expected)
    other.load_state_dict(state)
    g.set_state(position)
    continued, _ = play(other, carried, g, 15)
    for one, two in zip(continued, expected, strict=True):
        assert (one == two).all()


def test_state_of_another_size_is_refused(quick_env):
    with pytest.raises(ValueError, match="does not fit"):
        quick_env(num_envs=2).load_state_dict(quick_env(num_envs=3).state_dict())


def test_randomization_scale_shrinks_every_episode_after_it(quick_env):
    env = quick_env(num_envs=64)
    env.reset()
    wide = env.parameters["object_mass"].std()
    env.randomization_scale = 0.1
    env.reset()
    assert env.parameters["object_mass"].std() < 0.2 * wide


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "cube"}, "Unknown task 'cube'; choose one of block, prism"),
        ({"randomization": "most"}, "Unknown randomization 'most'; choose one of all, none"),
        ({"hand": "left"}, "Unknown hand 'left'; choose one of gymnasium_robotics"),
        ({"engine": "bullet"}, "Unknown engine 'bullet'; choose one of auto, native, warp"),
        ({"device": "cuda"}, "device is 'cuda', but this machine has no GPU"),
        ({"device": "mps"}, "run on device cpu or cuda, not 'mps'"),
        ({"num_envs": 0}, "num_envs must be at least 1, not 0"),
        ({"goals": {"knd": "uniform"}}, "Unknown setting goals.knd; choose from kind"),
        ({"goals": {"kind": "any"}}, "Unknown goals.kind 'any'; choose one of uniform"),
        ({"goals": {"angle": (2.0, 1.0)}}, "goals.angle must satisfy"),
        ({"actions": {"smoothing": 1.0}}, r"actions.smoothing must lie in \[0, 1\), not 1.0"),
        ({"initial_states": {"fresh": 0.0}}, r"initial_states.fresh must lie in \(0, 1\], not 0.0"),
        ({"reward": {"softness": 0}}, "reward.softness must be positive, not 0"),
    ],
)
def test_wrong_settings_name_the_value_and_the_choices(settings, message):
    with pytest.raises(ValueError, match=message):
        make_env(settings.pop("task", "block"), **settings)


def test_defaults_are_the_papers():
    goals = GoalConfig()
    assert (goals.tolerance, goals.timeout, goals.maximum) == (0.4, 8.0, 50)
    env = make_env("block")
    assert (env.config.reward.rotation, env.config.reward.success, env.config.reward.drop) == (1, 5, -20)
    assert (env.config.actions.relative, env.config.actions.smoothing) == (True, 0.3)
    assert isinstance(env.parameters, TensorDict)
