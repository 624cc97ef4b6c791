"""Where the simulated cameras are: what an estimator's bundle says of the pictures it learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np

from dactyl_tl.contract import CAMERAS, PICTURE_SIZE
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.scene import SENSOR_HEIGHT, SENSOR_WIDTH, build_scene


def camera_calibration() -> list[dict[str, Any]]:
    """Each camera as the simulation has it: hand-base frame, wxyz, looking along its own -z, y up."""
    model = build_scene().model
    calibrated = []
    for name in CAMERAS:
        camera = model.camera(name)
        calibrated.append(
            {
                "name": name,
                "position": np.subtract(camera.pos, MOUNT_POSITION).round(6).tolist(),
                "orientation": camera.quat.round(6).tolist(),
                "vertical_fov_degrees": round(float(model.cam_fovy[camera.id]), 6),
                "picture": [SENSOR_WIDTH, SENSOR_HEIGHT],
                "crop": "central square",
                "size": PICTURE_SIZE,
            }
        )
    return calibrated
