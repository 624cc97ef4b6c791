"""Fingertips and object as the world sees them: scripted frames and pictures, the real tracker."""

import time
from dataclasses import replace

import numpy as np
import pytest

from dactyl_tl.contract import CAMERAS
from dactyl_tl.estimators.bundles import load_estimator
from hardware.cameras.frames import HEIGHT, WIDTH, Look, Triple
from hardware.cameras.frames import Frame as CameraFrame
from hardware.capture.tracker import Tracker
from hardware.errors import HardwareError
from hardware.senses import CameraSenses, MarkerSenses
from tests.hardware.capture.lab import FINGERTIPS, IDS, MS, OBJECT, RIG, Scene, pose, show

PERIOD = 4 * MS


class Frames:
    """A motion-capture system that sends what it is given, as of now.

    Attributes:
        scene, lost: what it sees from now on.
    """

    name = "scripted"

    def __init__(self) -> None:
        self.scene, self.lost, self.sending = Scene(), (), True
        self._number = 0
        self._next = time.monotonic_ns()
        self.closed = False

    def poll(self):
        frames = []
        while self._next <= time.monotonic_ns():
            self._number += 1
            if self.sending:
                frame = show(self.scene.markers(), self._number, rate=1e9 / PERIOD, lost=self.lost)
                frames.append(replace(frame, received_ns=self._next))
            self._next += PERIOD
        return frames

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def frames():
    return Frames()


@pytest.fixture
def senses(frames):
    return MarkerSenses(frames, Tracker(RIG))


def look_for(senses, seconds: float):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        senses.pump()
        time.sleep(0.004)
    return senses.look()


def test_what_is_there_is_seen_in_the_hands_frame(senses):
    sight = look_for(senses, 0.1)
    assert sight.missing == sight.held == ()
    assert np.allclose(sight.fingertips, FINGERTIPS, atol=1e-4)
    assert np.allclose(sight.object_position, OBJECT.position, atol=1e-4)
    w, *xyz = sight.object_orientation
    assert np.allclose([*xyz, w], OBJECT.rotation.as_quat(canonical=True), atol=1e-4)
    assert 0 <= sight.age_ns < 2_000 * MS
    assert sight.triple is None


def test_before_the_first_frame_everything_is_missing(senses, frames):
    frames.sending = False
    sight = senses.look()
    assert sight.fingertips is None
    assert "stream not tracked" in sight.missing


def test_a_lost_finger_is_held_and_then_missing_by_its_name(senses, frames):
    look_for(senses, 0.1)
    frames.lost = (IDS["rf"],)
    deadline, seen = time.monotonic() + 30, set()
    while time.monotonic() < deadline:
        sight = senses.look()
        seen |= set(sight.held)
        if sight.missing:
            break
        time.sleep(0.004)
    assert seen == {"rf"}
    assert sight.missing == ("rf not tracked",)
    assert np.allclose(sight.fingertips, FINGERTIPS, atol=1e-4), "its last reading"


def test_a_lost_object_is_missing_under_a_name_that_the_world_knows(senses, frames):
    look_for(senses, 0.1)
    frames.lost = tuple(RIG.object_markers)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not senses.look().missing:
        time.sleep(0.004)
    missing = senses.look().missing
    assert missing == ("object not tracked",)
    assert missing[0].startswith("object"), "see HandWorld._look"


def test_a_stream_that_ends_is_missing_and_its_age_grows(senses, frames):
    look_for(senses, 0.1)
    frames.sending = False
    sight = look_for(senses, 0.6)
    assert "stream not tracked" in sight.missing
    assert sight.age_ns > 400 * MS


def test_after_a_reset_nothing_is_left_of_what_was_seen(senses, frames):
    look_for(senses, 0.1)
    frames.scene = replace(frames.scene, object=pose((1.0, 0.3, -0.7), (0.0, -0.36, 0.05)))
    senses.reset()
    sight = look_for(senses, 0.1)
    assert sight.missing == ()
    assert np.allclose(sight.object_position, (0.0, -0.36, 0.05), atol=1e-4)
    senses.close()
    assert frames.closed


