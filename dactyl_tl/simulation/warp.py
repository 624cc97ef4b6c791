"""The GPU engine: MuJoCo Warp, thousands of simulations in the same kernels.

A control step is one CUDA graph and a few torch operations: nothing is copied to the host, and the host
waits for nothing. On Warp's CPU device the same code runs slowly, for tests.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mujoco
import mujoco_warp as mjw
import torch
import warp as wp
from torch import Tensor

from dactyl_tl.errors import SimulationError
from dactyl_tl.simulation.constants import DERIVED, MassConstants
from dactyl_tl.simulation.physics import RANDOMIZED_FIELDS

wp.config.log_level = wp.LOG_WARNING  # not a line for each of a hundred kernels

MAX_CONTACTS = 64
"""Contacts of a simulation that memory is made for, on average over all: the block has 4 in the median and
up to 26, the prism 6 and up to 38."""

MAX_CONSTRAINTS = 384
"""Constraint rows of any one simulation that memory is made for: up to 154 were seen with the block, 234 with
the prism in a fist."""

DIVERGED = 1e10
"""A position or velocity beyond this is a simulation that diverged, as in MuJoCo (``mjMAXVAL``)."""

_STATE = ("qpos", "qvel", "ctrl", "xfrc_applied", "qacc_warmstart")

_FULL = mjw.OverflowType.ALL & ~(mjw.OverflowType.ITERATIONS | mjw.OverflowType.LS_ITERATIONS)
"""What loses contacts or constraints. A solver that stops at its iteration limit is no such thing, here as
in MuJoCo."""


class WarpPhysics:
    """:class:`~dactyl_tl.simulation.physics.Physics` with MuJoCo Warp, in float32.

    Every simulation is computed at every step; those outside a mask are put back. Results depend on
    the order of atomic additions, so on a GPU they repeat to rounding only.

    Args:
        model: what to simulate.
        num_worlds: number of simulations.
        device: torch device of all tensors.
        max_contacts: contacts that memory is made for, a simulation, on average over all.
        max_constraints: constraint rows that memory is made for, in every simulation.

    Raises:
        SimulationError: the device has too little memory.
    """

    masked_steps_cost_all = True

    def __init__(
        self,
        model: mujoco.MjModel,
        num_worlds: int,
        device: str | torch.device = "cuda",
        *,
        max_contacts: int = MAX_CONTACTS,
        max_constraints: int = MAX_CONSTRAINTS,
    ) -> None:
        self.model = model
        self.num_worlds = num_worlds
        self._capacity = {"max_contacts": max_contacts, "max_constraints": max_constraints}
        device = torch.empty(0, device=device).device  # with its index
        self._constants = MassConstants(model, device)
        in_model = [name for name in RANDOMIZED_FIELDS if not name.startswith("opt.")]
        wp.init()
        self._device = wp.device_from_torch(device)
        with wp.ScopedDevice(self._device), _explained_shortage(device, num_worlds, max_constraints):
            self._model = mjw.put_model(_like_native(model), dict.fromkeys((*in_model, *DERIVED), num_worlds))
            options = self._model.opt
            options.timestep = wp.full(num_worlds, model.opt.timestep, dtype=float)
            options.gravity = wp.full(num_worlds, wp.vec3(*model.opt.gravity), dtype=wp.vec3)
            options.warn_overflow = 0  # it would print; check() raises
            options.graph_conditional = self._device.is_cpu or wp.is_conditional_graph_supported()
            self._data = mjw.make_data(
                model,
                num_worlds,
                nconmax=max_contacts,
                # For the general convex algorithm, 5 KB each: the object against the forearm's mesh alone.
                nccdmax=max(1, max_contacts // 8),
                njmax=max_constraints,
            )
        self._fields = {
            name: wp.to_torch(getattr(*_place(self._model, name))) for name in (*RANDOMIZED_FIELDS, *DERIVED)
        }
        self._state = {name: wp.to_torch(getattr(self._data, name)) for name in _STATE}
        self.qpos, self.qvel, self.ctrl, self.xfrc_applied = (self._state[name] for name in _STATE[:4])
        self._qpos0 = torch.from_numpy(model.qpos0).to(self.qpos)
        self.xpos = wp.to_torch(self._data.xpos)
        self.site_xpos = wp.to_torch(self._data.site_xpos)
        self.site_xmat = wp.to_torch(self._data.site_xmat).flatten(-2)
        self.geom_xpos = wp.to_torch(self._data.geom_xpos)
        self.geom_xmat = wp.to_torch(self._data.geom_xmat).flatten(-2)
        self._graphs: dict[str | int, wp.Graph] = {}
        self._streams: dict[int, wp.Stream] = {}
        everything = torch.ones(num_worlds, dtype=torch.bool, device=self.qpos.device)
        self._diverged = torch.zeros_like(everything)
        self._load_kernels()
        self.reset(everything)
        self.fields_changed(everything)

    def field(self, name: str) -> Tensor:
        return self._fields[name]

    def fields_changed(self, mask: Tensor) -> None:
        constants = self._constants(self._fields["body_mass"], self._fields["body_inertia"])
        for name, value in constants.items():
            self._fields[name].copy_(value)

    def step(self, mask: Tensor, steps: int) -> None:
        before = {name: self._state[name].clone() for name in ("qpos", "qvel", "qacc_warmstart")}

        def advance() -> None:
            for _ in range(steps):
                mjw.step1(self._model, self._data)
                mjw.step2(self._model, self._data)

        self._run(steps, advance)
        for name, value in before.items():
            _assign(self._state[name], value, ~mask)
        # The negation catches what is not a number.
        stable = (self.qpos.abs() < DIVERGED).all(dim=1) & (self.qvel.abs() < DIVERGED).all(dim=1)
        unstable = mask & ~stable
        self._put_back(unstable)
        self._diverged |= unstable
        self.forward(mask)

    def forward(self, mask: Tensor) -> None:
        self._run("kinematics", lambda: mjw.kinematics(self._model, self._data))

    def reset(self, mask: Tensor) -> None:
        self._put_back(mask)
        self._diverged &= ~mask

    def _put_back(self, mask: Tensor) -> None:
        _assign(self.qpos, self._qpos0, mask)
        for name in _STATE[1:]:
            value = self._state[name]
            value.masked_fill_(_rows(mask, value), 0.0)

    def diverged(self) -> Tensor:
        return self._diverged.clone()

    def check(self) -> None:
        flags = wp.to_torch(self._data.overflow)
        if not (flags & int(_FULL)).any():
            return
        counts = {flag: int((flags & int(flag) != 0).sum()) for flag in mjw.OverflowType if flag & _FULL}
        flags.zero_()
        full = [f"{flag.name} in {count}" for flag, count in counts.items() if count]
        raise SimulationError(
            f"Of {self.num_worlds} simulations, contacts or constraints did not fit and were left out "
            f"({', '.join(full)}). Raise max_constraints (now {self._capacity['max_constraints']}) for NEFC, "
            f"max_contacts (now {self._capacity['max_contacts']}) for the others."
        )

    def state(self) -> Tensor:
        return torch.cat([value.flatten(1) for value in self._state.values()], dim=1)

    def set_state(self, state: Tensor, mask: Tensor) -> None:
        sizes = [value[0].numel() for value in self._state.values()]
        for old, new in zip(self._state.values(), state.split(sizes, dim=1), strict=True):
            _assign(old, new.view_as(old), mask)
        self.forward(mask)

    def materialize(self, world: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = copy.copy(self.model)
        for name, value in self._fields.items():
            owner, attribute = _place(model, name)
            row = value[world].cpu().numpy()
            if row.ndim:
                getattr(owner, attribute)[:] = row
            else:
                setattr(owner, attribute, float(row))
        data = mujoco.MjData(model)
        for name, value in self._state.items():
            getattr(data, name)[:] = value[world].cpu().numpy()
        mujoco.mj_kinematics(model, data)
        return model, data

    def _load_kernels(self) -> None:
        """One physics step without a graph, so that none is compiled while a graph is captured."""
        with wp.ScopedDevice(self._device):
            mjw.step1(self._model, self._data)
            mjw.step2(self._model, self._data)
        wp.synchronize_device(self._device)
        self._data.overflow.zero_()

    def _run(self, key: str | int, operations: Callable[[], None]) -> None:
        """Launch ``operations`` as a graph that is captured at first use."""
        if key not in self._graphs:
            with wp.ScopedDevice(self._device), wp.ScopedCapture(self._device) as capture:
                operations()
            self._graphs[key] = capture.graph
        wp.capture_launch(self._graphs[key], stream=self._stream())

    def _stream(self) -> wp.Stream | None:
        """Torch's stream of the moment, so that both libraries see each other's writes in order."""
        if self._device.is_cpu:
            return None
        stream = torch.cuda.current_stream(self.qpos.device)
        if stream.cuda_stream not in self._streams:
            self._streams[stream.cuda_stream] = wp.stream_from_torch(stream)
        return self._streams[stream.cuda_stream]


@contextmanager
def _explained_shortage(device: torch.device, num_worlds: int, max_constraints: int) -> Iterator[None]:
    """Turn Warp's error about memory into one that says what to lower."""
    try:
        yield
    except RuntimeError as error:
        if "Failed to allocate" not in str(error):
            raise
        raise SimulationError(
            f"{device} has too little memory for {num_worlds} simulations; lower collection.num_envs (now "
            f"{num_worlds}) or environment.max_constraints (now {max_constraints})"
        ) from error


def _like_native(model: mujoco.MjModel) -> mujoco.MjModel:
    """``model``, with contacts between boxes found as MuJoCo's CPU engine finds them.

    By default Warp takes its general convex algorithm, which gives other contacts: resting faces jitter.
    """
    model = copy.copy(model)
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_NATIVECCD
    return model


def _place(model: Any, name: str) -> tuple[Any, str]:
    """The object that holds the model field ``name``, and its attribute there."""
    return (model.opt, name.removeprefix("opt.")) if name.startswith("opt.") else (model, name)


def _assign(target: Tensor, value: Tensor, mask: Tensor) -> None:
    """Replace the rows of ``target`` that are in ``mask`` (N,), in place and without asking how many."""
    target.copy_(torch.where(_rows(mask, target), value, target))


def _rows(mask: Tensor, tensor: Tensor) -> Tensor:
    """``mask`` (N,) with as many dimensions as ``tensor`` (N, ...)."""
    return mask.view(-1, *[1] * (tensor.dim() - 1))
