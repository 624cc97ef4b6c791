"""An OpenGL context without a window, and a test that it really draws.

On Linux the context is EGL's, which Mesa provides on machines without a GPU; ``MUJOCO_GL`` overrides
it as everywhere in MuJoCo. A context that cannot be had, or that draws black, is an error that names
the packages to install, never a black picture.
"""

from __future__ import annotations

import os
import platform
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from dactyl_tl.rendering.closing import Closing

DEBIAN_PACKAGES = ("libegl1", "libopengl0", "libgl1-mesa-dri")
"""What EGL rendering on a CPU needs on Debian and Ubuntu (Mesa's software rasteriser)."""

MAX_GEOMS = 2000


class RendererError(RuntimeError):
    """No working OpenGL: the message says what was tried and what to install."""

    def __str__(self) -> str:  # not of __init__: what is raised in another process comes as its arguments
        backend = os.environ.get("MUJOCO_GL") or ("egl" if platform.system() == "Linux" else "default")
        return (
            f"Cannot render: {self.args[0]} (backend {backend!r}, chosen by MUJOCO_GL). Without a GPU "
            f"install, on Debian or Ubuntu: apt-get install {' '.join(DEBIAN_PACKAGES)}"
        )


class Offscreen(Closing):
    """Draws a model's scenes into arrays. Use it from one thread, and close it.

    Args:
        model: The model to draw; its ``vis.global_.offwidth`` and ``offheight`` bound the picture.
        width: Picture width, pixels.
        height: Picture height, pixels.

    Raises:
        ValueError: The picture is empty or larger than the model's off-screen buffer.
        RendererError: There is no working OpenGL.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        limit = model.vis.global_.offwidth, model.vis.global_.offheight
        if not (0 < width <= limit[0] and 0 < height <= limit[1]):
            raise ValueError(
                f"picture size must be within 1x1 and {limit[0]}x{limit[1]}, got {width}x{height}"
            )
        self._context: Any = None
        self._drawing: mujoco.MjrContext | None = None
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._context = _open_context(width, height)
        self.scene = mujoco.MjvScene(model, MAX_GEOMS)
        try:
            self._drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._drawing)
        except mujoco.FatalError as error:
            self.close()
            raise RendererError(str(error)) from error

    def draw(self) -> NDArray[np.uint8]:
        """Draw :attr:`scene`: (height, width, 3), top row first."""
        self.draw_part(self._rectangle)
        return self.read()

    def draw_part(self, part: mujoco.MjrRect) -> None:
        """Draw :attr:`scene` into a part of the picture, which is read when all parts are drawn."""
        mujoco.mjr_render(part, self.scene, self._current())

    def read(self) -> NDArray[np.uint8]:
        """The picture as drawn so far: (height, width, 3), top row first."""
        mujoco.mjr_readPixels(self._pixels, None, self._rectangle, self._current())
        return self._pixels[::-1].copy()

    def load_texture(self, model: mujoco.MjModel, texture: int) -> None:
        """Draw with the texture's data as they now stand in ``model``."""
        mujoco.mjr_uploadTexture(model, self._current(), texture)

    def _current(self) -> mujoco.MjrContext:
        if self._drawing is None:
            raise RuntimeError("the renderer is closed")
        self._context.make_current()
        return self._drawing

    def close(self) -> None:
        """Free the context; closing twice is fine."""
        if self._context is not None:
            self._context.make_current()
            if self._drawing is not None:
                self._drawing.free()
            self._context.free()
        self._context = self._drawing = None


def check_renderer() -> None:
    """Draw a red ball before a blue sky and look at the pixels.

    Raises:
        RendererError: There is no working OpenGL, or it draws something else.
    """
    spec = mujoco.MjSpec()
    spec.visual.quality.offsamples = 0
    spec.visual.headlight.ambient = (1.0, 1.0, 1.0)
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=(0, 0, 1), rgb2=(0, 0, 1), width=8, height=8,
    )  # fmt: skip
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(0.3, 0, 0), rgba=(1, 0, 0, 1))
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    camera = mujoco.MjvCamera()
    camera.distance = 1.5
    with Offscreen(model, 64, 64) as screen:
        mujoco.mjv_updateScene(
            model, data, mujoco.MjvOption(), None, camera, mujoco.mjtCatBit.mjCAT_ALL, screen.scene
        )
        picture = screen.draw()
    corner, centre = picture[2, 2].astype(int), picture[32, 32].astype(int)
    if not (centre[0] > 128 > centre[2] and corner[2] > 128 > corner[0]):
        raise RendererError(
            f"the self-test drew rgb {centre.tolist()} for a red ball and {corner.tolist()} for a blue sky"
        )


def _open_context(width: int, height: int) -> Any:
    try:
        if platform.system() == "Linux" and not os.environ.get("MUJOCO_GL"):
            # mujoco reads MUJOCO_GL once, when first imported, and would open a window without it.
            from mujoco.egl import GLContext
        else:
            from mujoco.gl_context import GLContext
        context = GLContext(width, height)
        context.make_current()
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        # PyOpenGL raises AttributeError where a library is missing
        raise RendererError(f"{type(error).__name__}: {error}") from error
    return context
