"""Emulated Basler cameras for all tests of this folder, and pictures that tell which one they are."""

import os
import time

os.environ["PYLON_CAMEMU"] = "3"  # read when pypylon is imported

import numpy as np
import pytest

from dactyl_tl.contract import CAMERAS
from hardware.cameras.frames import Frame

PATIENCE = 30.0
"""Seconds that a slow, loaded machine is given."""


@pytest.fixture(scope="session")
def texture():
    return np.random.default_rng(0).integers(40, 200, (480, 640, 3), np.uint8)


@pytest.fixture(scope="session")
def tagged(texture):
    """``tagged(camera, number)``: a picture that shows both in its upper left corner, exactly."""

    def make(camera: str, number: int):
        picture = texture.copy()
        picture[:40, :40] = (20 + CAMERAS.index(camera), number // 200, number % 200)
        return picture

    return make


@pytest.fixture(scope="session")
def read_tag():
    """``read_tag(picture)``: the number of the camera and of the picture."""

    def read(picture):
        camera, high, low = (int(value) for value in picture[5, 5])
        return camera - 20, 200 * high + low

    return read


@pytest.fixture(scope="session")
def frame(tagged):
    """``frame(camera, time_ms, number)``"""

    def make(camera: str, time_ms: float, number: int = 0, sequence: int | None = None):
        given = number if sequence is None else sequence
        return Frame(camera, tagged(camera, number), round(time_ms * 1e6), 0, given)

    return make


@pytest.fixture(scope="session")
def until():
    """``until(function)``: what it returns as soon as that is true."""

    def wait(function, patience: float = PATIENCE):
        given_up = time.monotonic() + patience
        while not (result := function()):
            assert time.monotonic() < given_up, f"nothing came of {function} in {patience} s"
            time.sleep(0.005)
        return result

    return wait
