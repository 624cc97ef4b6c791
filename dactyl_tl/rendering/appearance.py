"""What a picture's looks are, apart from the state of hand and object: Table 9 as numbers.

An :class:`Appearance` is drawn by :mod:`dactyl_tl.randomization.appearance` and put on by either
renderer. What is not randomised looks as :func:`nominal_appearance` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Appearance:
    """Looks of one set of pictures, taken by C cameras of a hand with M materials.

    Attributes:
        camera_position: Added to each camera's position, world frame, m, (C, 3).
        camera_rotation: Each camera is turned by this rotation vector in its own frame, rad, (C, 3).
        camera_fov: Added to each camera's vertical field of view, degrees, (C,).
        robot_colour: RGB of each of the hand's materials, 0 to 1, (M, 3).
        robot_metallic: 0 to 1, (M,).
        robot_glossiness: 0 to 1, (M,); roughness is what it lacks to 1.
        object_hue: Added to the hue of the object's colours, in turns of the colour circle.
        object_saturation: Factor.
        object_value: Factor.
        object_metallic: 0 to 1.
        object_glossiness: 0 to 1.
        light_directions: Where each light is, seen from the object's start, unit vectors, (L, 3).
        light_intensities: Of each light, in Unity's units (:mod:`dactyl_tl.rendering.lights`), (L,).
        shadows: Whether the brightest light casts shadows.
        background: RGB of what is behind hand and object, 0 to 1, (3,).
    """

    camera_position: Array
    camera_rotation: Array
    camera_fov: Array
    robot_colour: Array
    robot_metallic: Array
    robot_glossiness: Array
    object_hue: float
    object_saturation: float
    object_value: float
    object_metallic: float
    object_glossiness: float
    light_directions: Array
    light_intensities: Array
    shadows: bool
    background: Array


NOMINAL_LIGHTS = (((-0.5, -0.45, 1.0), 3.5), ((0.8, -0.2, 0.9), 2.5), ((0.1, -0.9, 0.6), 1.5))
"""Direction (normalised when used) and intensity of the lights that are not randomised."""

NOMINAL_BACKGROUND = (0.62, 0.63, 0.65)

NOMINAL_METALLIC, NOMINAL_GLOSSINESS = 0.10, 0.35
OBJECT_METALLIC, OBJECT_GLOSSINESS = 0.10, 0.10
"""In the middle of Table 9's ranges for the object; of the hand's, what it looks like."""


def nominal_appearance(num_cameras: int, robot_colour: Array) -> Appearance:
    """Nothing is randomised: cameras where they are calibrated to be, the hand in its own colours.

    Args:
        num_cameras: C.
        robot_colour: RGB of the hand's materials, (M, 3).
    """
    directions = np.array([direction for direction, _ in NOMINAL_LIGHTS])
    materials = len(robot_colour)
    return Appearance(
        camera_position=np.zeros((num_cameras, 3)),
        camera_rotation=np.zeros((num_cameras, 3)),
        camera_fov=np.zeros(num_cameras),
        robot_colour=np.array(robot_colour, float),
        robot_metallic=np.full(materials, NOMINAL_METALLIC),
        robot_glossiness=np.full(materials, NOMINAL_GLOSSINESS),
        object_hue=0.0,
        object_saturation=1.0,
        object_value=1.0,
        object_metallic=OBJECT_METALLIC,
        object_glossiness=OBJECT_GLOSSINESS,
        light_directions=directions / np.linalg.norm(directions, axis=1, keepdims=True),
        light_intensities=np.array([intensity for _, intensity in NOMINAL_LIGHTS]),
        shadows=True,
        background=np.array(NOMINAL_BACKGROUND),
    )
