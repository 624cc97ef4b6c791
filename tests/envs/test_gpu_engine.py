"""What the GPU engine changes about the environment: it steps all simulations, and nothing may wait for it.

All of it runs on Warp's CPU device; the GPU adds that CUDA itself sees no synchronisation.
"""

import pytest
import torch

from dactyl_tl import make_env
from dactyl_tl.envs import initial_states
from tests.synchronising import no_synchronisation


def acted(env, tensordict):
    tensordict["action"] = torch.randint(11, (*env.batch_size, 20), device=env.device)
    return tensordict


def some(env, tensordict):
    """Ask for a reset of every third simulation."""
    tensordict["_reset"] = (torch.arange(*env.batch_size, device=env.device) % 3 == 0)[:, None]
    return tensordict


@pytest.mark.parametrize("randomization", ["all", "none"])
@pytest.mark.parametrize("goals", ["uniform", "parallel", "within_angle"])
def test_a_control_step_and_a_reset_wait_for_nothing(warp_env, randomization, goals):
    env = warp_env(num_envs=6, randomization=randomization, goals={"kind": goals})
    now = acted(env, env.reset())
    env._step(now)  # captures the graph, as the first step does
    with no_synchronisation():
        env._step(now)
        env._reset(some(env, now))


@pytest.mark.gpu
def test_cuda_sees_no_synchronisation(warp_env):
    env = warp_env(num_envs=64, device="cuda")
    now = acted(env, env.reset())
    env._step(now)
    env._reset(some(env, now.clone()))
    torch.cuda.set_sync_debug_mode("error")
    try:
        env._step(now)
        env._reset(some(env, now))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_making_a_stock_of_initial_states_disturbs_no_running_episode(warp_env, monkeypatch):
    """Two environments, of which one makes a stock while episodes are running."""

    def run(counted_every):
        monkeypatch.setattr(initial_states, "COUNTED_EVERY", counted_every)
        env = warp_env(num_envs=9, initial_states={"steps": 2}, randomization="no_unmodeled")
        now = env.reset()
        torch.manual_seed(0)
        for _ in range(3):
            now = env._step(acted(env, now))
        env._initial_states._next_slot.fill_(1000)  # all used up
        env._reset(some(env, now))
        return env, env.physics.state()

    (one, undisturbed), (other, disturbed) = run(10**9), run(1)
    assert len(other._initial_states._pool) >= 9
    assert not torch.equal(other._initial_states._pool[:9], one._initial_states._pool[:9])
    running = torch.arange(9) % 3 != 0
    assert torch.equal(disturbed[running], undisturbed[running])
    assert not torch.equal(disturbed[~running], undisturbed[~running])
    for name in ("opt.timestep", "body_mass", "jnt_range"):
        assert torch.equal(one.physics.field(name)[running], other.physics.field(name)[running])


def test_a_stock_is_handed_out_in_turn_and_made_anew_once_it_is_used_up(warp_env, monkeypatch):
    monkeypatch.setattr(initial_states, "COUNTED_EVERY", 1)
    env = warp_env(num_envs=6, initial_states={"steps": 2, "fresh": 0.5}, randomization="none")
    stocks, seen = [], []
    for _ in range(7):
        seen.append(env._reset()["privileged", "object_position"].clone())
        stocks.append(env._initial_states._pool)
    pool = len(stocks[0])
    resets_of_a_stock = -(-2 * pool // 6)  # each is used twice
    assert all(torch.equal(stocks[0], stock) for stock in stocks[:resets_of_a_stock])
    assert not torch.equal(stocks[resets_of_a_stock][:6], stocks[0][:6])
    firsts = torch.cat(seen[: pool // 6]).unique(dim=0)
    assert len(firsts) == 6 * (pool // 6)  # no two alike


def test_a_hand_that_holds_nothing_is_given_up_only_between_episodes(warp_env):
    env = warp_env(num_envs=1, initial_states={"steps": 3})
    sample, sampled = env._sample_parameters, []

    def sample_then_pull_sideways(mask):
        sample(mask)
        if not sampled:
            env.physics.field("opt.gravity")[0] = torch.tensor([40.0, 0.0, -30.0])
        sampled.append(env.parameters["object_mass"].item())

    env._sample_parameters = env._initial_states._discard = sample_then_pull_sideways
    env.reset()
    assert len(sampled) == 2
    assert env.parameters["object_mass"].item() == sampled[1]


def test_it_continues_bit_for_bit_from_its_state(warp_env):
    def rollout(env, now):
        torch.manual_seed(1)
        for _ in range(3):
            now = env._step(acted(env, now))
        return env._reset(some(env, now))

    env, other = (warp_env(num_envs=6, seed=seed, initial_states={"steps": 2}) for seed in (0, 5))
    now = rollout(env, env.reset())
    other.load_state_dict(env.state_dict())
    expected, got = rollout(env, now.clone()), rollout(other, now.clone())
    assert all(torch.equal(expected[key], got[key]) for key in expected.keys(True, True) if key != "_reset")


def test_observations_of_one_step_survive_the_next(warp_env):
    """The engine's memory is what tensors of the environment are read from."""
    env = warp_env(num_envs=3)
    now = env._step(acted(env, env.reset()))
    before = now.clone()
    env._step(acted(env, now.clone()))
    assert all(torch.equal(now[key], before[key]) for key in before.keys(True, True))


def test_the_device_chooses_the_engine():
    assert type(make_env("block").physics).__name__ == "NativePhysics"


@pytest.mark.gpu
def test_a_gpu_chooses_the_gpu_engine():
    env = make_env("block", device="cuda", num_envs=2)
    assert type(env.physics).__name__ == "WarpPhysics"
    assert env.rollout(2)["next", "reward"].device.type == "cuda"
