"""From an action to joint targets (App. C.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from dactyl_tl.contract import NUM_BINS, NUM_JOINTS
from dactyl_tl.envs.config import ActionConfig
from dactyl_tl.simulation.physics import Physics
from dactyl_tl.simulation.scene import Scene


def decode(bins: Tensor) -> Tensor:
    """Bins (n, 20) int64 in 0..10 to actions equally spaced over [-1, 1], float32."""
    return bins.float() * (2.0 / (NUM_BINS - 1)) - 1.0


class Actuators:
    """Turns smoothed actions into the engine's controls: the target of each position servo."""

    def __init__(self, scene: Scene, physics: Physics, config: ActionConfig) -> None:
        self._physics = physics
        self._config = config
        self._driven = torch.from_numpy(scene.driven.T).to(physics.ctrl)
        self._low, self._high = torch.from_numpy(scene.model.actuator_ctrlrange.T).to(physics.ctrl)
        self._half_range = 0.5 * (self._high - self._low)
        self._centre = 0.5 * (self._high + self._low)

    def smooth(self, action: Tensor, previous: Tensor) -> Tensor:
        """Exponential moving average of actions (n, 20)."""
        return self._config.smoothing * previous + (1.0 - self._config.smoothing) * action

    def targets(self, action: Tensor) -> Tensor:
        """Targets (n, 20) rad, clipped to the control range, for actions (n, 20) given now.

        A relative action is added to the angle measured now; the target then stays for the whole
        control step. For a coupled pair the angle is the sum of both joints'.
        """
        start = self._physics.qpos[:, :NUM_JOINTS] @ self._driven if self._config.relative else self._centre
        return (start + action * self._half_range).clamp(self._low, self._high)
