"""The edges of the object lie where the renderer puts it, for every task."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dactyl_tl.contract import CAMERAS, PICTURE_SIZE
from dactyl_tl.rendering.classic_cameras import ClassicCameras
from dactyl_tl.rendering.objects import keypoints, look_of
from dactyl_tl.simulation.scene import TASKS
from dactyl_tl.vision.overlay import ENLARGED, PREDICTION, draw_poses
from dactyl_tl.vision.poses import object_pose
from dactyl_tl.vision.states import gather


@pytest.mark.parametrize("task", TASKS)
def test_edges_are_drawn_where_the_object_is(task: str) -> None:
    qpos = gather(None, {"task": task}, count=2, every=10, num_envs=2, seed=3).qpos
    corners = keypoints(look_of(TASKS[task].object_name))[1:]
    pictures, seen = [], []
    with ClassicCameras(task) as cameras:
        for state in qpos.double().numpy():
            pictures.append(cameras.render(state))
            seen.append(cameras.project(corners))
    sheet = draw_poses(torch.from_numpy(np.stack(pictures)), None, object_pose(qpos), task).numpy()
    size = ENLARGED * PICTURE_SIZE
    assert sheet.shape == (len(qpos) * size, len(CAMERAS) * size, 3)
    for row, places in enumerate(seen):
        for column, place in enumerate(places):
            view = sheet[row * size : (row + 1) * size, column * size : (column + 1) * size]
            drawn = np.argwhere((view == PREDICTION).all(-1))[:, ::-1]
            expected = size / 2 * (1 + place)
            np.testing.assert_allclose(drawn.min(0), expected.min(0), atol=2.5)
            np.testing.assert_allclose(drawn.max(0), expected.max(0), atol=2.5)
