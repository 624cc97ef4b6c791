"""What may be used of what cameras deliver, and what a person is told otherwise."""

import threading

import numpy as np
import pytest

from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from hardware.cameras.frames import Frame
from hardware.cameras.intake import DARK, FAILED, REPEATED, Intake, Limits
from hardware.errors import HardwareError

MS = 1_000_000
LEFT, FRONT, RIGHT = CAMERAS
START = 5000.0
"""Of the host's clock, ms."""


@pytest.fixture
def intake():
    return Intake(Limits())


@pytest.fixture
def show(intake, frame):
    """``show(time_ms, number)``: all cameras deliver a frame, but for those left out."""

    def deliver(time_ms: float, number: int, without: str = ""):
        for camera in CAMERAS:
            if camera != without:
                intake.add(frame(camera, START + time_ms, number))

    return deliver


def look(intake, time_ms: float):
    return intake.latest(round((START + time_ms) * MS))


def test_a_triple_may_be_used_until_the_age_limit_and_not_a_nanosecond_longer(intake, show):
    show(0, 1)
    assert look(intake, 80).triple is not None
    triple, reason = intake.latest(round((START + 80) * MS) + 1)
    assert triple is None
    for camera in CAMERAS:
        assert f"{camera} has shown nothing new for 80.0 ms" in reason


def test_the_newest_triple_is_offered(intake, show, read_tag):
    for number in range(5):
        show(40 * number, number)
    triple = look(intake, 165).triple
    assert [read_tag(picture) for picture in triple.pictures] == [(0, 4), (1, 4), (2, 4)]


@pytest.mark.parametrize("now_ns", [0, 10**18])
def test_before_anything_has_come_the_reason_says_so(intake, now_ns):
    assert intake.latest(now_ns).reason == "; ".join(f"{camera} has delivered nothing" for camera in CAMERAS)


def test_one_silent_camera_is_named_and_the_others_are_not(intake, show):
    show(0, 1)
    for number in range(2, 5):
        show(40 * number, number, without=FRONT)
    triple, reason = look(intake, 165)
    assert triple is None
    assert reason == f"{FRONT} has shown nothing new for 165.0 ms"


def test_a_frozen_camera_is_silent_though_its_numbers_and_times_go_on(intake, show, frame):
    show(0, 1)
    for number in range(2, 6):
        show(40 * number, number, without=RIGHT)
        intake.add(frame(RIGHT, START + 40 * number, 1, sequence=number))
    triple, reason = look(intake, 205)
    assert triple is None
    assert reason == f"{RIGHT} has shown nothing new for 205.0 ms (4 repeated)"
    assert intake.report().dropped[RIGHT] == {REPEATED: 4}
    show(240, 6)
    assert look(intake, 245).triple is not None


def test_a_number_that_was_there_before_is_not_used_again(intake, show, frame):
    show(0, 7)
    intake.add(frame(LEFT, START + 40, 8, sequence=7))
    intake.add(frame(LEFT, START + 41, 9, sequence=3))
    assert intake.report().dropped[LEFT] == {REPEATED: 2}
    intake.restart(LEFT)
    intake.add(frame(LEFT, START + 42, 10, sequence=0))
    assert intake.report().taken[LEFT] == 2


@pytest.mark.parametrize(("mean", "used"), [(7.9, False), (8.1, True)])
def test_a_covered_camera_is_silent(intake, show, mean, used):
    random = np.random.default_rng(0)
    show(0, 1, without=LEFT)
    picture = (random.random((480, 640, 3)) * 2 * mean).round().astype(np.uint8)
    assert abs(picture.mean() - mean) < 0.05
    intake.add(Frame(LEFT, picture, round(START * MS), 0, 1))
    triple, reason = look(intake, 5)
    assert (triple is not None) == used
    if not used:
        assert reason == f"{LEFT} has delivered nothing (1 {DARK})"


def test_cameras_that_run_freely_are_told_apart_from_silent_ones(intake, frame):
    for number in range(4):
        for camera, off in zip(CAMERAS, (0, 13, 26), strict=True):
            intake.add(frame(camera, START + 40 * number + off, number))
    triple, reason = look(intake, 150)
    assert triple is None
    assert "the cameras' newest lie 26.0 ms apart, more than 2.0 ms" in reason


def test_pictures_of_the_future_are_refused(intake, show):
    show(0, 1)
    assert look(intake, -2).triple is not None
    triple, reason = look(intake, -30)
    assert triple is None
    assert reason == "pictures are dated 30.0 ms ahead of the host's clock"


def test_after_a_failure_looking_raises_what_failed_first(intake, show):
    show(0, 1)
    intake.fail("camera:left was disconnected")
    intake.fail("camera:left failed")
    with pytest.raises(HardwareError, match="camera:left was disconnected"):
        look(intake, 1)


def test_counts_hold_when_all_cameras_deliver_at_once(intake, tagged):
    def deliver(camera: str):
        for number in range(100):
            intake.add(Frame(camera, tagged(camera, number), (number + 1) * 10 * MS, 0, number))
            intake.drop(camera, FAILED)

    threads = [threading.Thread(target=deliver, args=(camera,)) for camera in CAMERAS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = intake.report()
    assert report.taken == dict.fromkeys(CAMERAS, 100)
    assert all(report.dropped[camera][FAILED] == 100 for camera in CAMERAS)
    unmatched = {
        camera: 100 - report.triples - report.dropped[camera].get("unmatched", 0) for camera in CAMERAS
    }
    assert all(0 <= waiting <= 9 for waiting in unmatched.values()), "80 ms hold 9 frames"


@pytest.mark.parametrize(
    "values", [{"tolerance": 0.0}, {"tolerance": 0.1}, {"age": 0.001}, {"darkness": 255}, {"darkness": -1}]
)
def test_limits_that_cannot_be_used(values):
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        Limits(**values)


@pytest.mark.parametrize("picture", [np.zeros((640, 480, 3), np.uint8), np.zeros((480, 640, 3), np.float32)])
def test_a_frame_is_a_picture_of_the_cameras_size(picture):
    with pytest.raises(ValueError, match="expected uint8"):
        Frame(LEFT, picture, 0, 0, 0)


def test_a_frame_is_of_a_known_camera(texture):
    with pytest.raises(ValueError, match="camera:left, camera:front, camera:right"):
        Frame("left", texture, 0, 0, 0)
