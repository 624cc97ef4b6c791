"""Triples show one instant, whatever the order, delays and losses in which their frames arrive."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dactyl_tl.contract import CAMERAS
from hardware.cameras.frames import Frame
from hardware.cameras.matcher import LATE, UNMATCHED, Matcher

MS = 1_000_000
BLANK = np.zeros((480, 640, 3), np.uint8)
LEFT, FRONT, RIGHT = CAMERAS


def at(camera: str, time_ns: int, instant: int = 0) -> Frame:
    return Frame(camera, BLANK, time_ns, 0, instant)


def times(triple) -> list[int]:
    return [frame.time_ns for frame in triple.frames]


def test_three_frames_within_the_tolerance_are_a_triple_in_the_order_of_the_cameras():
    matcher = Matcher(2 * MS, 80 * MS)
    assert matcher.add(at(RIGHT, 100 * MS)) is None
    assert matcher.add(at(LEFT, 101 * MS)) is None
    triple = matcher.add(at(FRONT, 102 * MS))
    assert [frame.camera for frame in triple.frames] == list(CAMERAS)
    assert times(triple) == [101 * MS, 102 * MS, 100 * MS]
    assert triple.time_ns == 100 * MS
    assert triple.spread_ns == 2 * MS
    assert matcher.waiting == 0


def test_a_nanosecond_beyond_the_tolerance_is_no_triple():
    matcher = Matcher(2 * MS, 80 * MS)
    for camera, time_ns in ((RIGHT, 0), (LEFT, MS), (FRONT, 2 * MS + 1)):
        assert matcher.add(at(camera, time_ns)) is None
    assert matcher.waiting == 3


def test_the_newest_frames_of_each_camera_are_not_taken_when_one_camera_is_ahead():
    matcher = Matcher(2 * MS, 200 * MS)
    matcher.add(at(LEFT, 0, 0))
    matcher.add(at(LEFT, 40 * MS, 1))
    matcher.add(at(FRONT, 0, 0))
    triple = matcher.add(at(RIGHT, 0, 0))
    assert times(triple) == [0, 0, 0]
    matcher.add(at(FRONT, 40 * MS, 1))
    assert times(matcher.add(at(RIGHT, 40 * MS, 1))) == [40 * MS] * 3


def test_an_instant_that_one_camera_lost_is_dropped_and_counted():
    matcher = Matcher(2 * MS, 80 * MS)
    matcher.add(at(LEFT, 0))
    matcher.add(at(FRONT, 0))
    for camera in CAMERAS[:2]:
        assert matcher.add(at(camera, 40 * MS)) is None
    assert times(matcher.add(at(RIGHT, 40 * MS))) == [40 * MS] * 3
    assert matcher.dropped == {(LEFT, UNMATCHED): 1, (FRONT, UNMATCHED): 1}


def test_frames_without_counterparts_are_forgotten_after_the_memory():
    matcher = Matcher(2 * MS, 80 * MS)
    matcher.add(at(LEFT, 0))
    matcher.add(at(FRONT, 80 * MS))
    assert matcher.waiting == 2
    matcher.add(at(FRONT, 80 * MS + 1))
    assert matcher.waiting == 2
    assert matcher.dropped == {(LEFT, UNMATCHED): 1}


def test_a_frame_that_is_not_newer_than_the_one_before_is_late():
    matcher = Matcher(2 * MS, 80 * MS)
    matcher.add(at(LEFT, 40 * MS))
    matcher.add(at(LEFT, 40 * MS))
    matcher.add(at(LEFT, 39 * MS))
    assert matcher.dropped == {(LEFT, LATE): 2}
    assert matcher.waiting == 1


def test_each_within_the_tolerance_of_the_last_is_not_enough():
    matcher = Matcher(2 * MS, 80 * MS)
    for camera, time_ns in ((LEFT, 0), (RIGHT, 3 * MS), (FRONT, 3 * MS // 2)):
        assert matcher.add(at(camera, time_ns)) is None


def test_of_several_counterparts_the_closest_are_taken():
    matcher = Matcher(20, 1000)
    for camera, time_ns in ((LEFT, 0), (LEFT, 9), (LEFT, 18), (RIGHT, 1), (RIGHT, 11)):
        matcher.add(at(camera, time_ns))
    assert times(matcher.add(at(FRONT, 10))) == [9, 10, 11]
    assert matcher.dropped == {(LEFT, UNMATCHED): 1, (RIGHT, UNMATCHED): 1}


@given(st.lists(st.tuples(st.sampled_from(CAMERAS), st.integers(-1, 8)), max_size=80))
def test_any_frames_in_any_order(arrivals):
    """Each camera's times go on by the steps that are drawn, now and then backwards."""
    matcher = Matcher(5, 40)
    triples = []
    clocks = dict.fromkeys(CAMERAS, 0)
    for camera, step in arrivals:
        clocks[camera] += step
        if (triple := matcher.add(at(camera, clocks[camera]))) is not None:
            triples.append(triple)
    for triple in triples:
        assert [frame.camera for frame in triple.frames] == list(CAMERAS)
        assert triple.spread_ns <= 5
    for camera in range(3):
        used = [times(triple)[camera] for triple in triples]
        assert used == sorted(set(used)), "a frame is used twice, or an older one after a newer one"
    assert len(arrivals) == 3 * len(triples) + matcher.waiting + sum(matcher.dropped.values())


@st.composite
def traffic(draw):
    """Frames of instants 10 ms apart, each camera up to 0.99 ms off; some lost; each camera's line of its
    own length, so that cameras are instants ahead of one another on arrival."""
    instants = draw(st.integers(3, 25))
    lines = []
    for camera in CAMERAS:
        delay = draw(st.integers(0, 60 * MS))
        lost = draw(st.sets(st.integers(0, instants - 1), max_size=instants // 2))
        for instant in range(instants):
            off = draw(st.integers(-990_000, 990_000))
            if instant not in lost:
                time_ns = (instant + 1) * 10 * MS + off
                lines.append((time_ns + delay, at(camera, time_ns, instant)))
    lines.sort(key=lambda line: line[0])
    whole = set.intersection(
        *({frame.sequence for _, frame in lines if frame.camera == camera} for camera in CAMERAS)
    )
    return [frame for _, frame in lines], whole


@given(traffic())
def test_instants_are_never_mixed_and_every_whole_one_is_found(given_traffic):
    frames, whole = given_traffic
    matcher = Matcher(2 * MS, 80 * MS)
    found = []
    for frame in frames:
        if (triple := matcher.add(frame)) is not None:
            instants = {each.sequence for each in triple.frames}
            assert len(instants) == 1, f"instants {instants} are mixed"
            found.append(instants.pop())
    assert found == sorted(whole)
