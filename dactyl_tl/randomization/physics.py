"""Physics randomizations (Table 1): sampled once an episode, written into the engine's model fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dactyl_tl.contract import NUM_ACTUATORS, NUM_JOINTS
from dactyl_tl.randomization.sampling import Interval, loguniform_factor, normal, uniform_factor
from dactyl_tl.simulation.physics import Physics
from dactyl_tl.simulation.scene import Scene

MINIMUM_JOINT_RANGE = 0.01
"""Width that a joint keeps when its randomised limits would cross, rad."""


@dataclass(frozen=True)
class PhysicsRandomization:
    """Ranges of Table 1. Lengths in m, angles in rad, accelerations in m/s^2."""

    object_dimensions: Interval = (0.95, 1.05)
    masses: Interval = (0.5, 1.5)
    surface_friction: Interval = (0.7, 1.3)
    joint_damping: Interval = (0.3, 3.0)
    actuator_gain: Interval = (0.75, 1.5)
    joint_limits: float = 0.15
    gravity: float = 0.4

    def sample(self, n: int, num_links: int, scale: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Values of one episode for ``n`` simulations.

        Returns:
            ``object_dimensions`` (n, 1), ``object_mass`` (n, 1), ``link_masses`` (n, links),
            ``surface_friction`` (n, 1), ``joint_damping`` (n, 24) and ``actuator_gain`` (n, 20) are
            factors; ``joint_limits`` (n, 24, 2) rad and ``gravity`` (n, 3) m/s^2 are added.
        """
        g = generator
        return {
            "object_dimensions": uniform_factor((n, 1), self.object_dimensions, scale, g),
            "object_mass": uniform_factor((n, 1), self.masses, scale, g),
            "link_masses": uniform_factor((n, num_links), self.masses, scale, g),
            # One factor for all surfaces: MuJoCo takes the larger friction of the two in contact, so
            # independent factors would cancel out and shift the mean.
            "surface_friction": uniform_factor((n, 1), self.surface_friction, scale, g),
            "joint_damping": loguniform_factor((n, NUM_JOINTS), self.joint_damping, scale, g),
            "actuator_gain": loguniform_factor((n, NUM_ACTUATORS), self.actuator_gain, scale, g),
            "joint_limits": normal((n, NUM_JOINTS, 2), scale * self.joint_limits, g),
            "gravity": normal((n, 3), scale * self.gravity, g),
        }


class PhysicsFields:
    """Writes sampled values into an engine's per-simulation model fields."""

    def __init__(self, scene: Scene, physics: Physics) -> None:
        self._physics = physics
        device = physics.qpos.device
        bodies = torch.tensor([scene.object_body, *scene.link_bodies.tolist()], device=device)
        geoms = torch.from_numpy(scene.object_geoms).to(device)
        self._bodies, self._geoms = bodies, geoms
        self._nominal = {
            name: physics.field(name)[0].clone()
            for name in (
                "body_mass", "body_inertia", "geom_size", "geom_friction", "pair_friction",
                "dof_damping", "actuator_gainprm", "jnt_range", "opt.gravity",
            )
        }  # fmt: skip

    def write(self, values: Mapping[str, Tensor]) -> None:
        """Apply values of :meth:`PhysicsRandomization.sample`, for all simulations.

        The engine's ``fields_changed`` must follow.
        """
        nominal, field = self._nominal, self._physics.field
        dtype = nominal["body_mass"].dtype
        v = {name: value.to(dtype) for name, value in values.items()}
        bodies, geoms = self._bodies, self._geoms
        mass_factor = torch.cat((v["object_mass"], v["link_masses"]), dim=1)
        inertia_factor = mass_factor.clone()
        inertia_factor[:, :1] *= v["object_dimensions"] ** 2
        field("body_mass")[:, bodies] = nominal["body_mass"][bodies] * mass_factor
        field("body_inertia")[:, bodies] = nominal["body_inertia"][bodies] * inertia_factor[..., None]

        field("geom_size")[:, geoms] = nominal["geom_size"][geoms] * v["object_dimensions"][..., None]
        for name in ("geom_friction", "pair_friction"):
            field(name).copy_(nominal[name] * v["surface_friction"][..., None])

        field("dof_damping")[:, :NUM_JOINTS] = nominal["dof_damping"][:NUM_JOINTS] * v["joint_damping"]
        gain = nominal["actuator_gainprm"][:, 0] * v["actuator_gain"]
        field("actuator_gainprm")[..., 0] = gain
        field("actuator_biasprm")[..., 1] = -gain
        field("jnt_range")[:, :NUM_JOINTS] = ordered_limits(
            nominal["jnt_range"][:NUM_JOINTS] + v["joint_limits"]
        )
        field("opt.gravity").copy_(nominal["opt.gravity"] + v["gravity"])


def ordered_limits(limits: Tensor) -> Tensor:
    """Joint limits (..., 2) whose ends are at least :data:`MINIMUM_JOINT_RANGE` apart, about their centre."""
    centre = limits.mean(dim=-1, keepdim=True)
    half = 0.5 * MINIMUM_JOINT_RANGE
    return torch.cat(
        (torch.minimum(limits[..., :1], centre - half), torch.maximum(limits[..., 1:], centre + half)), dim=-1
    )
