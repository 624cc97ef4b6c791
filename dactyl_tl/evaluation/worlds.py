"""Worlds in which trials run: something that observes and acts.

The trial runner knows only :class:`dactyl_tl.protocol.World`; it cannot tell simulation from the hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from dactyl_tl.contract import CONTROL_PERIOD, PRIVILEGED, policy_keys
from dactyl_tl.envs import ReorientEnv, make_env
from dactyl_tl.protocol import Events, Limits

_GRACE = 2 * CONTROL_PERIOD
"""Seconds by which a simulated goal outlives the protocol's limit, so that the referee ends every trial
and rounding of the simulation's own clock never does."""


class SimulatedWorld:
    """Trials in a batched environment. Simulations whose trial has ended stay frozen.

    Args:
        env: Environment of batch size [N] whose own limits are wider than the protocol's; see
            :func:`simulated_world`, which builds one.
    """

    def __init__(self, env: ReorientEnv) -> None:
        self.env = env
        self._now: TensorDictBase | None = None

    @property
    def num_trials(self) -> int:
        """N, simulations in the environment."""
        return self.env.batch_size[0]

    def begin(self, seed: int) -> None:
        """Draw N new trials from ``seed``: initial states, randomizations, goals, noise."""
        self.env.set_seed(seed)
        self._now = self.env.reset()
        self._now["is_init"] = torch.ones(self.num_trials, 1, dtype=torch.bool, device=self.env.device)

    def observe(self) -> TensorDict:
        """The policy's inputs; see :class:`~dactyl_tl.protocol.World`."""
        return self._current().select(*policy_keys(), "is_init").clone()

    def qpos(self) -> Tensor:
        """State of every trial's simulation, (N, 31)."""
        return self.env.physics.qpos.float().cpu()

    def goals(self) -> Tensor:
        """Orientation to achieve in every trial, hand-base frame, (N, 4)."""
        return self._current()[PRIVILEGED, "target_orientation"]

    def act(self, action: Tensor) -> Events:
        """Step every simulation whose trial goes on; see :class:`~dactyl_tl.protocol.World`."""
        step = self._current().set("action", action.to(self.env.device))
        after = self.env.step(step)["next"]
        self.env.check()
        after["is_init"] = torch.zeros_like(step["is_init"])
        self._now = after
        return Events(
            achieved=after["achieved"].flatten(),
            dropped=after["dropped"].flatten(),
            diverged=after["diverged"].flatten(),
            stopped=after["done"].flatten(),
            seconds=after["elapsed"].flatten(),
        )

    def scene_state(self, trial: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What to draw of a trial: its ``qpos`` (31,) and the goal's orientation, wxyz in the world (4,).

        The hand-base frame is parallel to the world's, so the goal needs no change of frame.
        """
        goal = self._current()[PRIVILEGED, "target_orientation"][trial]
        return self.env.physics.qpos[trial].cpu().double().numpy().copy(), goal.cpu().double().numpy()

    def close(self) -> None:
        """Free the simulations."""
        self.env.close()

    def _current(self) -> TensorDictBase:
        if self._now is None:
            raise RuntimeError("no trial has begun: call begin(seed) before observe() or act()")
        return self._now


def simulated_world(
    task: str,
    *,
    num_trials: int,
    limits: Limits | None = None,
    goals: Mapping[str, Any] | None = None,
    **environment: Any,
) -> SimulatedWorld:
    """Build a simulated world whose trials follow the protocol.

    Args:
        task: Task of :func:`dactyl_tl.make_env`.
        num_trials: N, trials that run side by side.
        limits: The protocol's limits; section 6.2's by default.
        goals: Options of ``GoalConfig`` other than its limits, which follow ``limits``.
        environment: Further arguments of :func:`dactyl_tl.make_env` (randomization, device, ...).

    Raises:
        ValueError: If a value is not one of the valid choices, which the message names.
    """
    limits = limits or Limits()
    goals = {**(goals or {}), "timeout": limits.timeout + _GRACE, "maximum": limits.rotations}
    return SimulatedWorld(make_env(task, num_envs=num_trials, goals=goals, **environment))
