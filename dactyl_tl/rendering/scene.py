"""The scene as it is shown: hand, object and goal with colours, light and ground.

The same joints in the same order as the scene that is simulated, so a simulation's ``qpos`` can be
written straight into it. Nothing here is ever simulated.
"""

from __future__ import annotations

import mujoco
import numpy as np

from dactyl_tl.rendering.objects import add_look
from dactyl_tl.simulation.hand import PREFIX
from dactyl_tl.simulation.objects import OBJECT_BODY
from dactyl_tl.simulation.scene import TASKS, scene_spec

GOAL_BODY = "goal"
"""Motion-capture body that shows the goal's orientation."""

GOAL_POSITION = (1.125, 0.83, 0.25)
"""Where the goal hovers, m: beside the little finger, at the object's height."""

GOAL_ALPHA = 0.55
"""Opacity of the goal, so that nobody takes it for the object."""

HIDDEN_GROUP, COLLISION_GROUP = 5, 4
"""Geom groups that are not drawn: the object's collision geoms, the hand's collision geoms."""

GROUND = (0.80, 0.80, 0.795)
GROUND_EMISSION = 0.35
"""The ground glows a little, which keeps shadows on it light."""

BACKDROP = (0.93, 0.935, 0.945)
"""Colour of what lies beyond the ground."""

MATERIALS = {
    # name: (rgba, specular, shininess)
    "shell": ((0.37, 0.39, 0.43, 1), 0.35, 0.55),
    "metal": ((0.66, 0.685, 0.72, 1), 0.55, 0.65),
    "tip": ((0.86, 0.85, 0.82, 1), 0.15, 0.25),
}
"""What the hand is made of: dark forearm and palm, bright links, soft fingertips. The shipped material
is so bright and glossy that it over-exposes before a white background."""

SHELL_PARTS, TIP_SUFFIX = ("forearm", "wrist", "palm", "lfmetacarpal"), "distal"

KEY_LIGHT, KEY_LIGHT_TARGET = (1.45, 0.25, 1.35), (1.0, 0.95, 0.12)
"""Where the light that casts shadows is, and where it points, m."""

KEY_LIGHT_CONE, SHADOW_CONE = 60.0, 18.0
"""Half-angles of its light and of its shadow map, which just holds the hand, degrees."""

SHADOW_SIZE = 1024
"""Pixels of the shadow map; larger ones are slow without a GPU."""

MAX_WIDTH, MAX_HEIGHT = 4096, 3072
"""Largest picture, pixels."""


def build_visual_model(task: str, *, hand: str = "gymnasium_robotics", goal: bool = True) -> mujoco.MjModel:
    """Compile a task's scene for rendering.

    Args:
        task: Key of :data:`dactyl_tl.simulation.scene.TASKS`.
        hand: Hand parameters; they do not change the picture, only joint limits shown by viewers.
        goal: Whether to add the body :data:`GOAL_BODY`, which hovers at :data:`GOAL_POSITION`.

    Raises:
        ValueError: Unknown task or hand.
    """
    spec = scene_spec(task, hand=hand, visuals=True)
    object_name = TASKS[task].object_name
    dress_hand(spec)
    body = spec.body(OBJECT_BODY)
    for geom in body.geoms:
        geom.group = HIDDEN_GROUP
    add_look(spec, body, object_name)
    if goal:
        ghost = spec.worldbody.add_body(name=GOAL_BODY, mocap=True, pos=GOAL_POSITION)
        add_look(spec, ghost, object_name, alpha=GOAL_ALPHA)
    _add_surroundings(spec)
    _set_quality(spec)
    return spec.compile()


def dress_hand(spec: mujoco.MjSpec) -> None:
    """Give the hand's visible parts our materials, and put its collision geoms into a group of their own."""
    for name, (rgba, specular, shininess) in MATERIALS.items():
        spec.add_material(name=name, rgba=rgba, specular=specular, shininess=shininess, reflectance=0.0)
    for geom in spec.geoms:
        if geom.name.startswith(f"{PREFIX}V_"):
            part = geom.name.removeprefix(f"{PREFIX}V_")
            geom.material = (
                "shell" if part in SHELL_PARTS else "tip" if part.endswith(TIP_SUFFIX) else "metal"
            )
        elif geom.name.startswith(f"{PREFIX}C_"):
            geom.group = COLLISION_GROUP


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    for texture in list(spec.textures):
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            spec.delete(texture)  # green
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT, rgb1=BACKDROP, rgb2=BACKDROP, width=16, height=16,
    )  # fmt: skip
    spec.add_material(
        name="ground", rgba=(*GROUND, 1), emission=GROUND_EMISSION, specular=0, shininess=0, reflectance=0
    )
    spec.worldbody.add_geom(
        name="ground", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(0, 0, 0.05), material="ground",
        contype=0, conaffinity=0,
    )  # fmt: skip
    for light in list(spec.lights):
        spec.delete(light)
    direction = np.subtract(KEY_LIGHT_TARGET, KEY_LIGHT)
    # A spot light's shadow map covers a cone, a directional light's all of the scene, more coarsely.
    spec.worldbody.add_light(
        name="key", type=mujoco.mjtLightType.mjLIGHT_SPOT, pos=KEY_LIGHT,
        dir=direction / np.linalg.norm(direction), cutoff=KEY_LIGHT_CONE, exponent=1, attenuation=(1, 0, 0),
        diffuse=(0.52, 0.51, 0.49), specular=(0.35, 0.35, 0.35), ambient=(0, 0, 0), castshadow=True,
    )  # fmt: skip
    spec.worldbody.add_light(
        name="fill", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=(0.2, 0.5, 1.0), dir=(0.8, 0.3, -0.6),
        diffuse=(0.20, 0.215, 0.24), specular=(0.1, 0.1, 0.1), ambient=(0, 0, 0), castshadow=False,
    )  # fmt: skip
    headlight = spec.visual.headlight
    headlight.ambient, headlight.diffuse, headlight.specular = (0.42,) * 3, (0.12,) * 3, (0.0,) * 3


def _set_quality(spec: mujoco.MjSpec) -> None:
    visual = spec.visual
    visual.quality.offsamples = 0  # multisampling without a GPU is slow; pictures are drawn larger instead
    visual.quality.shadowsize = SHADOW_SIZE
    visual.global_.offwidth, visual.global_.offheight = MAX_WIDTH, MAX_HEIGHT
    # Shadows on the ground are free of noise only with a depth range this wide.
    visual.map.znear, visual.map.zfar = 0.0025, 100.0
    visual.map.shadowscale = SHADOW_CONE / KEY_LIGHT_CONE
    visual.rgba.haze = (*BACKDROP, 1)
    spec.stat.center, spec.stat.extent = (1.0, 0.95, 0.15), 0.7
