"""Other libraries' hand and block, each as one process that :mod:`benchmarks.process` measures.

``python -m benchmarks.peers NAME`` runs under the interpreter of ``benchmarks/peers.txt``; it imports
nothing of dactyl_tl.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.process import Count, serve

TASK = "HandManipulateBlockRotateXYZ-v1"
TIMESTEP = 0.002
FRAME_SKIP = 20
SETTLING = 10
"""Actions that gymnasium-robotics, and EnvPool after it, take in every reset before the first observation."""

ACTIONS = 20
IN_HAND = 0.1
"""Height in metres below which the block has left the palm (it starts 0.2 m up; the floor is at 0)."""


class Held:
    """Running share of simulations whose block is in the hand."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.seen = 0
        self.inside = 0

    def add(self, heights) -> float:
        """Count block heights (N,) in metres and return the share so far."""
        self.seen += len(heights)
        self.inside += int((heights > IN_HAND).sum())
        return self.inside / self.seen


def counter(envs, simulations: int, frame_skip: int) -> Callable[[], Count]:
    """One vector step with uniform actions per call, for any Gymnasium vector environment."""
    import numpy as np

    random = np.random.default_rng(0)
    held = Held()
    totals = {"delivered": 0, "executed": simulations * SETTLING * frame_skip}
    envs.reset()

    def advance() -> Count:
        actions = random.uniform(-1, 1, (simulations, ACTIONS)).astype(np.float32)
        observation, _, terminated, truncated, _ = envs.step(actions)
        steps = simulations * frame_skip
        totals["delivered"] += steps
        totals["executed"] += steps + int((terminated | truncated).sum()) * SETTLING * frame_skip
        return Count(totals["delivered"], totals["executed"], held.add(observation["achieved_goal"][:, 2]))

    return advance


def serve_envpool(simulations: int, timestep: float, frame_skip: int) -> None:
    """EnvPool on one thread; another time-step than its own is written into a copy of its model."""
    import envpool

    options = {"num_envs": simulations, "num_threads": 1, "seed": 0}
    facts = {"versions": {"envpool": version("envpool"), "mujoco": "3.6.0 (built in)"}, "timestep": timestep}
    if timestep == TIMESTEP:
        serve(counter(envpool.make_gymnasium(TASK, **options), simulations, frame_skip), facts)
        return
    with TemporaryDirectory() as folder:
        assets = Path("mujoco/robotics/assets")
        shutil.copytree(Path(envpool.make_spec(TASK).config.base_path) / assets, Path(folder) / assets)
        model = Path(folder) / assets / "hand/manipulate_block.xml"
        original = model.read_text(encoding="utf-8")
        changed = original.replace(f'timestep="{TIMESTEP}"', f'timestep="{timestep}"')
        if changed == original:
            raise ValueError(f"{model.name} has no timestep of {TIMESTEP} s to replace by {timestep} s")
        model.write_text(changed, encoding="utf-8")
        envs = envpool.make_gymnasium(TASK, base_path=folder, frame_skip=frame_skip, **options)
        serve(counter(envs, simulations, frame_skip), facts)


def make_robotics_env():
    """One simulation of gymnasium-robotics, as its users make it."""
    import gymnasium
    import gymnasium_robotics

    gymnasium.register_envs(gymnasium_robotics)
    return gymnasium.make(TASK)


def serve_async(simulations: int) -> None:
    """Gymnasium's AsyncVectorEnv: one process for each simulation."""
    import gymnasium

    envs = gymnasium.vector.AsyncVectorEnv([make_robotics_env] * simulations)
    facts = {
        "versions": {name: version(name) for name in ("gymnasium", "gymnasium-robotics", "mujoco")},
        "timestep": TIMESTEP,
    }
    serve(counter(envs, simulations, FRAME_SKIP), facts)
    envs.close()


def main() -> None:
    """Serve the named peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("envpool", "async"))
    parser.add_argument("--simulations", type=int, default=os.cpu_count())
    parser.add_argument("--timestep", type=float, default=TIMESTEP)
    parser.add_argument("--frame-skip", type=int, default=FRAME_SKIP)
    arguments = parser.parse_args()
    if arguments.name == "envpool":
        serve_envpool(arguments.simulations, arguments.timestep, arguments.frame_skip)
    else:
        serve_async(arguments.simulations)


if __name__ == "__main__":
    main()
