"""The same task on both engines: the same trajectories, and the same statistics."""

import mujoco
import pytest
import torch
from tensordict import TensorDict

from benchmarks.agreement import apart, copy_state, main
from dactyl_tl import load_policy, make_env

FIRST_STEPS, ALL_STEPS = 10, 50

TOLERANCE = {
    # after so many control steps: joint angles (rad) of the median simulation, and of nine in ten
    FIRST_STEPS: (1e-5, 1e-4),
    ALL_STEPS: (1e-3, 1e-1),
}
"""MuJoCo computes in double precision, MuJoCo Warp in single, and contact multiplies a difference: MuJoCo
started twice with states that differ in the seventh digit parts from itself after a while, too."""

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("task", ["block", "prism", "block_locked_wrist"])
def test_trajectories_agree(task, device):
    n = 32
    settings = {"num_envs": n, "randomization": "no_unmodeled", "initial_states": {"steps": 5}}
    native = make_env(task, seed=0, **settings)
    warp = make_env(task, seed=0, engine="warp", device=device, **settings)
    native.reset(), warp.reset()
    copy_state(native, warp)
    running = torch.ones(n, dtype=torch.bool)
    for step in range(1, ALL_STEPS + 1):
        action = torch.randint(11, (n, 20))
        for env in (native, warp):
            done = env._step(TensorDict({"action": action.to(env.device)}, [n]))["done"]
            running &= ~done[:, 0].cpu()
        if step in TOLERANCE:
            difference = apart(native, warp, running)
            for share, limit in zip((0.5, 0.9), TOLERANCE[step], strict=True):
                assert difference.quantile(share) < limit
    assert running.sum() > n / 2
    warp.check()


def test_all_randomizations_act_alike():
    """Same draws, same effects: delay, backlash, noise, timing, forces, lost markers."""
    n = 16
    native = make_env("block", num_envs=n, seed=0, initial_states={"steps": 5})
    warp = make_env("block", num_envs=n, seed=1, engine="warp", initial_states={"steps": 5})
    native.reset(), warp.reset()
    copy_state(native, warp)
    for _ in range(5):
        action = TensorDict({"action": torch.randint(11, (n, 20))}, [n])
        one, other = native._step(action.clone()), warp._step(action.clone())
    alike = apart(native, warp, ~one["done"][:, 0]) < 1e-4
    assert alike.float().mean() > 0.8
    alike = alike.nonzero()[:, 0]
    rows = torch.arange(n)[~one["done"][:, 0]][alike]
    for key in one.keys(True, True):
        torch.testing.assert_close(one[key][rows], other[key][rows], atol=2e-3, rtol=1e-3, msg=str(key))
    torch.testing.assert_close(
        native.physics.field("opt.timestep").float(), warp.physics.field("opt.timestep")
    )


def behaviour(episodes, steps, **settings):
    """Of each episode under one trained policy: dropped, goals, rad a second, contacts in the mean."""
    env = make_env("block", num_envs=episodes, randomization="no_unmodeled", **settings)
    policy = load_policy("block_none").to(env.device)
    torch.manual_seed(0)
    now = env.reset()
    running, angle, contacts = torch.zeros(episodes), torch.zeros(episodes), torch.zeros(episodes)
    alive = torch.ones(episodes, dtype=torch.bool)
    for step in range(steps):
        now = policy(now)
        after = env.step(now)["next"]
        turn = after["privileged", "object_angular_velocity"].cpu()  # in one control period
        angle += alive * 2.0 * torch.atan2(turn[:, 1:].norm(dim=-1), turn[:, 0].abs())
        running += alive
        alive &= ~after["done"][:, 0].cpu()
        if step % 10 == 9:
            contacts += torch.tensor([float(touching(env, world)) for world in range(episodes)]) * alive
        now = env.step_mdp(now)
    env.check()
    return {
        "dropped": after["dropped"][:, 0].float().cpu(),
        "goals": after["successes"][:, 0].float().cpu(),
        "rad a second": angle / (0.08 * running),
        "contacts": contacts / (running / 10).floor().clamp(min=1),
    }


def touching(env, world):
    model, data = env.physics.materialize(world)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_collision(model, data)
    return data.ncon


def assert_alike(native, warp):
    """Means within four standard errors of their difference."""
    for name, ours in native.items():
        theirs = warp[name]
        error = ((ours.var() + theirs.var()) / len(ours)).sqrt()
        assert (ours.mean() - theirs.mean()).abs() < 4.0 * error + 1e-6, name


def test_behaviour_is_alike():
    native = behaviour(64, 25, seed=3, initial_states={"steps": 5})
    assert native["rad a second"].mean() > 0.5
    assert native["contacts"].mean() > 1.0
    assert_alike(native, behaviour(64, 25, seed=4, engine="warp", initial_states={"steps": 5}))


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_behaviour_is_alike_over_256_episodes(device):
    native = behaviour(256, 100, seed=3)
    assert 0.05 < native["dropped"].mean() < 0.95
    assert_alike(native, behaviour(256, 100, seed=4, engine="warp", device=device))


def test_the_command_prints_how_far_they_part(capsys):
    main(["--tasks", "block", "--simulations", "4"])
    assert "| block, MuJoCo Warp" in capsys.readouterr().out
