"""The picture of the hand in the README: ``python -m dactyl_tl.rendering.picture docs/images/hand.png``.

The light is soft because the picture is the mean of many, each lit from another point of a large lamp.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dactyl_tl.rendering.classic import HandRenderer, View
from dactyl_tl.rendering.offscreen import RendererError
from dactyl_tl.rendering.scene import KEY_LIGHT

SIZE = (1000, 600)
"""Pixels."""

VIEW = View((0.985, 0.955, 0.170), 0.37, 68.0, -38.0)

LAMP_RADIUS = 0.16
"""Half the lamp's edge, m."""

LAMP_POINTS = 64

# fmt: off
HOLDING = (
    -0.049, 0.056, -0.017, 0.544, 0.572, 0.572, -0.048, 0.557, 0.554, 0.554, 0.152, 0.044, 0.532, 0.532,
    0.009, -0.081, 0.305, 0.710, 0.710, 0.463, 0.970, 0.053, 0.099, -0.663,
    0.999, 0.856, 0.202, 0.684, -0.563, 0.453, 0.097,
)
# fmt: on
"""A state of the simulation (qpos) in which the hand holds the block between thumb and fingers."""


def draw() -> NDArray[np.uint8]:
    """The picture, (height, width, 3).

    Raises:
        RendererError: There is no working OpenGL; the message names the packages to install.
    """
    width, height = SIZE
    with HandRenderer("block", width=width, height=height, view=VIEW) as renderer:
        lamp = renderer.model.light("key").id
        mean = np.zeros((height, width, 3))
        for offset in _lamp_points():
            renderer.model.light_pos[lamp] = np.add(KEY_LIGHT, offset)
            mean += renderer.render(HOLDING) / LAMP_POINTS
    return np.round(mean).astype(np.uint8)


def _lamp_points() -> NDArray[np.float64]:
    """Points of a level, square lamp, evenly spread without a grid's pattern, m: (LAMP_POINTS, 3)."""
    index = np.arange(LAMP_POINTS)
    # The R2 sequence (Roberts 2018), from the plastic number's powers
    plastic = 1.324717957244746
    spread = np.stack((index / plastic, index / plastic**2), axis=1) % 1.0 * 2.0 - 1.0
    return np.concatenate((LAMP_RADIUS * spread, np.zeros((LAMP_POINTS, 1))), axis=1)


def main() -> None:
    """Read the command line, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("path", type=Path, nargs="?", default=Path("docs/images/hand.png"))
    path = parser.parse_args().path
    try:
        picture = draw()
    except RendererError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, optimize=True)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
