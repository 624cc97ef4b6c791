"""The CPU engine: ``mujoco.batch.Batch``, many simulations on a native thread pool."""

from __future__ import annotations

import warnings

import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

from dactyl_tl.errors import SimulationError
from dactyl_tl.simulation.physics import RANDOMIZED_FIELDS

UNSTABLE = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
    mujoco.mjtWarning.mjWARN_BADCTRL,
    mujoco.mjtWarning.mjWARN_INERTIA,
)
"""Warnings after which MuJoCo has reset or may have corrupted a simulation."""

FULL = (mujoco.mjtWarning.mjWARN_CONTACTFULL, mujoco.mjtWarning.mjWARN_CNSTRFULL)
"""Warnings that contacts or constraints were left out."""


class NativePhysics:
    """:class:`~dactyl_tl.simulation.physics.Physics` on CPU threads, in float64.

    Results do not depend on ``num_threads`` (0: all processors).
    """

    masked_steps_cost_all = False

    def __init__(self, model: mujoco.MjModel, num_worlds: int, num_threads: int = 1) -> None:
        self.model = model
        self.num_worlds = num_worlds
        # Persistent: a step continues from the stages that the previous call computed at its end, so
        # that current derived quantities cost nothing.
        self._batch = Batch(model, num_worlds, num_threads, persistent=True)
        self.qpos, self.qvel, self.ctrl, self.xfrc_applied = map(
            self._bind, ("qpos", "qvel", "ctrl", "xfrc_applied")
        )
        self.xpos, self.site_xpos, self.site_xmat, self.geom_xpos, self.geom_xmat = map(
            self._bind, ("xpos", "site_xpos", "site_xmat", "geom_xpos", "geom_xmat")
        )
        self._fields = {name: torch.from_numpy(self._batch.expand(name)) for name in RANDOMIZED_FIELDS}
        self._warnings_at_reset = np.zeros((num_worlds, len(UNSTABLE)), dtype=np.int64)
        self._full_at_check = np.zeros((num_worlds, len(FULL)), dtype=np.int64)
        self._batch.reset()

    def field(self, name: str) -> Tensor:
        return self._fields[name]

    def fields_changed(self, mask: Tensor) -> None:
        self._batch.set_const(_ids(mask))

    def step(self, mask: Tensor, steps: int) -> None:
        ids = _ids(mask)
        if ids is None or ids.size:
            self._batch.step(ids, nstep=steps, stage=mujoco.mjtStage.mjSTAGE_VEL)

    def forward(self, mask: Tensor) -> None:
        self._batch.forward(_ids(mask), stage=mujoco.mjtStage.mjSTAGE_VEL)

    def reset(self, mask: Tensor) -> None:
        rows = mask.numpy()
        self._batch.reset(_ids(mask), stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._warnings_at_reset[rows] = self._warnings(UNSTABLE)[rows]

    def diverged(self) -> Tensor:
        warned = torch.from_numpy((self._warnings(UNSTABLE) > self._warnings_at_reset).any(axis=1))
        # MuJoCo looks at a state when it begins the next step.
        return warned | ~(self.qpos.isfinite().all(dim=1) & self.qvel.isfinite().all(dim=1))

    def check(self) -> None:
        counts = self._warnings(FULL)
        affected = int((counts > self._full_at_check).any(axis=1).sum())
        self._full_at_check = counts
        if affected:
            raise SimulationError(
                f"In {affected} of {self.num_worlds} simulations, contacts or constraints did not fit "
                f"MuJoCo's memory (model.narena = {self.model.narena} bytes) and were left out."
            )

    def state(self) -> Tensor:
        return torch.from_numpy(self._batch.state.copy())

    def set_state(self, state: Tensor, mask: Tensor) -> None:
        rows = mask.numpy()
        self._batch.state[rows] = state.numpy()[rows]
        self.forward(mask)

    def materialize(self, world: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        return self._batch.get_model(world), self._batch.get_data(world)

    def _bind(self, name: str) -> Tensor:
        with warnings.catch_warnings():  # derived quantities are read-only, and nobody writes them
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(self._batch.bind(name))

    def _warnings(self, kinds: tuple[mujoco.mjtWarning, ...]) -> np.ndarray:
        last_info_and_count = self._batch.warning[:, [int(w) for w in kinds]]
        return last_info_and_count[..., 1]


def _ids(mask: Tensor) -> np.ndarray | None:
    """Indices of ``mask``, or None where it holds all simulations (the batch's faster path)."""
    return None if bool(mask.all()) else np.flatnonzero(mask.numpy())
