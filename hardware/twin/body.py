"""The twin's body: one simulated hand in real time, and the operator who puts the object on it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from dactyl_tl.contract import NUM_ACTUATORS, NUM_JOINTS, PHYSICS_TIMESTEP
from dactyl_tl.envs import make_env
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.objects import OBJECT_BODY
from dactyl_tl.simulation.scene import build_scene
from hardware.twin.markers import marker_positions

STEP_NS = round(PHYSICS_TIMESTEP * 1e9)
"""Of the physics, ns; also the vendor's period of joint states (125 Hz)."""


class Body:
    """A hand with an object, in the simulation that policies are trained in, without randomizations.

    Between :meth:`place` and :meth:`release` the operator holds hand and object still.

    Args:
        task: key of :data:`dactyl_tl.simulation.scene.TASKS`.
        hand: parameters of the hand, one of :data:`dactyl_tl.simulation.hand.HANDS`.
        actions: departures from :class:`dactyl_tl.envs.ActionConfig`; trials begin after random actions.
        initial_states: departures from :class:`dactyl_tl.envs.InitialStateConfig`.
    """

    def __init__(
        self,
        task: str = "block",
        hand: str = "gymnasium_robotics",
        actions: Mapping[str, Any] = MappingProxyType({}),
        initial_states: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.model = build_scene(task, hand=hand).model
        self.data = mujoco.MjData(self.model)
        self._strongest = self.model.actuator_forcerange.copy()
        self._env = make_env(
            task, num_envs=1, randomization="none", hand=hand, actions=dict(actions),
            initial_states=dict(initial_states), num_threads=1,
        )  # fmt: skip
        self._held = True
        self.force = np.zeros(NUM_ACTUATORS)
        self.place(seed=0)

    def place(self, seed: int) -> None:
        """Put the object on the hand as trials begin in simulation; the same seed, the same state."""
        self._env.set_seed(seed)
        self._env.reset()
        physics = self._env.physics
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = physics.qpos[0].numpy()
        self.data.qvel[:] = physics.qvel[0].numpy()
        self._held = True
        mujoco.mj_forward(self.model, self.data)

    def release(self) -> None:
        """Take the operator's hands away."""
        self._held = False

    def step(self, targets: NDArray[np.float64]) -> None:
        """Advance by one step of physics, with the servos' targets, rad, and their present force."""
        if self._held:
            return
        self.model.actuator_forcerange[:] = self._strongest * self.force[:, None]
        self.data.ctrl[:] = targets
        mujoco.mj_step(self.model, self.data)

    @property
    def angles(self) -> NDArray[np.float64]:
        """Of the 24 joints, rad."""
        return self.data.qpos[:NUM_JOINTS]

    @property
    def velocities(self) -> NDArray[np.float64]:
        """Of the 24 joints, rad/s; zero while the operator holds the hand."""
        return np.zeros(NUM_JOINTS) if self._held else self.data.qvel[:NUM_JOINTS]

    def markers(self) -> dict[int, list[float]]:
        """Where the markers are: id -> (3,) m in the simulated world."""
        return {id_: at.tolist() for id_, at in marker_positions(self.data, OBJECT_BODY).items()}

    @property
    def object_position(self) -> list[float]:
        """(3,) m in the hand-base frame."""
        return (self.data.qpos[NUM_JOINTS : NUM_JOINTS + 3] - np.array(MOUNT_POSITION)).tolist()
