"""The engines, by name."""

from __future__ import annotations

import importlib.util

import mujoco
import torch

from dactyl_tl.simulation.native import NativePhysics
from dactyl_tl.simulation.physics import Physics

ENGINES = ("auto", "native", "warp")
"""``auto`` is native on a CPU and warp on a GPU."""

DEVICES = ("cpu", "cuda")


def resolve_engine(engine: str, device: str) -> str:
    """The engine that ``engine`` means on ``device``: ``native`` or ``warp``.

    Raises:
        ValueError: unknown engine, a device that it does not run on, or a package that it lacks.
    """
    if engine not in ENGINES:
        raise ValueError(f"Unknown engine {engine!r}; choose one of {', '.join(ENGINES)}.")
    kind = str(device).partition(":")[0]
    if kind not in DEVICES:
        raise ValueError(f"Simulations run on device {' or '.join(DEVICES)}, not {device!r}.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but this machine has no GPU that PyTorch can use.")
    if engine == "auto":
        engine = "warp" if kind == "cuda" else "native"
    if engine == "native" and kind != "cpu":
        raise ValueError(f"The native engine runs on device 'cpu' only, not {device!r}.")
    if engine == "warp" and importlib.util.find_spec("mujoco_warp") is None:
        raise ValueError("The warp engine needs MuJoCo Warp: pip install 'dactyl_tl[gpu]'.")
    return engine


def make_physics(
    engine: str,
    model: mujoco.MjModel,
    num_worlds: int,
    *,
    device: str = "cpu",
    num_threads: int = 1,
    max_contacts: int | None = None,
    max_constraints: int | None = None,
) -> Physics:
    """An engine for ``num_worlds`` simulations of ``model``.

    Args:
        engine: one of :data:`ENGINES`.
        model: to simulate.
        num_worlds: number of simulations.
        device: torch device of all tensors.
        num_threads: of the native engine; 0 for all processors.
        max_contacts, max_constraints: what the warp engine makes memory for, see
            :class:`~dactyl_tl.simulation.warp.WarpPhysics`; None for its defaults.

    Raises:
        ValueError: unknown engine, a device that it does not run on, or a package that it lacks.
    """
    for name, value in (("max_contacts", max_contacts), ("max_constraints", max_constraints)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, not {value!r}.")
    if resolve_engine(engine, device) == "native":
        return NativePhysics(model, num_worlds, num_threads)
    from dactyl_tl.simulation.warp import MAX_CONSTRAINTS, MAX_CONTACTS, WarpPhysics

    return WarpPhysics(
        model,
        num_worlds,
        device,
        max_contacts=MAX_CONTACTS if max_contacts is None else max_contacts,
        max_constraints=MAX_CONSTRAINTS if max_constraints is None else max_constraints,
    )
