"""The environment as Gymnasium sees it, so that any other library can train on it.

>>> import gymnasium, dactyl_tl
>>> env = gymnasium.make("dactyl_tl/Block-v0", randomization="none")
>>> envs = gymnasium.make_vec("dactyl_tl/Block-v0", num_envs=64)  # one native batch, no processes

Observations are one flat dictionary of float32 arrays, because few libraries take nested ones:
``policy_NAME`` are the noisy inputs of the policy and ``privileged_NAME`` the noiseless ones of the
value network, ``NAME`` as in Table 2. Actions are ``MultiDiscrete([11] * 20)``. Infos hold
``successes`` (goals achieved in this episode), ``goal_distance`` (rad), ``elapsed`` (s) and what
happened in the step: ``achieved``, ``dropped``, ``diverged``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from dactyl_tl.contract import (
    CONTROL_PERIOD,
    NUM_ACTUATORS,
    NUM_BINS,
    OBSERVATION_SIZES,
    policy_keys,
    privileged_keys,
)
from dactyl_tl.envs import make_env

if TYPE_CHECKING:
    from dactyl_tl.rendering.classic import HandRenderer

Observation = dict[str, np.ndarray]

INFOS = ("successes", "goal_distance", "elapsed", "achieved", "dropped", "diverged")
"""Entries of a step that become infos."""

RENDER_MODES = ("rgb_array",)
_KEYS = [*policy_keys(), *privileged_keys()]
_SEEDS = 2**31


def observation_space() -> spaces.Dict:
    """Observations of one simulation."""
    return spaces.Dict(
        {
            f"{group}_{name}": spaces.Box(-np.inf, np.inf, (OBSERVATION_SIZES[name],), np.float32)
            for group, name in _KEYS
        }
    )


def action_space() -> spaces.MultiDiscrete:
    """Actions of one simulation: a bin for each actuator, in the order of ``contract.ACTUATORS``."""
    return spaces.MultiDiscrete([NUM_BINS] * NUM_ACTUATORS)


class GymnasiumVectorEnv(gymnasium.vector.VectorEnv):
    """All simulations in one native batch, with Gymnasium's three ways of resetting finished ones.

    Args:
        num_envs: simulations, N.
        autoreset_mode: ``NextStep``: a finished simulation takes the next step to reset, whose action is
            ignored. ``SameStep``: it is reset at once, and its last observation and infos are in
            ``infos["final_obs"]`` and ``infos["final_info"]``. ``Disabled``: the caller resets it, with
            ``reset(options={"reset_mask": mask})``.
        render_mode: None or ``rgb_array``.
        width, height: of a rendered picture, pixels.
        **settings: of :func:`dactyl_tl.make_env`.

    Raises:
        ValueError: a setting has no such value; the message names the choices.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        width: int = 640,
        height: int = 480,
        **settings: Any,
    ) -> None:
        modes = [mode.value for mode in AutoresetMode]
        if not isinstance(autoreset_mode, AutoresetMode) and autoreset_mode not in modes:
            raise ValueError(f"Unknown autoreset_mode {autoreset_mode!r}; choose one of {', '.join(modes)}.")
        if render_mode is not None and render_mode not in RENDER_MODES:
            choices = ", ".join(RENDER_MODES)
            raise ValueError(f"Unknown render_mode {render_mode!r}; choose None or one of {choices}.")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": 1 / CONTROL_PERIOD,
            "autoreset_mode": self.autoreset_mode,
        }
        self.render_mode = render_mode
        self.num_envs = num_envs
        self.single_observation_space = observation_space()
        self.single_action_space = action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.native = make_env(num_envs=num_envs, **settings)
        self._seeded = False
        self._finished = np.zeros(num_envs, dtype=bool)
        self._look: dict[str, Any] = {"width": width, "height": height}
        self._look |= {name: settings[name] for name in ("task", "hand") if name in settings}
        self._renderer: HandRenderer | None = None
        self._entries: TensorDictBase | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes in all simulations, or in those of ``options["reset_mask"]``, bool (N,).

        Args:
            seed: one number for the whole batch; without one, a first reset takes a random one.
            options: ``reset_mask`` or nothing.

        Raises:
            ValueError: ``seed`` is a sequence, or the mask is not one.
        """
        if seed is not None and not isinstance(seed, (int, np.integer)):
            raise ValueError(f"The whole batch has one seed, an integer, not {seed!r}.")
        super().reset(seed=seed)
        if seed is not None or not self._seeded:
            self.native.set_seed(int(self.np_random.integers(_SEEDS)))
            self._seeded = True
        mask = np.ones(self.num_envs, dtype=bool)
        if options and "reset_mask" in options:
            mask = self._checked_mask(options["reset_mask"])
        entries = self._reset_native(mask, self._entries)
        return self._observations(entries), _infos(entries, mask)

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one control step in every simulation.

        Args:
            actions: (N, 20) integers in 0..10.

        Returns:
            Observations, rewards (N,) float64, terminations (N,), truncations (N,) and infos.

        Raises:
            ValueError: actions of another shape, or out of range.
            gymnasium.error.ResetNeeded: never reset, or autoreset is disabled and a simulation has finished.
        """
        if not self._seeded:
            raise gymnasium.error.ResetNeeded("Call reset() before the first step().")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._finished.any():
            raise gymnasium.error.ResetNeeded(
                f"Simulations {np.flatnonzero(self._finished).tolist()} have finished; with autoreset "
                "disabled, reset them with options={'reset_mask': mask}."
            )
        everything = np.ones(self.num_envs, dtype=bool)
        # Finished simulations stay as they are when stepped, so that NEXT_STEP need not single them out.
        entries = self._step_native(actions)
        rewards = _column(entries, "reward").astype(np.float64)
        terminated, truncated = _column(entries, "terminated"), _column(entries, "truncated")
        infos = {}
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            due = self._finished
            self._finished = (terminated | truncated) & ~due
            if due.any():
                entries = self._reset_native(due, entries)
                terminated, truncated = terminated & ~due, truncated & ~due
        elif self.autoreset_mode is AutoresetMode.SAME_STEP:
            finished = terminated | truncated
            if finished.any():
                infos = _final(entries, finished)
                entries = self._reset_native(finished, entries)
        else:
            self._finished = terminated | truncated
        infos |= _infos(entries, everything)
        return self._observations(entries), rewards, terminated, truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One RGB picture (height, width, 3) for each simulation, with the goal; None without a render mode.

        Raises:
            dactyl_tl.rendering.offscreen.RendererError: there is no working OpenGL.
        """
        if self.render_mode is None:
            return None
        if self._renderer is None:
            from dactyl_tl.rendering.classic import HandRenderer  # needs OpenGL

            self._renderer = HandRenderer(**self._look)
        if self._entries is None:
            raise gymnasium.error.ResetNeeded("Call reset() before render().")
        states = self.native.physics.qpos.numpy()
        # The hand-base frame is parallel to the world's, so the goal is the same in either.
        goals = self._entries["privileged", "target_orientation"].numpy()
        return tuple(self._renderer.render(qpos, goal) for qpos, goal in zip(states, goals, strict=True))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderer and the simulations."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        if not self.native.is_closed:
            self.native.close()

    def _observations(self, entries: TensorDictBase) -> Observation:
        self._entries = entries
        return {f"{group}_{name}": _copy(entries[group, name]) for group, name in _KEYS}

    def _step_native(self, actions: np.ndarray) -> TensorDictBase:
        actions = np.asarray(actions)
        if actions.shape != (self.num_envs, NUM_ACTUATORS) or not np.issubdtype(actions.dtype, np.integer):
            wanted = (self.num_envs, NUM_ACTUATORS)
            raise ValueError(f"actions must be integers {wanted}, not {actions.dtype} {actions.shape}.")
        if actions.min() < 0 or actions.max() >= NUM_BINS:
            raise ValueError(
                f"actions must lie in 0..{NUM_BINS - 1}, not in {actions.min()}..{actions.max()}."
            )
        bins = torch.from_numpy(actions.astype(np.int64))
        return self.native.step(TensorDict({"action": bins}, [self.num_envs]))["next"]

    def _reset_native(self, mask: np.ndarray, entries: TensorDictBase | None) -> TensorDictBase:
        self._finished = self._finished & ~mask
        if entries is None or mask.all():
            return self.native.reset()
        rows = torch.from_numpy(mask)[:, None]
        return self.native.reset(entries.clone().set("_reset", rows))

    def _checked_mask(self, mask: Any) -> np.ndarray:
        if not isinstance(mask, np.ndarray) or mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ValueError(f"reset_mask must be a boolean array of shape ({self.num_envs},), not {mask!r}.")
        if not mask.any():
            raise ValueError("reset_mask holds no simulation.")
        return mask


class GymnasiumEnv(gymnasium.Env):
    """One simulation. Arguments as of :class:`GymnasiumVectorEnv`, of which it is a batch of one."""

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 1 / CONTROL_PERIOD}  # noqa: RUF012

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        self._batch = GymnasiumVectorEnv(
            1, autoreset_mode=AutoresetMode.DISABLED, render_mode=render_mode, **settings
        )
        self.render_mode = render_mode
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start a new episode; ``options`` has no entries."""
        super().reset(seed=seed)
        first = not self._batch._seeded
        draw = int(self.np_random.integers(_SEEDS)) if seed is not None or first else None
        observations, infos = self._batch.reset(seed=draw)
        return _single(observations), _single_infos(infos)

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one control step: ``action`` is (20,) integers in 0..10."""
        observations, rewards, terminated, truncated, infos = self._batch.step(np.asarray(action)[None])
        return (
            _single(observations),
            float(rewards[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            _single_infos(infos),
        )

    def render(self) -> np.ndarray | None:
        """An RGB picture (height, width, 3) with the goal; None without a render mode."""
        pictures = self._batch.render()
        return None if pictures is None else pictures[0]

    def close(self) -> None:
        """Free the renderer and the simulation; closing twice is fine."""
        self._batch.close()


def _copy(values: Tensor) -> np.ndarray:
    return values.numpy().copy()


def _column(entries: TensorDictBase, name: str) -> np.ndarray:
    return _copy(entries[name][:, 0])


def _infos(entries: TensorDictBase, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Gymnasium's form: every value with, under its name after an underscore, which rows are meant."""
    infos = {}
    for name in INFOS:
        infos[name] = _column(entries, name)
        infos[f"_{name}"] = mask.copy()
    return infos


def _final(entries: TensorDictBase, finished: np.ndarray) -> dict[str, Any]:
    last = np.full(len(finished), None, dtype=object)
    for row in np.flatnonzero(finished):
        last[row] = {f"{group}_{name}": _copy(entries[group, name][row]) for group, name in _KEYS}
    return {
        "final_obs": last,
        "_final_obs": finished.copy(),
        "final_info": _infos(entries, finished),
        "_final_info": finished.copy(),
    }


def _single(observations: Observation) -> Observation:
    return {name: values[0] for name, values in observations.items()}


def _single_infos(infos: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: infos[name][0].item() for name in INFOS}
