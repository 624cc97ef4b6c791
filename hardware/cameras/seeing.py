"""From a triple to what a pose estimator takes, which has to be what it learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.contract import CAMERAS, PICTURE_SIZE
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators.bundles import PoseEstimator
from dactyl_tl.models.pictures import crop_and_scale
from hardware.cameras.frames import HEIGHT, WIDTH, Triple

OURS: Mapping[str, Any] = {"picture": [WIDTH, HEIGHT], "crop": "central square", "size": PICTURE_SIZE}
"""What is done to the pictures of each camera, in the words of an estimator's description."""


def estimator_pictures(triple: Triple) -> NDArray[np.uint8]:
    """A triple as :class:`~dactyl_tl.estimators.bundles.PoseEstimator` takes it: (1, 3, 200, 200, 3)."""
    return crop_and_scale(triple.pictures, PICTURE_SIZE)[None]


def check_estimator(estimator: PoseEstimator) -> None:
    """See that an estimator learnt from pictures such as these.

    Where the cameras have to stand, and their lenses, is the calibration's business.

    Raises:
        ConfigurationError: It did not; the message names every difference.
    """
    if found := differences(estimator.description):
        raise ConfigurationError(f"the pose estimator cannot be used with these cameras: {'; '.join(found)}")


def differences(description: Mapping[str, Any]) -> list[str]:
    """What an estimator's description says of its pictures that is otherwise here."""
    cameras = description.get("cameras")
    if not isinstance(cameras, list) or not all(isinstance(each, Mapping) for each in cameras):
        return ["its description does not say which cameras it learnt from"]
    found = []
    names = [each.get("name") for each in cameras]
    if names != list(CAMERAS):
        found.append(
            f"its cameras are {', '.join(map(str, names))}, ours {', '.join(CAMERAS)}, in this order"
        )
    for camera in cameras:
        found.extend(
            f"{key} of {camera.get('name')} is {camera.get(key)!r}, ours {ours!r}"
            for key, ours in OURS.items()
            if camera.get(key) != ours
        )
    return found
