"""What the estimator is given is what it learnt from, or it is refused."""

import copy

import numpy as np
import pytest

from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators import shipped_estimators
from dactyl_tl.estimators.bundles import PoseEstimator, load_estimator
from dactyl_tl.models.pictures import crop_and_scale
from hardware.cameras.frames import Frame, Triple
from hardware.cameras.seeing import check_estimator, estimator_pictures


@pytest.fixture(scope="module")
def estimator():
    return load_estimator("block")


def test_pictures_are_the_middle_square_scaled_down_in_the_order_of_the_cameras():
    frames = []
    for number, camera in enumerate(CAMERAS):
        picture = np.full((480, 640, 3), 255, np.uint8)
        picture[:, 80:560] = 40 * (number + 1)
        picture[:240, 80:320] = 10 * (number + 1)
        frames.append(Frame(camera, picture, 0, 0, 0))
    pictures = estimator_pictures(Triple(tuple(frames)))
    assert pictures.shape == (1, 3, 200, 200, 3)
    assert pictures.dtype == np.uint8
    for number in range(3):
        assert (pictures[0, number, :100, :100] == 10 * (number + 1)).all()
        assert (pictures[0, number, 100:] == 40 * (number + 1)).all()
        assert (pictures[0, number, :, 100:] == 40 * (number + 1)).all()


def test_crop_and_scale_are_those_of_training(texture, frame):
    frames = tuple(frame(camera, 0, number) for number, camera in enumerate(CAMERAS))
    pictures = estimator_pictures(Triple(frames))
    assert np.array_equal(pictures[0, 1], crop_and_scale(frames[1].picture))


def test_an_estimator_takes_them(estimator, frame):
    triple = Triple(tuple(frame(camera, 0) for camera in CAMERAS))
    position, orientation = estimator(estimator_pictures(triple))
    assert position.shape == (1, 3)
    assert orientation.shape == (1, 4)


@pytest.mark.parametrize("name", shipped_estimators())
def test_the_estimators_that_come_with_the_package_fit(name):
    check_estimator(load_estimator(name))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("crop", "none", "crop of camera:front is 'none', ours 'central square'"),
        ("size", 100, "size of camera:front is 100, ours 200"),
        ("picture", [1280, 1024], r"picture of camera:front is \[1280, 1024\], ours \[640, 480\]"),
        ("name", "camera:top", "its cameras are camera:left, camera:top, camera:right, ours camera:left"),
    ],
)
def test_an_estimator_of_other_pictures_is_refused(estimator, key, value, words):
    description = copy.deepcopy(estimator.description)
    description["cameras"][1][key] = value
    with pytest.raises(ConfigurationError, match=words):
        check_estimator(PoseEstimator(estimator.network, description))


def test_an_estimator_of_another_order_is_refused(estimator):
    description = copy.deepcopy(estimator.description)
    description["cameras"].reverse()
    with pytest.raises(ConfigurationError, match="camera:right, camera:front, camera:left, ours"):
        check_estimator(PoseEstimator(estimator.network, description))


@pytest.mark.parametrize("cameras", [None, "three", [1, 2, 3]])
def test_an_estimator_that_does_not_say_is_refused(estimator, cameras):
    description = {**estimator.description, "cameras": cameras}
    with pytest.raises(ConfigurationError, match="does not say"):
        check_estimator(PoseEstimator(estimator.network, description))
