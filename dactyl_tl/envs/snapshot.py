"""Bit-exact state of an environment, as a flat dictionary of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dactyl_tl.simulation.physics import RANDOMIZED_FIELDS

if TYPE_CHECKING:
    from dactyl_tl.envs.reorient import ReorientEnv


def _memories(env: ReorientEnv) -> dict[str, dict]:
    return {
        "parameters": env._parameters,
        "episode": env._episode,
        "output": env._output,
        "sensing": env._sensing.memory,
    }


def snapshot(env: ReorientEnv) -> dict[str, Tensor]:
    """Copies of every tensor that decides the future of ``env``: name -> tensor."""
    state = {
        "physics.state": env.physics.state(),
        "generator.episode": env._episode_generator.get_state(),
        "generator.step": env._step_generator.get_state(),
        "goal_angle": torch.tensor(env.goal_angle, dtype=torch.float64),
        "randomization_scale": torch.tensor(env.randomization_scale, dtype=torch.float64),
        "divergences": env._divergences.clone(),
    }
    state |= {f"initial_states.{name}": value for name, value in env._initial_states.state_dict().items()}
    state |= {f"field.{name}": env.physics.field(name).clone() for name in RANDOMIZED_FIELDS}
    for name, memory in _memories(env).items():
        state |= {_name(name, key): value.clone() for key, value in memory.items()}
    return state


def restore(env: ReorientEnv, state: Mapping[str, Tensor]) -> None:
    """Put ``env`` into the state that :func:`snapshot` took.

    Raises:
        ValueError: names or sizes differ from those of ``env``.
    """
    expected = snapshot(env)
    if missing := sorted(expected.keys() ^ state.keys()):
        raise ValueError(f"The environment's state does not fit: only one has {', '.join(missing)}.")
    for name, tensor in expected.items():
        if name != "initial_states.pool" and state[name].shape != tensor.shape:
            raise ValueError(
                f"The environment's state does not fit: {name} is {tuple(state[name].shape)}, "
                f"here {tuple(tensor.shape)} (another task or number of simulations?)."
            )
    everything = torch.ones(env.batch_size, dtype=torch.bool, device=env.device)
    for name in RANDOMIZED_FIELDS:
        env.physics.field(name).copy_(state[f"field.{name}"])
    env.physics.fields_changed(everything)
    env.physics.reset(everything)
    env.physics.set_state(state["physics.state"].to(env.device), everything)
    for name, memory in _memories(env).items():
        for key in memory:
            memory[key] = state[_name(name, key)].to(env.device, copy=True)
    prefix = "initial_states."
    env._initial_states.load_state_dict(
        {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    )
    env._episode_generator.set_state(state["generator.episode"])
    env._step_generator.set_state(state["generator.step"])
    env.goal_angle = float(state["goal_angle"])
    env.randomization_scale = float(state["randomization_scale"])
    env._divergences.copy_(state["divergences"])


def _name(memory: str, key: str | tuple[str, ...]) -> str:
    return ".".join((memory, key) if isinstance(key, str) else (memory, *key))
