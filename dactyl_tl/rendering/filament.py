"""The cameras' pictures from MuJoCo's Filament renderer, physically based: what a pose network learns from.

It draws through Vulkan, which Mesa provides on machines without a GPU. A process can have one Filament
context at a time, and should it be torn down in the wrong order the process is aborted: renderers of
training pictures live in worker processes of their own.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dactyl_tl.contract import CAMERAS, PICTURE_SIZE
from dactyl_tl.processes import ending
from dactyl_tl.rendering.appearance import Appearance
from dactyl_tl.rendering.cameras import MESH_SHARE, Cameras, CameraScene
from dactyl_tl.rendering.classic_cameras import fixed_camera
from dactyl_tl.rendering.lights import AMBIENT_LUX
from dactyl_tl.rendering.offscreen import RendererError

DEBIAN_PACKAGES = ("libvulkan1", "mesa-vulkan-drivers")
"""What rendering through Vulkan on a CPU needs on Debian and Ubuntu."""


class FilamentError(RendererError):
    """No working Vulkan: the message says what was tried and what to install."""

    def __str__(self) -> str:
        return (
            f"Cannot render with Filament: {self.args[0]}. It needs mujoco-studio and Vulkan; without a GPU "
            f"install, on Debian or Ubuntu: apt-get install {' '.join(DEBIAN_PACKAGES)}"
        )


class FilamentCameras(Cameras):
    """:class:`~dactyl_tl.rendering.cameras.Cameras` by Filament. One at a time in a process.

    Args:
        task: Key of :data:`dactyl_tl.simulation.scene.TASKS`.
        size: Width and height of a picture, pixels.
        look: Of the object, one of :data:`dactyl_tl.rendering.objects.KINDS`.
        mesh_share: Of the hand's mesh faces that are drawn.

    Raises:
        ValueError: Unknown task or look.
        FilamentError: There is no working Vulkan; the message names the packages to install.
    """

    _screen: FilamentScreen

    def __init__(
        self,
        task: str = "block",
        *,
        size: tuple[int, int] = (PICTURE_SIZE, PICTURE_SIZE),
        look: str = "lettered",
        mesh_share: float = MESH_SHARE,
    ) -> None:
        check_filament()
        self.size = size
        self._scene = CameraScene(task, physical=True, look=look, mesh_share=mesh_share)
        width, height = size
        self._screen = FilamentScreen(self._scene.model, len(CAMERAS) * width, height)
        model = self._scene.model
        for number, name in enumerate(CAMERAS):
            self._screen.add_view(fixed_camera(model.camera(name).id), (number * width, 0, width, height))
        self._look = next(i for i in range(model.ngeom) if model.geom(i).name == "look:object")

    def render(self, qpos: ArrayLike, appearance: Appearance | None = None) -> NDArray[np.uint8]:
        """Draw one state; see :class:`~dactyl_tl.rendering.cameras.Cameras`."""
        scene = self._scene
        appearance = appearance or scene.nominal
        if scene.dress(appearance):
            self._screen.load_texture(self._look, scene.recolour.pixels)
        scene.pose(qpos)
        wide = self._screen.draw(scene.data, scene.background, shadows=appearance.shadows)
        return np.stack(np.split(wide, len(CAMERAS), axis=1))


class FilamentScreen:
    """A Filament context without a window that draws views of one model into one array.

    Args:
        model: The model to draw; its lights, materials and cameras are read anew at each drawing.
        width, height: Of the picture that holds all views, pixels.
        quiet: Keep to itself what Filament says of the machine as it starts.

    Raises:
        FilamentError: There is no working Vulkan.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, *, quiet: bool = True) -> None:
        mjrf, model_scene = _import_filament()
        self._mjrf, self._model = mjrf, model
        config = mjrf.ContextConfig()
        config.graphics_api = mjrf.GraphicsApi.GRAPHICS_API_VULKAN
        try:
            with _silence() if quiet else nullcontext():
                self._context: Any = mjrf.Context(config)
                self._scene: Any = model_scene.ModelScene(self._context, model)
            target = mjrf.RenderTargetConfig(color_format=mjrf.PixelFormat.PIXEL_FORMAT_RGB8)
            self._target: Any = self._context.create_render_target(target)
            self._target.resize(width, height)
        except RuntimeError as error:
            raise FilamentError(str(error)) from error
        self._pixels = np.zeros((height, width, 3), np.uint8)
        self._read: Any = mjrf.ReadRequest(target=self._target)
        self._read.set_buffer(self._pixels)
        self._views: list[tuple[mujoco.MjvCamera, Any]] = []

    def add_view(self, camera: mujoco.MjvCamera, rectangle: tuple[int, int, int, int]) -> None:
        """Draw what ``camera`` sees into a ``rectangle`` of the picture: left, bottom, width, height."""
        request = self._mjrf.RenderRequest()
        request.scene, request.target = self._scene.scene, self._target
        viewport = request.viewport
        viewport.left, viewport.bottom, viewport.width, viewport.height = rectangle
        request.reflections = request.skybox = request.haze = False
        request.headlight, request.headlight_intensity = True, AMBIENT_LUX
        request.headlight_color = (1.0, 1.0, 1.0)
        self._views.append((camera, request))

    def draw(self, data: mujoco.MjData, background: ArrayLike, *, shadows: bool) -> NDArray[np.uint8]:
        """Draw all views of ``data`` before a ``background`` of one colour: (height, width, 3)."""
        if self._context is None:
            raise RuntimeError("the renderer is closed")
        for camera, request in self._views:
            request.camera = self._camera_of(data, camera)
            request.shadows = shadows
        self._context.set_clear_color(_linear(np.asarray(background)))
        try:
            self._scene.update(data)
            frame = self._context.render([request for _, request in self._views], [self._read])
            self._context.wait_for_frame(frame)
        except RuntimeError as error:
            raise FilamentError(str(error)) from error
        return self._pixels.copy()

    def load_texture(self, geom: int, pixels: NDArray[np.uint8]) -> None:
        """Draw the texture of a geom's material with these ``pixels`` from now on."""
        geoms = mujoco.mjtObj.mjOBJ_GEOM
        texture = self._scene.get_renderable(geoms, geom).get_material().color_texture
        data = self._mjrf.TextureData()
        data.set_image(np.ascontiguousarray(pixels).tobytes())
        texture.upload(data)

    def close(self) -> None:
        """Free everything, the context last: in another order the process is aborted."""
        self._views = []
        self._read = self._scene = self._target = None
        self._context = None

    def _camera_of(self, data: mujoco.MjData, camera: mujoco.MjvCamera) -> Any:
        seen = mujoco.mjv_camera2GLCamera(self._model, data, camera)
        return self._mjrf.Camera(
            pos=seen.pos, forward=seen.forward, up=seen.up,
            frustum_bottom=seen.frustum_bottom, frustum_top=seen.frustum_top,
            frustum_near=seen.frustum_near, frustum_far=seen.frustum_far,
        )  # fmt: skip


