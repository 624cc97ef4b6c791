"""The engines, by name."""

from __future__ import annotations

import mujoco

from dactyl_tl.simulation.native import NativePhysics
from dactyl_tl.simulation.physics import Physics

ENGINES = ("native",)


def make_physics(
    engine: str, model: mujoco.MjModel, num_worlds: int, *, device: str = "cpu", num_threads: int = 1
) -> Physics:
    """An engine for ``num_worlds`` simulations of ``model``.

    Raises:
        ValueError: unknown engine, or a device that it does not run on.
    """
    if engine not in ENGINES:
        raise ValueError(f"Unknown engine {engine!r}; choose one of {', '.join(ENGINES)}.")
    if device != "cpu":
        raise ValueError(f"The native engine runs on device 'cpu' only, not {device!r}.")
    return NativePhysics(model, num_worlds, num_threads)
