"""What goes between the simulated cameras' processes, and the faults put in between."""

import json

import numpy as np
import pytest

from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from hardware.twin.camera_faults import FaultyFeed
from hardware.twin.camera_wire import (
    Fault,
    WireError,
    check_local,
    pack_fault,
    pack_frame,
    unpack_fault,
    unpack_frame,
    unpack_state,
)

LEFT, FRONT, RIGHT = CAMERAS
MS = 1_000_000


@pytest.fixture
def shots(frame):
    """``shots(number)``: frames of all cameras, 40 ms after those before."""

    def make(number: int):
        return [frame(camera, 40 * number, number) for camera in CAMERAS]

    return make


def names(frames) -> list[str]:
    return [frame.camera for frame in frames]


def test_a_frame_comes_back_as_it_was(frame):
    sent = frame(FRONT, 12.345678, 417)
    came = unpack_frame(pack_frame(sent))
    assert (came.camera, came.time_ns, came.sequence) == (FRONT, 12_345_678, 417)
    assert np.array_equal(came.picture, sent.picture)


@pytest.mark.parametrize("change", [lambda m: m[:-1], lambda m: b"X" + m[1:], lambda m: b""])
def test_bytes_that_are_no_frame(frame, change):
    with pytest.raises(WireError, match="no frame"):
        unpack_frame(change(pack_frame(frame(LEFT, 1.0))))


def test_a_state_may_say_more_than_is_drawn():
    message = json.dumps({"qpos": list(range(31)), "time_ns": 5, "goal": [1, 0, 0, 0]}).encode()
    qpos, time_ns = unpack_state(message)
    assert np.array_equal(qpos, np.arange(31.0))
    assert time_ns == 5


@pytest.mark.parametrize(
    "values",
    [
        {"qpos": [0.0] * 30, "time_ns": 1},
        {"qpos": [float("nan")] * 31, "time_ns": 1},
        {"qpos": [0.0] * 31, "time_ns": 1.5},
        {"qpos": [0.0] * 31},
        [1, 2],
    ],
)
def test_what_is_no_state(values):
    with pytest.raises(WireError, match="state"):
        unpack_state(json.dumps(values).encode())


def test_a_fault_comes_back_as_it_was():
    fault = Fault("delay", LEFT, 0.25)
    assert unpack_fault(pack_fault(fault)) == fault
    for message in (b"{", b"[]", b'{"fault": "delay", "of": 1}', b'{"fault": "rain"}'):
        with pytest.raises(WireError, match="fault"):
            unpack_fault(message)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("rain",), "rain"),
        (("dark", "left"), "left"),
        (("loss", None, 1.5), "1.5"),
        (("delay", None, -1), "-1"),
    ],
)
def test_a_fault_that_there_is_not(values, words):
    with pytest.raises(ConfigurationError, match=words):
        Fault(*values)


@pytest.mark.parametrize("address", ["tcp://*:5000", "tcp://192.168.0.7:5000"])
def test_nothing_goes_unprotected_to_another_machine(address):
    with pytest.raises(ConfigurationError, match="must be on this machine"):
        check_local(address, "pictures")


def test_without_faults_frames_go_as_they_come(shots):
    feed = FaultyFeed()
    sent = shots(1)
    assert feed.send(sent, 0) == sent
    assert feed.next_ns() is None


def test_a_delayed_camera_keeps_its_order_and_its_times(shots):
    feed = FaultyFeed()
    feed.inject(Fault("delay", FRONT, 0.1))
    assert names(feed.send(shots(1), 0)) == [LEFT, RIGHT]
    assert names(feed.send(shots(2), 40 * MS)) == [LEFT, RIGHT]
    assert feed.next_ns() == 100 * MS
    assert feed.due(100 * MS - 1) == []
    late = feed.due(140 * MS)
    assert [(each.camera, each.time_ns) for each in late] == [(FRONT, 40 * MS), (FRONT, 80 * MS)]


def test_a_share_of_the_frames_is_lost(shots):
    feed = FaultyFeed(seed=1)
    feed.inject(Fault("loss", RIGHT, 0.3))
    sent = [name for number in range(400) for name in names(feed.send(shots(number), 0))]
    assert sent.count(LEFT) == sent.count(FRONT) == 400
    assert 240 < sent.count(RIGHT) < 320  # five standard deviations


def test_a_frozen_camera_repeats_its_picture_under_new_numbers(shots):
    feed = FaultyFeed()
    first = feed.send(shots(1), 0)
    feed.inject(Fault("freeze", LEFT))
    for number in (2, 3):
        left, front, _ = feed.send(shots(number), 0)
        assert np.array_equal(left.picture, first[0].picture)
        assert (left.sequence, left.time_ns) == (number, 40 * number * MS)
        assert not np.array_equal(front.picture, first[1].picture)


def test_a_doubled_camera_and_a_covered_one(shots):
    feed = FaultyFeed()
    feed.inject(Fault("duplicate", LEFT))
    feed.inject(Fault("dark", RIGHT))
    sent = feed.send(shots(1), 0)
    assert names(sent) == [LEFT, LEFT, FRONT, RIGHT]
    assert sent[0] is sent[1]
    assert sent[3].picture.max() == 2


def test_all_is_well_again(shots):
    feed = FaultyFeed()
    feed.inject(Fault("loss"))
    assert feed.send(shots(1), 0) == []
    feed.inject(Fault("none", FRONT))
    assert names(feed.send(shots(2), 0)) == [FRONT]
    feed.inject(Fault("none"))
    assert names(feed.send(shots(3), 0)) == list(CAMERAS)
