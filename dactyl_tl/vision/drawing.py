"""Sets of pictures drawn on demand: a renderer, looks drawn anew for each set, and the object's pose."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dactyl_tl.contract import CAMERAS
from dactyl_tl.randomization.appearance import AppearanceRandomization
from dactyl_tl.rendering.cameras import Cameras
from dactyl_tl.rendering.classic_cameras import ClassicCameras
from dactyl_tl.rendering.filament import FilamentCameras, check_filament
from dactyl_tl.rendering.objects import keypoints, look_of
from dactyl_tl.rendering.offscreen import check_renderer
from dactyl_tl.rendering.scene import MATERIALS
from dactyl_tl.simulation.scene import TASKS

RENDERERS = ("filament", "classic")

HELD_OUT = {
    "filament": ("filament", True),
    "classic": ("classic", False),
    "classic_randomized": ("classic", True),
}
"""Kinds of pictures to measure with: the renderer, and whether looks are drawn anew. The first is what
estimators learn from, the second the other renderer as it is, the third that one in unknown light."""

VALIDATIONS = ("filament", "classic")
"""Of :data:`HELD_OUT`, what training is measured on."""


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn, to be carried to another process.

    Attributes:
        task: Key of :data:`dactyl_tl.simulation.scene.TASKS`.
        renderer: One of :data:`RENDERERS`.
        randomized: Whether looks are drawn anew for each set; otherwise they are nominal.
        look: Of the object, one of :data:`dactyl_tl.rendering.objects.KINDS`.
        ranges: Of the looks that are drawn anew.

    Raises:
        ValueError: Unknown renderer.
    """

    task: str = "block"
    renderer: str = "filament"
    randomized: bool = True
    look: str = "lettered"
    ranges: AppearanceRandomization = field(default_factory=AppearanceRandomization)

    def __post_init__(self) -> None:
        if self.renderer not in RENDERERS:
            raise ValueError(f"Unknown renderer {self.renderer!r}; choose from {', '.join(RENDERERS)}.")

    def open(self) -> Artist:
        """Start the renderer in this process. Raises what the renderer raises."""
        return Artist(self)


def held_out(task: str, pictures: str, look: str) -> Drawing:
    """How ``pictures``, one of :data:`HELD_OUT`, are drawn; the rest as of :class:`Drawing`."""
    renderer, randomized = HELD_OUT[pictures]
    return Drawing(task, renderer, randomized=randomized, look=look)


def check_renderers() -> None:
    """See that both of :data:`RENDERERS` draw, before something begins that needs them for long.

    Raises:
        RendererError: One does not; the message names the packages to install.
    """
    check_renderer()
    check_filament()


class Artist:
    """Draws sets of pictures. Use it from one thread, and close it."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._keypoints = keypoints(look_of(TASKS[drawing.task].object_name))
        self._cameras: Cameras = (
            FilamentCameras(drawing.task, look=drawing.look)
            if drawing.renderer == "filament"
            else ClassicCameras(drawing.task, look=drawing.look)
        )

    def draw(self, qpos: Tensor, generator: torch.Generator) -> tuple[NDArray[np.uint8], Tensor]:
        """Draw states ``qpos`` (n, 31).

        Returns:
            pictures (n, cameras, height, width, 3), and where the object's keypoints are in them, -1 to 1 to
            the right and downwards, (n, cameras, k, 2).
        """
        pictures, points = [], []
        for state in qpos.double().numpy():
            pictures.append(self._draw_one(state, generator))
            points.append(self._cameras.project(self._keypoints))
        return np.stack(pictures), torch.from_numpy(np.stack(points)).float()

    def _draw_one(self, qpos: NDArray[np.float64], generator: torch.Generator) -> NDArray[np.uint8]:
        ranges = self._drawing.ranges
        appearance = (
            ranges.sample(len(CAMERAS), len(MATERIALS), generator) if self._drawing.randomized else None
        )
        return self._cameras.render(qpos, appearance)

    def close(self) -> None:
        """Free the renderer."""
        self._cameras.close()


def one_thread_each() -> None:
    """Have software rendering of this process use one thread: a process for each core is a third faster."""
    os.environ.setdefault("LP_NUM_THREADS", "1")
    torch.set_num_threads(1)
