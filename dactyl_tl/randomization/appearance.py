"""Looks of a set of pictures (Table 9), drawn anew for every set.

Contrast and noise, the table's last rows, are put on pictures that are rendered already:
:mod:`dactyl_tl.randomization.images`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.randomization.sampling import Interval, bernoulli, uniform, uniform_factor
from dactyl_tl.rendering.appearance import Appearance


@dataclass(frozen=True)
class AppearanceRandomization:
    """Ranges of Table 9.

    Attributes:
        camera_position: largest shift of a camera along each axis, m.
        camera_rotation: of a camera about a random axis, degrees.
        camera_fov: largest change of a camera's field of view, degrees.
        robot_colour: of each of RGB of each of the hand's materials.
        robot_metallic, robot_glossiness: of each of the hand's materials.
        object_hue: largest change, in turns of the colour circle.
        object_saturation, object_value: factors on the calibrated ones.
        object_metallic, object_glossiness: shares.
        lights: fewest and most.
        light_intensity: of a light among the others.
        total_intensity: of all lights together, in Unity's units (:mod:`dactyl_tl.rendering.lights`).
        shadows: share of sets in which the brightest light casts shadows. Not in the table: to draw
            them costs as much as all else.
        background: of each of RGB of what is behind hand and object. Not in the table: the paper's cameras
            look into a cage, these at nothing.
    """

    camera_position: float = 0.0015
    camera_rotation: Interval = (0.0, 3.0)
    camera_fov: float = 1.0
    robot_colour: Interval = (0.0, 1.0)
    robot_metallic: Interval = (0.05, 0.25)
    robot_glossiness: Interval = (0.0, 1.0)
    object_hue: float = 0.01
    object_saturation: Interval = (0.85, 1.15)
    object_value: Interval = (0.85, 1.15)
    object_metallic: Interval = (0.05, 0.15)
    object_glossiness: Interval = (0.05, 0.15)
    lights: tuple[int, int] = (4, 6)
    light_intensity: Interval = (1.0, 5.0)
    total_intensity: Interval = (0.0, 15.0)
    shadows: float = 0.5
    background: Interval = (0.0, 1.0)

    def sample(self, cameras: int, materials: int, generator: torch.Generator) -> Appearance:
        """Looks of one set of pictures.

        Args:
            cameras: that take them.
            materials: of the hand.
            generator: of all draws, on the CPU.
        """
        g = generator
        angle = torch.deg2rad(uniform((cameras, 1), self.camera_rotation, g))
        directions, intensities = self._lights(g)
        return Appearance(
            camera_position=_array(_about_zero((cameras, 3), self.camera_position, g)),
            camera_rotation=_array(angle * rotations.uniform_axis((cameras,), g)),
            camera_fov=_array(_about_zero((cameras,), self.camera_fov, g)),
            robot_colour=_array(uniform((materials, 3), self.robot_colour, g)),
            robot_metallic=_array(uniform((materials,), self.robot_metallic, g)),
            robot_glossiness=_array(uniform((materials,), self.robot_glossiness, g)),
            object_hue=float(_about_zero((), self.object_hue, g)),
            object_saturation=float(uniform_factor((), self.object_saturation, 1.0, g)),
            object_value=float(uniform_factor((), self.object_value, 1.0, g)),
            object_metallic=float(uniform((), self.object_metallic, g)),
            object_glossiness=float(uniform((), self.object_glossiness, g)),
            light_directions=_array(directions),
            light_intensities=_array(intensities),
            shadows=bool(bernoulli((), self.shadows, g)),
            background=_array(uniform((3,), self.background, g)),
        )

    def _lights(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        fewest, most = self.lights
        count = int(torch.randint(fewest, most + 1, (), generator=generator))
        directions = rotations.uniform_axis((count,), generator)
        directions[:, 2].abs_()  # uniform over the upper half of the sphere
        relative = uniform((count,), self.light_intensity, generator)
        total = uniform((), self.total_intensity, generator)
        return directions, total * relative / relative.sum()


def _about_zero(shape: tuple[int, ...], largest: float, generator: torch.Generator) -> Tensor:
    return uniform(shape, (-largest, largest), generator)


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.double().numpy()
