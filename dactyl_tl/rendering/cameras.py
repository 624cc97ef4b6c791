"""The three cameras: one scene, drawn by either renderer, cropped and scaled as on the robot.

Two renderers stand for the paper's Unity and MuJoCo: Filament, physically based, draws what a pose network
learns from; the classic OpenGL one draws what it is evaluated on. Both draw the model of
:class:`CameraScene`, in which an :class:`~dactyl_tl.rendering.appearance.Appearance` is put on by writing
model fields, so nothing is compiled anew.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dactyl_tl.contract import CAMERAS
from dactyl_tl.rendering.appearance import Appearance, nominal_appearance
from dactyl_tl.rendering.closing import Closing
from dactyl_tl.rendering.lights import (
    LIGHT_DISTANCE,
    LIGHT_NAME,
    MAX_LIGHTS,
    UNITY_CANDELA,
    UNITY_DIFFUSE,
    add_lights,
)
from dactyl_tl.rendering.meshes import coarsen
from dactyl_tl.rendering.objects import add_look
from dactyl_tl.rendering.recolour import Recolour
from dactyl_tl.rendering.scene import HIDDEN_GROUP, MATERIALS, MAX_HEIGHT, MAX_WIDTH, dress_hand
from dactyl_tl.simulation.hand import PREFIX
from dactyl_tl.simulation.objects import OBJECT_BODY, START_POSITION
from dactyl_tl.simulation.scene import TASKS, scene_spec

TILE = 64
"""Edge of a face's tile in the object's texture, pixels: more than a picture resolves, soon recoloured."""

MESH_SHARE = 0.2
"""Of the hand's mesh faces that are drawn."""

SHADOW_SIZE = 512
"""Pixels of the shadow map of the light that casts shadows."""

BACKGROUND = "background"
"""Name of the sky's texture, with which the classic renderer draws what is behind everything."""


class CameraScene:
    """Hand and object before a plain background, with lights and materials that can be changed.

    Attributes:
        model: Of which ``qpos`` is as simulated; it is drawn, never stepped.
        data: The state that is drawn.
        nominal: Looks that are not randomised.
        recolour: The object's texture.

    Args:
        task: Key of :data:`dactyl_tl.simulation.scene.TASKS`.
        physical: Whether it is for a renderer that computes with light, and not with the screen's colours.
        look: Of the object, one of :data:`dactyl_tl.rendering.objects.KINDS`.
        mesh_share: Of the hand's mesh faces that are drawn.

    Raises:
        ValueError: Unknown task or look.
    """

    def __init__(
        self, task: str, *, physical: bool, look: str = "lettered", mesh_share: float = MESH_SHARE
    ) -> None:
        self.model = _camera_model(task, physical, look, mesh_share)
        self.data = mujoco.MjData(self.model)
        self.recolour = Recolour(self.model, f"look:{TASKS[task].object_name}")
        self._hand = [self.model.material(name).id for name in MATERIALS]
        self._object = self.model.material(f"{OBJECT_BODY}:{TASKS[task].object_name}").id
        self._lights = [self.model.light(LIGHT_NAME.format(i)).id for i in range(MAX_LIGHTS)]
        self._cameras = [self.model.camera(name).id for name in CAMERAS]
        self._calibrated = {
            name: getattr(self.model, name)[self._cameras].copy()
            for name in ("cam_pos", "cam_quat", "cam_fovy")
        }
        self.nominal = nominal_appearance(len(CAMERAS), self.model.mat_rgba[self._hand, :3])
        self.background = self.nominal.background
        self.dress(self.nominal)

    def pose(self, qpos: ArrayLike) -> None:
        """Put hand and object into a state, and the cameras and lights where they belong.

        Raises:
            ValueError: Wrong shape, or numbers that are not finite.
        """
        values = np.asarray(qpos, dtype=np.float64)
        if values.shape != (self.model.nq,) or not np.isfinite(values).all():
            raise ValueError(
                f"qpos must be {self.model.nq} finite numbers, got shape {values.shape}: {values}"
            )
        self.data.qpos[:] = values
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)

    def project(self, points: ArrayLike) -> NDArray[np.float64]:
        """Where points of the object are in the pictures of the state that is posed.

        Args:
            points: In the object's frame, m, (k, 3).

        Returns:
            To the right and downwards, -1 to 1 from edge to edge of a square picture, (cameras, k, 2).
        """
        body = self.data.body(OBJECT_BODY)
        world = np.asarray(points) @ body.xmat.reshape(3, 3).T + body.xpos
        projected = []
        for camera in self._cameras:
            seen = (world - self.data.cam_xpos[camera]) @ self.data.cam_xmat[camera].reshape(3, 3)
            half = np.tan(np.radians(self.model.cam_fovy[camera]) / 2)
            projected.append(seen[:, :2] / (-half * seen[:, 2:]) * (1, -1))
        return np.stack(projected)

    def dress(self, appearance: Appearance) -> bool:
        """Put on an appearance; call before :meth:`pose`.

        Returns:
            whether the object's texture has changed, which a renderer then has to load.

        Raises:
            ValueError: more lights than :data:`MAX_LIGHTS`.
        """
        self._place_cameras(appearance)
        self._colour(appearance)
        self._light(appearance)
        self.background = appearance.background
        return self.recolour(appearance.object_hue, appearance.object_saturation, appearance.object_value)

    def _place_cameras(self, appearance: Appearance) -> None:
        model, ids = self.model, self._cameras
        model.cam_pos[ids] = self._calibrated["cam_pos"] + appearance.camera_position
        model.cam_fovy[ids] = self._calibrated["cam_fovy"] + appearance.camera_fov
        for camera, calibrated, turn in zip(
            ids, self._calibrated["cam_quat"], appearance.camera_rotation, strict=True
        ):
            turned = np.array([1.0, 0.0, 0.0, 0.0])
            mujoco.mju_quatIntegrate(turned, turn, 1.0)
            mujoco.mju_mulQuat(model.cam_quat[camera], calibrated, turned)

    def _colour(self, appearance: Appearance) -> None:
        model = self.model
        model.mat_rgba[self._hand, :3] = appearance.robot_colour
        model.mat_metallic[self._hand] = appearance.robot_metallic
        model.mat_roughness[self._hand] = 1.0 - appearance.robot_glossiness
        model.mat_metallic[self._object] = appearance.object_metallic
        model.mat_roughness[self._object] = 1.0 - appearance.object_glossiness

    def _light(self, appearance: Appearance) -> None:
        count = len(appearance.light_intensities)
        if count > MAX_LIGHTS:
            raise ValueError(f"an appearance has {count} lights; at most {MAX_LIGHTS} are possible")
        model = self.model
        model.light_active[self._lights] = False
        model.light_castshadow[self._lights] = False
        for light, direction, intensity in zip(
            self._lights[:count], appearance.light_directions, appearance.light_intensities, strict=True
        ):
            model.light_active[light] = True
            model.light_pos[light] = np.add(START_POSITION, LIGHT_DISTANCE * direction)
            model.light_dir[light] = -direction
            model.light_intensity[light] = UNITY_CANDELA * intensity
            model.light_diffuse[light] = UNITY_DIFFUSE * intensity
        if appearance.shadows:
            model.light_castshadow[self._lights[int(np.argmax(appearance.light_intensities))]] = True


