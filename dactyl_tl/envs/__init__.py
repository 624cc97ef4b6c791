"""The task as a batched TorchRL environment: :func:`make_env`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dactyl_tl.envs.config import (
    ActionConfig,
    EnvConfig,
    GoalConfig,
    InitialStateConfig,
    RewardConfig,
    resolve,
)
from dactyl_tl.envs.reorient import ReorientEnv
from dactyl_tl.randomization import Randomization, resolve_randomization
from dactyl_tl.simulation.engines import make_physics
from dactyl_tl.simulation.scene import build_scene

__all__ = ["ActionConfig", "GoalConfig", "InitialStateConfig", "ReorientEnv", "RewardConfig", "make_env"]


def make_env(
    task: str = "block",
    *,
    num_envs: int = 1,
    randomization: str | Mapping[str, float] | Randomization = "all",
    device: str = "cpu",
    seed: int = 0,
    engine: str = "auto",
    num_threads: int = 1,
    max_contacts: int | None = None,
    max_constraints: int | None = None,
    hand: str = "gymnasium_robotics",
    goals: Mapping[str, Any] | GoalConfig | None = None,
    reward: Mapping[str, Any] | RewardConfig | None = None,
    actions: Mapping[str, Any] | ActionConfig | None = None,
    initial_states: Mapping[str, Any] | InitialStateConfig | None = None,
) -> ReorientEnv:
    """Build the environment.

    Args:
        task: ``block``, ``prism`` or ``block_locked_wrist``.
        num_envs: simulations in the batch, N.
        randomization: ``all``, ``none``, ``no_observation_noise``, ``no_physics`` or ``no_unmodeled``
            (Table 4), or a share in [0, 1] for each group.
        device: of the simulations and all tensors, ``cpu`` or ``cuda``.
        seed: the same seed gives the same trajectories, at any number of threads.
        engine: ``native``, MuJoCo on CPU threads; ``warp``, MuJoCo Warp on a GPU; ``auto``: which suits
            ``device``.
        num_threads: of the native engine; 0 for all processors.
        max_contacts, max_constraints: what the warp engine makes memory for, a simulation; None for
            what every task was seen to need, with room.
        hand: parameter set, ``gymnasium_robotics`` or ``calibrated``.
        goals, reward, actions, initial_states: settings, see :mod:`dactyl_tl.envs.config`.

    Returns:
        A TorchRL environment of batch size [N] with partial resets.

    Raises:
        ValueError: a setting has no such value; the message names the choices.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, not {num_envs!r}.")
    settings = EnvConfig(
        randomization=resolve_randomization(randomization),
        goals=resolve(GoalConfig, goals, "goals"),
        reward=resolve(RewardConfig, reward, "reward"),
        actions=resolve(ActionConfig, actions, "actions"),
        initial_states=resolve(InitialStateConfig, initial_states, "initial_states"),
    )
    scene = build_scene(task, hand=hand)
    physics = make_physics(
        engine,
        scene.model,
        num_envs,
        device=device,
        num_threads=num_threads,
        max_contacts=max_contacts,
        max_constraints=max_constraints,
    )
    return ReorientEnv(scene, physics, settings, seed=seed)