def test_a_hand_base_that_moved_is_missing_with_how_far(frames):
    moved = Scene().markers()
    rig = replace(RIG, reference_positions=np.array([moved[id_] for id_ in RIG.references]))
    senses = MarkerSenses(frames, Tracker(rig))
    assert look_for(senses, 0.1).missing == ()
    shifted = frames.scene.lab
    frames.scene = replace(
        frames.scene, lab=type(shifted)(shifted.rotation, shifted.position + np.array([0.02, 0.0, 0.0]))
    )
    senses.reset()
    (said,) = look_for(senses, 0.3).missing
    assert said == "hand base moved by 20.0 mm"


# Cameras


class Pictures:
    """Cameras that show grey pictures while they are showing any, each a moment old.

    Attributes:
        age_ns: of the pictures.
    """

    def __init__(self) -> None:
        self.opened = self.closed = self.showing = False
        self.age_ns = 0

    def open(self) -> None:
        self.opened = True

    def latest(self, now_ns: int) -> Look:
        return Look(triple(self.age_ns), "") if self.showing else Look(None, "no pictures")

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def estimator():
    return load_estimator("block")


@pytest.fixture
def seeing(frames, estimator):
    cameras = Pictures()
    return CameraSenses(MarkerSenses(frames, Tracker(RIG)), cameras, estimator), cameras


def triple(age_ns: int = 0) -> Triple:
    """Three pictures, grey all over."""
    picture = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    left, middle, right = (
        CameraFrame(name, picture, time.monotonic_ns() - age_ns, device_time=0, sequence=1)
        for name in CAMERAS
    )
    return Triple((left, middle, right))


def test_cameras_see_the_object_and_markers_the_fingertips(seeing, frames):
    senses, cameras = seeing
    assert cameras.opened
    frames.lost = tuple(RIG.object_markers)
    look_for(senses, 0.1)
    sight = senses.look()
    assert sight.missing == ("object not seen: no pictures",)
    assert sight.object_position is None
    assert np.allclose(sight.fingertips, FINGERTIPS, atol=1e-4)
    cameras.showing, cameras.age_ns = True, 30 * MS
    sight = senses.look()
    assert sight.missing == (), "markers on the object are not needed"
    assert sight.object_position.shape == (3,)
    assert np.linalg.norm(sight.object_orientation) == pytest.approx(1.0, abs=1e-5)
    assert sight.object_orientation[0] >= 0.0
    assert sight.triple is not None
    assert sight.age_ns >= 30 * MS
    senses.close()
    assert cameras.closed
    assert frames.closed


def test_lost_fingers_are_missing_beside_what_cameras_see(seeing, frames):
    senses, cameras = seeing
    look_for(senses, 0.1)
    cameras.showing = True
    frames.lost = (IDS["th"],)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not senses.look().missing:
        time.sleep(0.004)
    assert senses.look().missing == ("th not tracked",)
    senses.reset()


def test_without_pictures_the_last_pose_is_held_and_then_missing(seeing):
    senses, cameras = seeing
    look_for(senses, 0.1)
    cameras.showing = True
    first = senses.look()
    cameras.showing = False
    deadline, held = time.monotonic() + 30, []
    while time.monotonic() < deadline:
        sight = senses.look()
        if sight.missing:
            break
        assert np.array_equal(sight.object_position, first.object_position)
        assert sight.triple is None
        held.append(sight.held)
        senses.pump()
    assert set(held) <= {("object",)}
    assert sight.missing == ("object not seen: no pictures",)
    cameras.showing = True
    assert senses.look().missing == ()
    cameras.showing = False
    senses.reset()
    assert "object not seen: no pictures" in senses.look().missing, "nothing is held over a reset"


def test_the_same_pictures_are_seen_alike(seeing, estimator):
    senses, cameras = seeing
    look_for(senses, 0.1)
    cameras.showing = True
    first, again = senses.look(), senses.look()
    assert np.array_equal(first.object_position, again.object_position)
    assert np.array_equal(first.object_orientation, again.object_orientation)


def test_errors_of_a_system_are_not_hidden(frames):
    class Lost(Frames):
        def poll(self):
            raise HardwareError("the cable is out")

    with pytest.raises(HardwareError, match="the cable is out"):
        MarkerSenses(Lost(), Tracker(RIG)).pump()