class Screen(Protocol):
    """What a renderer draws on."""

    def close(self) -> None:
        """Free it; closing twice is fine."""


class Cameras(Closing):
    """Takes the pictures of all cameras at once. Use it from one thread, and close it.

    Attributes:
        size: Width and height of a picture, pixels.
    """

    size: tuple[int, int]
    _scene: CameraScene
    _screen: Screen

    @abstractmethod
    def render(self, qpos: ArrayLike, appearance: Appearance | None = None) -> NDArray[np.uint8]:
        """Draw one state.

        Args:
            qpos: Joint angles, then the object's position and orientation, (31,), as simulated.
            appearance: Looks; None for the nominal ones.

        Returns:
            RGB pictures, (cameras, height, width, 3), top row first.

        Raises:
            ValueError: Wrong shapes, or numbers that are not finite.
        """

    def project(self, points: ArrayLike) -> NDArray[np.float64]:
        """Where points of the object are in the last pictures: see :meth:`CameraScene.project`."""
        return self._scene.project(points)

    def close(self) -> None:
        """Free the renderer; closing twice is fine."""
        self._screen.close()


def _camera_model(task: str, physical: bool, look: str, mesh_share: float) -> mujoco.MjModel:
    spec = scene_spec(task, visuals=True)
    dress_hand(spec)
    body = spec.body(OBJECT_BODY)
    # Nothing collides here, and whatever is in the scene costs time, seen or not.
    for contact in [*spec.pairs, *spec.excludes]:
        spec.delete(contact)
    for geom in list(spec.geoms):
        if geom.name.startswith(f"{PREFIX}C_"):
            spec.delete(geom)
    for geom in list(body.geoms):
        geom.group = HIDDEN_GROUP
    add_look(spec, body, TASKS[task].object_name, tile=TILE, kind=look)
    for texture in list(spec.textures):
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:
            spec.delete(texture)
        elif physical:
            texture.colorspace = mujoco.mjtColorSpace.mjCOLORSPACE_SRGB
    spec.add_texture(
        name=BACKGROUND, type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        width=4, height=4,
    )  # fmt: skip
    add_lights(spec)
    coarsen(spec, mesh_share)
    visual = spec.visual
    visual.quality.offsamples = 0
    visual.quality.shadowsize = SHADOW_SIZE
    visual.global_.offwidth = MAX_WIDTH
    visual.global_.offheight = MAX_HEIGHT
    visual.headlight.active = True
    spec.add_numeric(name="filament.ao.enabled", data=[0.0], size=1)
    # Other tone mappers turn the hues of a face by three percent, more than Table 9 ever does.
    spec.add_text(name="filament.cg.tone_mapping", data="linear")
    spec.stat.center, spec.stat.extent = START_POSITION, 0.7
    return spec.compile()
