"""How far the engines' trajectories part, beside how far MuJoCo's part from itself.

    python -m benchmarks.agreement [--tasks block prism] [--simulations 64] [--device cpu]

Three environments with all randomizations begin in the same state and take the same random actions: MuJoCo,
MuJoCo Warp, and MuJoCo once more with its positions changed in the seventh digit. The table has the largest
difference of a joint angle from the first, of the median simulation and of one in ten, among those that none
of the three has dropped yet.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from benchmarks.report import environment, heading, table
from dactyl_tl.contract import NUM_ACTUATORS, NUM_BINS, NUM_JOINTS
from dactyl_tl.envs import ReorientEnv, make_env
from dactyl_tl.envs.snapshot import _memories
from dactyl_tl.simulation.physics import RANDOMIZED_FIELDS

STEPS = (1, 5, 10, 20, 50)
SEVENTH_DIGIT = 6e-8
COLUMNS = ("task, against MuJoCo", *(f"after {step}" for step in STEPS))


def copy_state(source: ReorientEnv, target: ReorientEnv, noise: float = 0.0) -> None:
    """Put ``target`` into the state of ``source``, positions changed by ``noise``; clear both warm starts."""
    for name in RANDOMIZED_FIELDS:
        target.physics.field(name).copy_(source.physics.field(name))
    state = {name: getattr(source.physics, name).clone() for name in ("qpos", "qvel", "ctrl", "xfrc_applied")}
    target.physics.fields_changed(_everyone(target))
    for env in (target, source):
        env.physics.reset(_everyone(env))
        for name, value in state.items():
            getattr(env.physics, name).copy_(value)
    target.physics.qpos.add_(noise * torch.randn_like(target.physics.qpos))
    for env in (target, source):
        env.physics.forward(_everyone(env))
    for theirs, ours in zip(_memories(target).values(), _memories(source).values(), strict=True):
        for key, value in ours.items():
            theirs[key] = value.to(target.device, copy=True)
    if source.device == target.device:
        target._step_generator.set_state(source._step_generator.get_state())
        target._episode_generator.set_state(source._episode_generator.get_state())


def apart(one: ReorientEnv, other: ReorientEnv, running: Tensor) -> Tensor:
    """Largest difference of a joint angle in each simulation of ``running`` (N,) bool, rad."""
    difference = (one.physics.qpos.cpu() - other.physics.qpos.cpu()).abs()
    return difference[running, :NUM_JOINTS].amax(1)


def compare(task: str, simulations: int, device: str) -> list[list[str]]:
    """Rows of the table: MuJoCo Warp, and MuJoCo from a state that differs in the seventh digit."""
    initial: dict[str, Any] = {"num_envs": simulations, "initial_states": {"steps": 5, "fresh": 0.5}}
    native, again = (make_env(task, seed=seed, **initial) for seed in (0, 1))
    warp = make_env(task, seed=2, engine="warp", device=device, **initial)
    for env in (native, again, warp):
        env.reset()
    copy_state(native, again, SEVENTH_DIGIT)
    copy_state(native, warp)
    running = torch.ones(simulations, dtype=torch.bool)
    rows = [[f"{task}, {name}"] for name in ("MuJoCo Warp", "MuJoCo, seventh digit changed")]
    for step in range(1, max(STEPS) + 1):
        action = torch.randint(NUM_BINS, (simulations, NUM_ACTUATORS))
        for env in (native, again, warp):
            done = env._step(TensorDict({"action": action.to(env.device)}, [simulations]))["done"]
            running &= ~done[:, 0].cpu()
        if step in STEPS:
            for row, env in zip(rows, (warp, again), strict=True):
                row.append(_cell(apart(native, env, running)))
    warp.check()
    return rows


def _cell(differences: Tensor) -> str:
    if not len(differences):
        return "all dropped"
    middle, tenth = differences.quantile(torch.tensor([0.5, 0.9]).to(differences))
    return f"{middle:.0e}, {tenth:.0e}"


def _everyone(env: ReorientEnv) -> Tensor:
    return torch.ones(env.batch_size, dtype=torch.bool, device=env.device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.agreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", default=["block", "prism"])
    parser.add_argument("--simulations", type=int, default=64)
    parser.add_argument("--device", default="cpu", help="of MuJoCo Warp")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    print(heading(environment(("mujoco", "mujoco-warp", "warp-lang", "torch"))))
    print("\nLargest difference of a joint angle, rad: median simulation, one in ten\n")
    rows = [row for task in options.tasks for row in compare(task, options.simulations, options.device)]
    print(table(COLUMNS, rows))


if __name__ == "__main__":
    main()
