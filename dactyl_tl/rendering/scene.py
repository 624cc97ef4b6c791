"""The scene as it is shown: hand, object and goal with colours, light and ground.

The same joints in the same order as the scene that is simulated, so a simulation's ``qpos`` can be
written straight into it. Nothing here is ever simulated.
"""

from __future__ import annotations

import mujoco

from dactyl_tl.rendering.objects import add_look
from dactyl_tl.simulation.hand import PREFIX
from dactyl_tl.simulation.objects import OBJECT_BODY
from dactyl_tl.simulation.scene import TASKS, scene_spec

GOAL_BODY = "goal"
"""Motion-capture body that shows the goal's orientation."""

GOAL_POSITION = (1.0, 0.87, 0.335)
"""Where the goal hovers, m: above the palm, out of the object's way."""

GOAL_ALPHA = 0.55
"""Opacity of the goal, so that nobody takes it for the object."""

HIDDEN_GROUP, COLLISION_GROUP = 5, 4
"""Geom groups that are not drawn: the object's collision geoms, the hand's collision geoms."""

PAPER_WHITE = (0.965, 0.962, 0.955)
HORIZON = (0.90, 0.91, 0.925)
"""Colours of ground and background."""

MATERIALS = {
    # name: (rgba, specular, shininess)
    "shell": ((0.30, 0.32, 0.35, 1), 0.35, 0.55),
    "metal": ((0.62, 0.645, 0.68, 1), 0.55, 0.65),
    "tip": ((0.86, 0.85, 0.82, 1), 0.15, 0.25),
}
"""What the hand is made of: dark forearm and palm, bright links, soft fingertips. The shipped material
is so bright and glossy that it over-exposes before a white background."""

SHELL_PARTS, TIP_SUFFIX = ("forearm", "wrist", "palm", "lfmetacarpal"), "distal"

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
    _dress_hand(spec)
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


def _dress_hand(spec: mujoco.MjSpec) -> None:
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
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, rgb1=PAPER_WHITE, rgb2=HORIZON, width=256, height=256,
    )  # fmt: skip
    spec.add_material(name="ground", rgba=(*PAPER_WHITE, 1), specular=0.0, shininess=0.0, reflectance=0.0)
    spec.worldbody.add_geom(
        name="ground", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(0, 0, 0.05), material="ground",
        contype=0, conaffinity=0,
    )  # fmt: skip
    for light in list(spec.lights):
        spec.delete(light)
    directional = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    spec.worldbody.add_light(
        name="key", type=directional, pos=(1.3, 0.4, 1.5), dir=(-0.35, 0.45, -1.0),
        diffuse=(0.52, 0.51, 0.49), specular=(0.35, 0.35, 0.35), ambient=(0, 0, 0), castshadow=True,
    )  # fmt: skip
    spec.worldbody.add_light(
        name="fill", type=directional, pos=(0.2, 0.5, 1.0), dir=(0.8, 0.3, -0.6),
        diffuse=(0.20, 0.215, 0.24), specular=(0.1, 0.1, 0.1), ambient=(0, 0, 0), castshadow=False,
    )  # fmt: skip
    headlight = spec.visual.headlight
    headlight.ambient, headlight.diffuse, headlight.specular = (0.42,) * 3, (0.12,) * 3, (0.0,) * 3


def _set_quality(spec: mujoco.MjSpec) -> None:
    visual = spec.visual
    visual.quality.offsamples = 0  # multisampling without a GPU is slow; pictures are drawn larger instead
    visual.quality.shadowsize = SHADOW_SIZE
    visual.global_.offwidth, visual.global_.offheight = MAX_WIDTH, MAX_HEIGHT
    visual.map.znear, visual.map.zfar = 0.01, 50.0
    visual.map.shadowclip = 2.0  # a narrower frustum leaves its own edge on the ground as noise
    visual.rgba.haze = (*HORIZON, 1)
    spec.stat.center, spec.stat.extent = (1.0, 0.95, 0.15), 0.7
