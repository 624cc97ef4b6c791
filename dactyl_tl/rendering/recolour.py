"""The object's texture in other hues, saturations and values (Table 9)."""

from __future__ import annotations

import mujoco
import numpy as np
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from numpy.typing import NDArray


class Recolour:
    """Writes a texture of a model in changed colours.

    Args:
        model: Whose texture data is written.
        texture: Its name.

    Attributes:
        texture: Its id.
    """

    def __init__(self, model: mujoco.MjModel, texture: str) -> None:
        named = model.texture(texture)
        self.texture = int(named.id)
        self.shape = int(named.height[0]), int(named.width[0]), int(named.nchannel[0])
        self._pixels = model.tex_data[named.adr[0] : named.adr[0] + np.prod(self.shape)]
        colours, self._index = np.unique(self._pixels.reshape(-1, self.shape[2]), axis=0, return_inverse=True)
        self._hsv = rgb_to_hsv(colours / 255.0)
        self._last = 0.0, 1.0, 1.0

    def __call__(self, hue: float, saturation: float, value: float) -> bool:
        """Write the texture with ``hue`` turns added, saturation and value multiplied; whether it changed."""
        if (hue, saturation, value) == self._last:
            return False
        h, s, v = self._hsv.T
        changed = np.stack(((h + hue) % 1.0, np.clip(s * saturation, 0, 1), np.clip(v * value, 0, 1)), axis=1)
        self._pixels[:] = np.rint(255 * hsv_to_rgb(changed)).astype(np.uint8)[self._index.ravel()].ravel()
        self._last = hue, saturation, value
        return True

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The texture as it is now, (height, width, channels)."""
        return self._pixels.reshape(self.shape)
