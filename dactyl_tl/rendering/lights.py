"""Lights of the camera scene, and what Table 9's "Unity units" mean for them.

A unit of Unity's built-in pipeline is a dimensionless factor on a light's colour: at 1, a white surface
that faces the light is as bright as white on the screen. Here a light of intensity 1 gives
:data:`UNITY_CANDELA` candela from :data:`LIGHT_DISTANCE` away in Filament, and :data:`UNITY_DIFFUSE` of the
classic renderer's diffuse light.
"""

from __future__ import annotations

import mujoco

MAX_LIGHTS = 6
"""Most lights of Table 9."""

LIGHT_NAME = "light:{}"

LIGHT_DISTANCE = 1.0
"""From the object's start to every light, m."""

LIGHT_CONE = 35.0
"""Half-angle of a light's cone, degrees: it holds hand and forearm."""

UNITY_CANDELA = 14_000.0
UNITY_DIFFUSE = 0.11

AMBIENT_LUX = 4000.0
"""Of a light at each camera, for the light that Unity has from everywhere: no picture is ever black."""

AMBIENT_DIFFUSE = 0.25
"""The same for the classic renderer."""


def add_lights(spec: mujoco.MjSpec) -> None:
    """Put :data:`MAX_LIGHTS` spot lights in the place of the spec's own, and a little from everywhere."""
    for light in list(spec.lights):
        spec.delete(light)
    for number in range(MAX_LIGHTS):
        spec.worldbody.add_light(
            name=LIGHT_NAME.format(number), type=mujoco.mjtLightType.mjLIGHT_SPOT, cutoff=LIGHT_CONE,
            exponent=0, attenuation=(1, 0, 0), specular=(0.1, 0.1, 0.1), ambient=(0, 0, 0), castshadow=False,
            pos=(0, 0, 2), dir=(0, 0, -1), intensity=1.0,
        )  # fmt: skip
    headlight = spec.visual.headlight
    headlight.ambient = (AMBIENT_DIFFUSE,) * 3
    headlight.diffuse = (AMBIENT_DIFFUSE / 2,) * 3
    headlight.specular = (0.0,) * 3
