"""What an engine offers the environment: N simulations of one model, as torch tensors.

The environment is written against this protocol alone, so that what trains on CPU threads trains on
a GPU. Masks, not indices, choose simulations: a GPU engine need not synchronise to use them.
"""

from __future__ import annotations

from typing import Protocol

import mujoco
from torch import Tensor

RANDOMIZED_FIELDS = (
    "body_mass",
    "body_inertia",
    "geom_size",
    "geom_friction",
    "pair_friction",
    "dof_damping",
    "actuator_gainprm",
    "actuator_biasprm",
    "jnt_range",
    "opt.timestep",
    "opt.gravity",
)
"""Model fields that every engine must be able to hold per simulation (Table 1, timing)."""


class Physics(Protocol):
    """N simulations of ``model``. Tensors are (N, ...), of one float type, on one device.

    State (``qpos``, ``qvel``, ``ctrl``, ``xfrc_applied``) may be written in place between calls;
    derived quantities (``site_xpos``, ``site_xmat``, ``geom_xpos``, ``geom_xmat``, ``xpos``) are
    read-only and belong to the state after the last ``step`` or ``forward``. Matrices are (N, n, 9).
    """

    masked_steps_cost_all: bool
    """Whether a step of one simulation costs as much as a step of all."""
    model: mujoco.MjModel
    num_worlds: int
    qpos: Tensor
    qvel: Tensor
    ctrl: Tensor
    xfrc_applied: Tensor
    xpos: Tensor
    site_xpos: Tensor
    site_xmat: Tensor
    geom_xpos: Tensor
    geom_xmat: Tensor

    def field(self, name: str) -> Tensor:
        """The live (N, ...) values of a model field of :data:`RANDOMIZED_FIELDS`, to write in place."""

    def fields_changed(self, mask: Tensor) -> None:
        """Recompute the constants that follow from the fields, for the simulations in ``mask`` (N,) bool."""

    def step(self, mask: Tensor, steps: int) -> None:
        """Advance the simulations in ``mask`` by ``steps`` physics steps, then update what is derived.

        One that becomes unstable is put into the default state, as MuJoCo does.
        """

    def forward(self, mask: Tensor) -> None:
        """Update what is derived after a write to the state."""

    def reset(self, mask: Tensor) -> None:
        """Put the simulations in ``mask`` into the model's default state, warm start and warnings cleared."""

    def diverged(self) -> Tensor:
        """Which simulations have become unstable since their last reset: (N,) bool."""

    def check(self) -> None:
        """Look for contacts or constraints that were left out since the last call, for want of memory.

        Waits for a GPU: for once a rollout, not for every step of one.

        Raises:
            SimulationError: how many simulations lost how much, and what to raise.
        """

    def state(self) -> Tensor:
        """A copy of everything that decides the simulations' future but the fields: (N, size)."""

    def set_state(self, state: Tensor, mask: Tensor) -> None:
        """Write rows of :meth:`state` back to the simulations in ``mask`` and update what is derived."""

    def materialize(self, world: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Model and data of one simulation, to render or to pass to any ``mj_`` function."""
