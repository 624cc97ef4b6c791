"""Poses drawn on pictures: the object's edges, the truth in white and the prediction in colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.contract import CAMERAS
from dactyl_tl.rendering.objects import look_of
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.scene import TASKS, build_scene

TRUTH, PREDICTION = (255, 255, 255), (255, 40, 200)

ENLARGED = 2
"""Pictures are shown this many times larger, so that lines are thin."""

Pose = tuple[Tensor, Tensor]
"""Position (n, 3) m and orientation (n, 4), hand-base frame."""


def draw_poses(pictures: Tensor, truth: Pose | None, prediction: Pose, task: str = "block") -> Tensor:
    """A sheet with a row for each set and a column for each camera: uint8 (height, width, 3).

    The cameras are taken to be where they are calibrated to be: where theirs were moved, as in randomised
    pictures, the edges of the truth are off by as much.

    Args:
        pictures: (n, cameras, height, width, 3), uint8.
        truth: None where it is not known.
        prediction: to draw.
        task: whose object it is.
    """
    rows = []
    for number, row in enumerate(pictures):
        views = []
        for camera, picture in zip(CAMERAS, row.numpy(), strict=True):
            image = Image.fromarray(picture).resize([ENLARGED * edge for edge in picture.shape[1::-1]])
            draw = ImageDraw.Draw(image)
            for pose, colour in ((truth, TRUTH), (prediction, PREDICTION)):
                if pose is not None:
                    _outline(draw, camera, task, pose[0][number], pose[1][number], colour, image.width)
            views.append(np.asarray(image))
        rows.append(np.concatenate(views, axis=1))
    return torch.from_numpy(np.concatenate(rows))


def _outline(
    draw: ImageDraw.ImageDraw,
    camera: str,
    task: str,
    position: Tensor,
    orientation: Tensor,
    colour: tuple[int, int, int],
    size: int,
) -> None:
    seat = _seats()[camera]
    for corners in look_of(TASKS[task].object_name).corners:
        points = rotations.rotate(orientation.double().expand(len(corners), 4), torch.from_numpy(corners))
        world = points.numpy() + position.double().numpy() + np.asarray(MOUNT_POSITION)
        seen = (world - seat.position) @ seat.axes
        flat = seen[:, :2] / (-seat.slope * seen[:, 2:]) * (1, -1)
        line = [tuple(size / 2 * (1 + each)) for each in (*flat, flat[0])]
        draw.line(line, fill=colour, width=2)


@dataclass(frozen=True)
class _Seat:
    """Where a camera is in the world, and the tangent of half its field of view."""

    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    slope: float


@cache
def _seats() -> dict[str, _Seat]:
    model = build_scene().model
    seats = {}
    for name in CAMERAS:
        camera = model.camera(name)
        axes = np.empty(9)
        mujoco.mju_quat2Mat(axes, camera.quat)
        slope = math.tan(math.radians(float(model.cam_fovy[camera.id])) / 2)
        seats[name] = _Seat(camera.pos.copy(), axes.reshape(3, 3), slope)
    return seats
