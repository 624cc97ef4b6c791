"""The project's own hand and block, each layer as one process that :mod:`benchmarks.process` measures."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch

from benchmarks.process import Count, serve
from dactyl_tl.collection import SOURCES, CollectionPlan
from dactyl_tl.contract import (
    DROP_DEPTH,
    NUM_ACTUATORS,
    NUM_BINS,
    NUM_JOINTS,
    PHYSICS_STEPS,
    PHYSICS_TIMESTEP,
)
from dactyl_tl.envs import ActionConfig, ReorientEnv, make_env
from dactyl_tl.models import NetworkConfig, build_actor

ROLLOUT = 20
"""Control steps of a collected rollout, in chunks of 10 (App. D.1)."""

CHUNK = 10

AS_PEERS = ActionConfig(relative=False)
"""Actions as gymnasium-robotics and EnvPool take them: targets anywhere in the control range."""


def advance_raw(simulations: int) -> Callable[[], Count]:
    """``mujoco.batch.Batch`` alone, on the task's model, moved as the task moves it.

    Random bins, smoothed, relative to the present joint angles; a simulation that dropped its block goes on
    from one of the task's initial states. So contacts, and with them the cost of a step, are those of the
    task, while nothing is sampled, observed or rewarded.
    """
    env = make_env("block", num_envs=simulations, randomization="none", seed=0)
    env.reset()
    starts = env.physics.state().numpy()
    scene, smoothing = env.scene, ActionConfig().smoothing
    env.close()

    random = np.random.default_rng(0)
    batch = Batch(scene.model, simulations, 1, persistent=True)
    stage = mujoco.mjtStage.mjSTAGE_VEL
    qpos, ctrl = batch.bind("qpos"), batch.bind("ctrl")
    palm_height = batch.bind("xpos")[:, scene.palm_body, 2]
    low, high = scene.model.actuator_ctrlrange.T
    smoothed = np.zeros((simulations, NUM_ACTUATORS))
    batch.state[:] = starts
    batch.forward(stage=stage)
    steps = seen = held = 0

    def advance() -> Count:
        nonlocal smoothed, steps, seen, held
        bins = random.integers(NUM_BINS, size=(simulations, NUM_ACTUATORS))
        smoothed = smoothing * smoothed + (1 - smoothing) * (bins * (2 / (NUM_BINS - 1)) - 1)
        present = qpos[:, :NUM_JOINTS] @ scene.driven.T
        ctrl[:] = np.clip(present + smoothed * (high - low) / 2, low, high)
        batch.step(nstep=PHYSICS_STEPS, stage=stage)
        dropped = qpos[:, NUM_JOINTS + 2] < palm_height - DROP_DEPTH
        if dropped.any():
            rows = np.flatnonzero(dropped)
            batch.state[rows] = starts[random.integers(len(starts), size=len(rows))]
            batch.forward(rows, stage=stage)
        steps += simulations * PHYSICS_STEPS
        seen, held = seen + simulations, held + int((~dropped).sum())
        return Count(steps, steps, held / seen)

    return advance


def counted_env(
    counter: Path, simulations: int, fresh: float, actions: ActionConfig, worker: int = 0
) -> ReorientEnv:
    """The environment with all randomizations, whose executed physics steps are counted in a file."""
    env = make_env(
        "block",
        num_envs=simulations,
        randomization="all",
        seed=worker,
        initial_states={"fresh": fresh},
        actions=actions,
    )
    executed = np.memmap(counter.with_suffix(f".{worker}"), np.int64, "w+", shape=(1,))
    step = env.physics.step

    def counted(mask: torch.Tensor, steps: int) -> None:
        executed[0] += int(mask.sum()) * steps
        step(mask, steps)

    env.physics.step = counted  # type: ignore[method-assign]
    return env


def executed_steps(counter: Path) -> int:
    """Sum of what every :func:`counted_env` of ``counter`` has executed."""
    files = counter.parent.glob(f"{counter.name}.*")
    return sum(int(np.fromfile(file, np.int64)[0]) for file in files)


def advance_environment(
    counter: Path, simulations: int, fresh: float, actions: ActionConfig
) -> Callable[[], Count]:
    """The environment under random actions, with automatic resets, without a policy."""
    env = counted_env(counter, simulations, fresh, actions)
    entries = env.reset()
    delivered = seen = held = 0

    def advance() -> Count:
        nonlocal entries, delivered, seen, held
        action = torch.randint(NUM_BINS, (simulations, NUM_ACTUATORS))
        with torch.no_grad():
            step, entries = env.step_and_maybe_reset(entries.set("action", action))
        delivered += simulations * PHYSICS_STEPS
        seen, held = seen + simulations, held + int((~step["next", "dropped"]).sum())
        return Count(delivered, executed_steps(counter), held / seen)

    return advance


def advance_collector(
    counter: Path, simulations: int, fresh: float, kind: str, workers: int
) -> Callable[[], Count]:
    """Rollouts of the project's collectors, acted by the LSTM policy of Table 10, never trained."""
    network = NetworkConfig()
    plan = CollectionPlan(
        make_env=partial(counted_env, counter, simulations, fresh, ActionConfig()),
        make_policy=partial(build_actor, network),
        workers=workers,
        steps=ROLLOUT,
        chunk=CHUNK,
        seed=0,
    )
    source = SOURCES[kind](plan, build_actor(network))  # type: ignore[call-arg]
    delivered = 0

    def advance() -> Count:
        nonlocal delivered
        rollout = source.collect()
        delivered += simulations * workers * ROLLOUT * PHYSICS_STEPS
        held = 1 - rollout["steps", "next", "dropped"].float().mean().item()
        return Count(delivered, executed_steps(counter), held)

    return advance


def main() -> None:
    """Serve the named layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("raw", "environment", "inprocess", "multiprocess"))
    parser.add_argument("--simulations", type=int, required=True, help="of each worker")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--fresh", type=float, default=1.0, help="share of episodes with a start of their own"
    )
    parser.add_argument("--as-peers", action="store_true", help="move the environment as peers move theirs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = {
        "versions": {name: version(name) for name in ("mujoco", "torch", "torchrl", "tensordict")},
        "timestep": PHYSICS_TIMESTEP,
    }
    with TemporaryDirectory() as folder:
        counter, n = Path(folder) / "executed", arguments.simulations
        if arguments.name == "raw":
            advance = advance_raw(n)
        elif arguments.name == "environment":
            actions = AS_PEERS if arguments.as_peers else ActionConfig()
            advance = advance_environment(counter, n, arguments.fresh, actions)
        else:
            advance = advance_collector(counter, n, arguments.fresh, arguments.name, arguments.workers)
        serve(advance, facts)


if __name__ == "__main__":
    main()
