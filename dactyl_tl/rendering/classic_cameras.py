"""The cameras' pictures from MuJoCo's classic OpenGL renderer: what a pose network is evaluated on."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from dactyl_tl.contract import CAMERAS, PICTURE_SIZE
from dactyl_tl.rendering.appearance import Appearance
from dactyl_tl.rendering.cameras import BACKGROUND, MESH_SHARE, Cameras, CameraScene
from dactyl_tl.rendering.offscreen import Offscreen, check_renderer

SUPERSAMPLE = 2
"""Pictures are drawn this many times larger in both directions and scaled down: smooth edges."""


class ClassicCameras(Cameras):
    """:class:`~dactyl_tl.rendering.cameras.Cameras` by the classic renderer.

    Args:
        task: Key of :data:`dactyl_tl.simulation.scene.TASKS`.
        size: Width and height of a picture, pixels.
        supersample: See :data:`SUPERSAMPLE`.
        look: Of the object, one of :data:`dactyl_tl.rendering.objects.KINDS`.
        mesh_share: Of the hand's mesh faces that are drawn.

    Raises:
        ValueError: Unknown task or look, or pictures that are too large.
        RendererError: There is no working OpenGL; the message names the packages to install.
    """

    _screen: Offscreen

    def __init__(
        self,
        task: str = "block",
        *,
        size: tuple[int, int] = (PICTURE_SIZE, PICTURE_SIZE),
        supersample: int = SUPERSAMPLE,
        look: str = "lettered",
        mesh_share: float = MESH_SHARE,
    ) -> None:
        check_renderer()
        self.size = size
        self._scene = CameraScene(task, physical=False, look=look, mesh_share=mesh_share)
        model = self._scene.model
        width, height = size[0] * supersample, size[1] * supersample
        self._parts = [mujoco.MjrRect(i * width, 0, width, height) for i in range(len(CAMERAS))]
        self._cameras = [fixed_camera(model.camera(name).id) for name in CAMERAS]
        self._options = mujoco.MjvOption()
        self._options.sitegroup[:] = 0
        self._sky = model.texture(BACKGROUND)
        self._background = np.full(3, np.nan)
        self._screen = Offscreen(model, len(CAMERAS) * width, height)

    def render(self, qpos: ArrayLike, appearance: Appearance | None = None) -> NDArray[np.uint8]:
        """Draw one state; see :class:`~dactyl_tl.rendering.cameras.Cameras`."""
        scene = self._scene
        if scene.dress(appearance or scene.nominal):
            self._screen.load_texture(scene.model, scene.recolour.texture)
        self._paint_background()
        scene.pose(qpos)
        for camera, part in zip(self._cameras, self._parts, strict=True):
            mujoco.mjv_updateScene(
                scene.model, scene.data, self._options, None, camera, mujoco.mjtCatBit.mjCAT_ALL,
                self._screen.scene,
            )  # fmt: skip
            self._screen.draw_part(part)
        wide = self._screen.read()
        pictures = [wide[:, part.left : part.left + part.width] for part in self._parts]
        if self._parts[0].width != self.size[0]:
            pictures = [
                np.asarray(Image.fromarray(each).resize(self.size, Image.Resampling.BOX)) for each in pictures
            ]
        return np.stack(pictures)

    def _paint_background(self) -> None:
        if np.array_equal(self._background, self._scene.background):
            return
        self._background = self._scene.background.copy()
        first, count = self._sky.adr[0], self._sky.width[0] * self._sky.height[0]
        pixels = self._scene.model.tex_data[first : first + 3 * count].reshape(-1, 3)
        pixels[:] = np.rint(255 * self._background).astype(np.uint8)
        self._screen.load_texture(self._scene.model, self._sky.id)


def fixed_camera(number: int) -> mujoco.MjvCamera:
    """The camera with this id in the model."""
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = number
    return camera