@cache
def check_filament() -> None:
    """Draw a red ball before a blue background, and look at it; in a process that may be aborted.

    Raises:
        FilamentError: It cannot be drawn, or looks otherwise; the message names the packages to install.
    """
    command = [sys.executable, "-c", f"from {__name__} import draw_ball; draw_ball()"]
    try:
        drawn = subprocess.run(command, capture_output=True, text=True, timeout=SELF_TEST_SECONDS)
    except subprocess.TimeoutExpired:
        raise FilamentError(f"the self-test took more than {SELF_TEST_SECONDS} s") from None
    if drawn.returncode:
        said = [line for line in drawn.stderr.splitlines() if line.strip()]
        raise FilamentError(said[-1] if said else ending(drawn.returncode))


def draw_ball() -> None:
    """Draw a red ball before blue, and exit with what is wrong with the picture, if something is.

    The verdict is the exit status: what Filament prints comes before, after or between what Python prints.
    """
    model = mujoco.MjModel.from_xml_string(BALL)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    screen = FilamentScreen(model, 32, 32, quiet=False)
    screen.add_view(fixed_camera(0), (0, 0, 32, 32))
    picture = screen.draw(data, (0.0, 0.0, 1.0), shadows=False)
    screen.close()
    centre, corner = picture[16, 16].tolist(), picture[1, 1].tolist()
    if not (centre[0] > 100 > centre[2] and corner[2] > 100 > corner[0]):
        sys.exit(f"the self-test drew rgb {centre} for a red ball and {corner} for a blue background")


BALL = """<mujoco><worldbody>
  <light pos="0 0 3" dir="0 0 -1" intensity="100000"/>
  <camera pos="0 0 2"/>
  <geom type="sphere" size=".4" rgba="1 0 0 1"/>
</worldbody></mujoco>"""

SELF_TEST_SECONDS = 60


def _import_filament() -> tuple[Any, Any]:
    try:
        importlib.import_module("mujoco.studio.window")  # registers the shaders
        from mujoco import mjrf
        from mujoco.rendering.filament import model_scene
    except ImportError as error:
        raise FilamentError(str(error)) from error
    return mjrf, model_scene


@contextmanager
def _silence() -> Iterator[None]:
    """With what native code prints going nowhere; it writes to the descriptors, not to Python's streams."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        yield
    finally:
        for descriptor, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(nowhere)


def _linear(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """What to clear with so that, through exposure and tone mapping, about ``colour`` is shown."""
    return 0.45 * colour**2.2
