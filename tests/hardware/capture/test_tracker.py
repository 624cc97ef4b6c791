"""The tracker: true in any frame of the system's, exact in its times, and not to be deceived by labels."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dactyl_tl.contract import FINGERS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.randomization.observation_noise import fit_frame
from hardware.capture.frames import Frame, Marker, marker
from hardware.capture.rig import REFERENCE_LAYOUT, Rig
from hardware.capture.rigid import Pose
from hardware.capture.tracker import Tracker
from hardware.capture.tracks import HOLD_NS, Limits
from hardware.twin.markers import reference_layout
from tests.hardware.capture.lab import (
    FINGERTIPS,
    IDS,
    LAB,
    MS,
    OBJECT,
    RIG,
    Scene,
    pose,
    relabel,
    show,
    stream,
)

rotation_vectors = st.tuples(*[st.floats(-3.0, 3.0)] * 3)
small_turns = st.tuples(*[st.floats(-0.5, 0.5)] * 3)


def positions(low, high):
    return st.tuples(*[st.floats(low, high)] * 3)


def settled(tracker: Tracker, count: int = 5, **options):
    """The tracker after a few frames of a scene that stands still, and the last frame."""
    frames = stream(count, **options)
    tracker.update(frames, frames[-1].received_ns)
    return frames[-1]


def test_default_reference_layout_is_the_compiled_hands():
    np.testing.assert_allclose(reference_layout(), REFERENCE_LAYOUT, atol=1e-6)


@given(
    rotation_vectors, positions(-3.0, 3.0), rotation_vectors, positions(-0.05, 0.05), st.integers(0, 2**32)
)
def test_reading_is_true_in_any_frame_of_the_system(turn, shift, object_turn, object_shift, seed):
    fingertips = FINGERTIPS + np.random.default_rng(seed).uniform(-0.03, 0.03, FINGERTIPS.shape)
    thing = pose(object_turn, np.array((0.0, -0.38, 0.05)) + object_shift)
    scene = Scene(fingertips, thing, pose(turn, shift))
    frames = stream(5, scene)
    reading = Tracker(RIG).update(frames, frames[-1].received_ns)
    assert reading.lost == ()
    assert reading.held == ()
    np.testing.assert_allclose(reading.fingertips, fingertips, atol=1e-12)
    np.testing.assert_allclose(reading.object_position, thing.position, atol=1e-12)
    turned = Rotation.from_quat(reading.object_orientation, scalar_first=True)
    assert (turned * thing.rotation.inv()).magnitude() < 1e-12
    assert reading.object_orientation[0] >= 0.0


@given(st.integers(0, 2**32))
def test_base_frame_is_the_one_that_training_fits_to_misplaced_markers(seed):
    offsets = np.random.default_rng(seed).normal(0.0, 0.001, (3, 3))
    layout = np.array(REFERENCE_LAYOUT)
    scene = Scene(lab=pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
    places = scene.markers()
    places.update(zip(RIG.references, layout + offsets, strict=True))
    frames = [show(places, number) for number in range(5)]
    reading = Tracker(RIG).update(frames, frames[-1].received_ns)
    orientation, origin = fit_frame(torch.tensor(layout), torch.tensor(layout + offsets)[None])
    frame = Pose(Rotation.from_quat(orientation[0].numpy(), scalar_first=True), origin[0].numpy())
    np.testing.assert_allclose(reading.fingertips, frame.into(FINGERTIPS), atol=1e-9)


@given(st.integers(0, 10**15), st.sampled_from(FINGERS))
def test_lost_marker_is_repeated_for_240_ms_to_the_nanosecond(began_ns, finger):
    tracker = Tracker(RIG)
    last = settled(tracker, began_ns=began_ns)
    later = [
        show(Scene(FINGERTIPS + 0.001).markers(), number, began_ns=began_ns, lost=(IDS[finger],))
        for number in range(5, 70)
    ]
    index = FINGERS.index(finger)
    limit = last.received_ns + HOLD_NS
    reading = tracker.update([frame for frame in later if frame.received_ns <= limit], limit)
    assert reading.lost == ()
    assert reading.held == (finger,)
    assert reading.fingertip_ages_ns[index] == 240 * MS
    np.testing.assert_allclose(reading.fingertips[index], FINGERTIPS[index], atol=1e-12)
    others = [i for i in range(5) if i != index]
    np.testing.assert_allclose(reading.fingertips[others], FINGERTIPS[others] + 0.001, atol=1e-12)
    reading = tracker.update([], limit + 1)
    assert reading.lost == (finger,)
    assert reading.held == ()


def test_object_and_base_are_repeated_as_long_as_fingertips_are():
    for name, ids in (("object", RIG.object_markers), ("base", RIG.references)):
        tracker = Tracker(RIG)
        last = settled(tracker)
        later = [show(Scene().markers(), number, lost=ids) for number in range(5, 70)]
        limit = last.received_ns + HOLD_NS
        due = [frame for frame in later if frame.received_ns <= limit]
        assert tracker.update(due, limit).lost == ()
        assert name in tracker.update([], limit + 1).lost
        back = tracker.update(stream(5, first=80), stream(1, first=84)[0].received_ns)
        assert back.lost == ()


@given(
    st.sampled_from([*IDS.values(), *RIG.references, *RIG.object_markers]),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]),
    st.integers(0, 2),
)
def test_coordinates_that_are_not_finite_never_pass(id_, value, axis):
    tracker = Tracker(RIG)
    settled(tracker)
    for number in range(5, 9):
        frame = show(Scene().markers(), number)
        damaged = frame.markers[id_].position.copy()
        damaged[axis] = value
        # An adapter's mistake, too, is caught: the marker claims to be valid.
        frame = replace(frame, markers={**frame.markers, id_: Marker(damaged, True, 0.0)})
        reading = tracker.update([frame], frame.received_ns)
        np.testing.assert_allclose(reading.fingertips, FINGERTIPS, atol=1e-12)
        np.testing.assert_allclose(reading.object_position, OBJECT.position, atol=1e-12)
        held = {**{each: name for name, each in IDS.items()}, **dict.fromkeys(RIG.references, "base")}
        assert reading.held == ((held[id_],) if id_ in held else ())


def test_a_marker_is_valid_only_with_finite_coordinates():
    assert marker(0.0, 1.0, 2.0, seen=True).valid
    assert not marker(0.0, 1.0, 2.0, seen=False).valid
    assert not marker(0.0, float("nan"), 2.0, seen=True).valid
    assert not marker(float("inf"), 0.0, 2.0, seen=True).valid


@pytest.mark.parametrize("rate", [30.0, 60.0, 240.0, 960.0])
@pytest.mark.parametrize("pair", list(combinations(FINGERS, 2)))
def test_swapped_fingertips_are_lost_until_the_labels_are_right(pair, rate):
    tracker = Tracker(RIG)
    last = settled(tracker, rate=rate)
    a, b = (IDS[finger] for finger in pair)
    number, now = 5, last.received_ns
    while now <= last.received_ns + HOLD_NS + 100 * MS:
        frame = relabel(show(Scene().markers(), number, rate=rate), {a: b, b: a})
        now, number = frame.received_ns, number + 1
        reading = tracker.update([frame], now)
        np.testing.assert_allclose(reading.fingertips, FINGERTIPS, atol=1e-12)
        assert set(reading.held) | set(reading.lost) == set(pair)
    assert reading.lost == pair
    right = show(Scene().markers(), number, rate=rate)
    assert tracker.update([right], right.received_ns).lost == ()


def test_fingertips_swapped_while_the_fingers_move_stay_lost():
    tracker = Tracker(RIG)
    settled(tracker)
    a, b = IDS["mf"], IDS["rf"]
    for number in range(5, 200):  # the fingers flex by 78 mm in 0.8 s
        moved = FINGERTIPS + np.array((0.0, 0.0, 0.0004)) * (number - 5)
        frame = relabel(show(Scene(moved).markers(), number), {a: b, b: a})
        reading = tracker.update([frame], frame.received_ns)
    assert reading.lost == ("mf", "rf")
    np.testing.assert_allclose(reading.fingertips[[0, 3, 4]], moved[[0, 3, 4]], atol=1e-12)


def test_three_labels_in_a_ring_are_lost():
    tracker = Tracker(RIG)
    settled(tracker)
    ring = {IDS["ff"]: IDS["mf"], IDS["mf"]: IDS["rf"], IDS["rf"]: IDS["ff"]}
    frame = relabel(show(Scene().markers(), 5), ring)
    assert tracker.update([frame], frame.received_ns).held == ("ff", "mf", "rf")


def test_reset_believes_the_labels_again():
    tracker = Tracker(RIG)
    settled(tracker)
    swap = {IDS["ff"]: IDS["mf"], IDS["mf"]: IDS["ff"]}
    frames = [relabel(frame, swap) for frame in stream(80, first=5)]
    assert tracker.update(frames, frames[-1].received_ns).lost == ("ff", "mf")
    tracker.reset()
    frames = [relabel(frame, swap) for frame in stream(5, first=85)]
    assert tracker.update(frames, frames[-1].received_ns).lost == ()


@given(st.sampled_from(list(combinations(RIG.object_markers, 2))), small_turns)
def test_swapped_object_markers_never_turn_the_object(pair, turn):
    thing = pose(turn, OBJECT.position)
    tracker = Tracker(RIG)
    frames = [
        relabel(frame, dict(zip(pair, pair[::-1], strict=True))) for frame in stream(6, Scene(object=thing))
    ]
    reading = tracker.update(frames, frames[-1].received_ns)
    # The other four markers suffice.
    np.testing.assert_allclose(reading.object_position, thing.position, atol=1e-9)
    turned = Rotation.from_quat(reading.object_orientation, scalar_first=True)
    assert (turned * thing.rotation.inv()).magnitude() < 1e-9


@given(st.sampled_from(list(combinations(RIG.object_markers, 3))), st.sampled_from([0, 1, 2]))
def test_with_three_object_markers_in_sight_swapped_labels_never_turn_it(shown, still):
    tracker = Tracker(RIG)
    settled(tracker)
    hidden = tuple(set(RIG.object_markers) - set(shown))
    a, b = (id_ for i, id_ in enumerate(shown) if i != still)
    frames = [relabel(frame, {a: b, b: a}) for frame in stream(10, first=5, lost=hidden)]
    # relabel moves hidden markers' flags along with the marker, so the two remain in sight
    reading = tracker.update(frames, frames[-1].received_ns)
    turned = Rotation.from_quat(reading.object_orientation, scalar_first=True)
    assert np.rad2deg((turned * OBJECT.rotation.inv()).magnitude()) < 0.01
    assert reading.held == ("object",)


def test_reference_markers_that_exchange_labels_do_not_turn_the_base_over():
    # The layout is an isosceles triangle: the fit alone cannot see this exchange.
    tracker = Tracker(RIG)
    settled(tracker)
    a, _, b = RIG.references
    frames = [relabel(frame, {a: b, b: a}) for frame in stream(10, first=5)]
    reading = tracker.update(frames, frames[-1].received_ns)
    assert reading.held == ("base",)
    np.testing.assert_allclose(reading.fingertips, FINGERTIPS, atol=1e-12)


def ghosted(number: int, finger: str, place) -> Frame:
    places = Scene().markers()
    places[IDS[finger]] = LAB.apply(np.asarray(place))
    return show(places, number)


def test_a_ghost_shows_as_a_loss_before_it_can_be_believed():
    place = FINGERTIPS[0] + (0.0, 0.05, 0.05)
    tracker = Tracker(RIG)
    last = settled(tracker)
    number, seen = 5, []
    while len(seen) < 80:
        frame = ghosted(number, "ff", place)
        reading = tracker.update([frame], frame.received_ns)
        seen.append((frame.received_ns - last.received_ns, reading))
        number += 1
    for age, reading in seen:
        if age <= HOLD_NS:
            assert reading.lost == ()
            assert reading.held == ("ff",)
            np.testing.assert_allclose(reading.fingertips[0], FINGERTIPS[0], atol=1e-12)
    first_after = next(reading for age, reading in seen if age > HOLD_NS)
    assert first_after.lost == ("ff",)
    np.testing.assert_allclose(seen[-1][1].fingertips[0], place, atol=1e-12)  # it stayed: a marker was moved


def test_a_jump_is_told_even_if_the_next_poll_is_long_after_it():
    tracker = Tracker(RIG)
    settled(tracker)
    frames = [ghosted(number, "ff", FINGERTIPS[0] + (0.0, 0.05, 0.05)) for number in range(5, 200)]
    reading = tracker.update(frames, frames[-1].received_ns)
    assert reading.lost == ("ff",)
    assert reading.rejected == len(frames)


def test_what_is_out_of_the_fingers_reach_is_no_fingertip():
    frames = [ghosted(number, "th", (0.3, -0.2, 0.1)) for number in range(50)]
    reading = Tracker(RIG).update(frames, frames[-1].received_ns)
    assert reading.lost == ("th",)
    assert reading.fingertips is None  # never seen: no number is made up


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([120.0, 240.0, 960.0]))
def test_honest_motion_and_noise_are_never_rejected(seed, rate):
    rng = np.random.default_rng(seed)
    phase, axis = rng.uniform(0.0, 6.3, (5, 3)), rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    tracker = Tracker(RIG)
    count = int(0.2 * rate)
    for number in range(count):
        time = number / rate
        tips = FINGERTIPS + 0.02 * np.sin(20.0 * time + phase)  # up to 0.7 m/s
        thing = Pose(Rotation.from_rotvec(8.0 * time * axis), OBJECT.position)  # 8 rad/s
        places = Scene(tips, thing).markers()
        places = {id_: at + rng.normal(0.0, 0.0002, 3) for id_, at in places.items()}
        frame = show(places, number, rate=rate)
        reading = tracker.update([frame], frame.received_ns)
        if number >= 4:
            assert reading.lost == reading.held == ()
            # Noise of 0.2 mm in the base, 0.2 m away, weighs more than the fingertip's own.
            assert np.abs(reading.fingertips - tips).max() < 0.005
            assert np.abs(reading.object_position - thing.position).max() < 0.005
    assert reading.rejected == 0
    assert reading.base_residual < 0.001
    assert 0.0 < reading.object_residual < 0.001


def test_an_occluded_fingertip_may_have_moved_on_meanwhile():
    tracker = Tracker(RIG)
    settled(tracker)
    hidden = stream(24, first=5, lost=(IDS["lf"],))  # 100 ms
    tracker.update(hidden, hidden[-1].received_ns)
    moved = FINGERTIPS.copy()
    moved[3] += (0.0, 0.0, 0.05)  # 0.5 m/s
    frame = show(Scene(moved).markers(), 29)
    reading = tracker.update([frame], frame.received_ns)
    assert reading.lost == reading.held == ()
    np.testing.assert_allclose(reading.fingertips, moved, atol=1e-12)


def test_object_with_fewer_than_three_markers_or_three_in_line_is_held():
    ids = list(RIG.object_markers)
    tracker = Tracker(RIG)
    settled(tracker)
    frame = show(Scene().markers(), 5, lost=ids[2:])
    assert tracker.update([frame], frame.received_ns).held == ("object",)
    frame = show(Scene().markers(), 6, lost=ids[3:])
    assert tracker.update([frame], frame.received_ns).held == ()
    line = {20: (0.0, 0.0, 0.0), 21: (0.02, 0.0, 0.0), 22: (0.05, 0.001, 0.0), 23: (0.01, 0.03, 0.02)}
    rig = Rig(object_markers={id_: np.array(at) for id_, at in line.items()})
    places = Scene().markers()
    places.update({id_: LAB.apply(OBJECT.apply(np.array(at))) for id_, at in line.items()})
    tracker = Tracker(rig)
    frames = [show(places, number) for number in range(5)]
    assert tracker.update(frames, frames[-1].received_ns).lost == ()
    frame = show(places, 5, lost=(23,))
    assert tracker.update([frame], frame.received_ns).held == ("object",)


def test_no_new_frame_for_50_ms_is_a_loss():
    tracker = Tracker(RIG)
    last = settled(tracker)
    assert tracker.update([], last.received_ns + 50 * MS).lost == ()
    assert tracker.update([], last.received_ns + 50 * MS + 1000).lost == ("stream",)
    assert Tracker(RIG).update([], 0).lost == ("stream", "base", *FINGERS, "object")


@pytest.mark.parametrize("repeat", ["sequence", "device_time"])
def test_a_frozen_stream_is_a_loss_though_frames_arrive(repeat):
    tracker = Tracker(RIG)
    last = settled(tracker)
    for number in range(5, 25):
        frame = replace(show(Scene().markers(), number), **{repeat: getattr(last, repeat)})
        reading = tracker.update([frame], frame.received_ns)
        age = frame.received_ns - last.received_ns
        assert reading.lost == (() if age <= 50 * MS else ("stream",))


def test_frames_sent_twice_or_late_change_nothing():
    tracker = Tracker(RIG)
    frames = [frame for frame in stream(10) for _ in range(5)]
    reading = tracker.update(frames, frames[-1].received_ns)
    assert reading.lost == ()
    old = replace(ghosted(4, "ff", FINGERTIPS[1]), received_ns=frames[-1].received_ns)
    again = tracker.update([old], frames[-1].received_ns)
    assert again.rejected == reading.rejected
    np.testing.assert_array_equal(again.fingertips, reading.fingertips)


def test_frames_that_come_late_count_as_old():
    tracker = Tracker(RIG)
    settled(tracker)
    for number in range(5, 40):  # each comes 70 ms later than it used to
        frame = show(Scene().markers(), number)
        frame = replace(frame, received_ns=frame.received_ns + 70 * MS)
        reading = tracker.update([frame], frame.received_ns)
        assert reading.lost == ("stream",)
        assert reading.stream_age_ns == pytest.approx(70 * MS, abs=0.1 * MS)


@pytest.mark.parametrize("time", [float("nan"), float("inf"), 1e6])
def test_a_frame_with_an_impossible_time_is_dropped(time):
    tracker = Tracker(RIG)
    settled(tracker)
    frame = replace(ghosted(5, "ff", FINGERTIPS[1]), device_time=time)
    tracker.update([frame], frame.received_ns)
    after = stream(1, first=6)
    reading = tracker.update(after, after[-1].received_ns)
    assert reading.lost == ()
    assert reading.rejected == tracker.update([], after[-1].received_ns).rejected
    np.testing.assert_allclose(reading.fingertips, FINGERTIPS, atol=1e-12)


def test_a_moved_base_is_reported_and_all_is_seen_from_where_it_is_now():
    calibrated = LAB.apply(np.array(REFERENCE_LAYOUT))
    rig = replace(RIG, reference_positions=calibrated)
    frames = stream(5)
    reading = Tracker(rig).update(frames, frames[-1].received_ns)
    assert reading.base_shift == pytest.approx(0.0, abs=1e-12)
    assert not reading.base_moved
    moved = Pose(LAB.rotation, LAB.position + np.array((0.0, 0.004, 0.008)))
    frames = stream(5, Scene(lab=moved))
    reading = Tracker(rig).update(frames, frames[-1].received_ns)
    assert reading.base_shift == pytest.approx(np.hypot(0.004, 0.008))
    assert reading.base_moved
    np.testing.assert_allclose(reading.fingertips, FINGERTIPS, atol=1e-12)


def test_noise_of_a_base_that_stands_still_is_averaged_out():
    rng = np.random.default_rng(1)
    errors = {}
    for calm in (1e-9, 0.2):
        tracker = Tracker(RIG, Limits(base_calm=calm))
        errors[calm] = []
        for number in range(400):
            places = {id_: at + rng.normal(0.0, 0.0003, 3) for id_, at in Scene().markers().items()}
            frame = show(places, number)
            reading = tracker.update([frame], frame.received_ns)
            if number >= 200:
                errors[calm].append(reading.fingertips - FINGERTIPS)
    plain, calmed = (np.std(errors[calm]) for calm in (1e-9, 0.2))
    # What remains is the fingertip's own 0.3 mm and the average's: 1 / sqrt(2 * 48) of the base's.
    assert plain > 0.0008
    assert calmed < 0.0004


def test_a_base_that_moves_is_followed():
    tracker = Tracker(RIG)
    settled(tracker)
    pushed = Pose(LAB.rotation, LAB.position + np.array((0.0, 0.0, 0.008)))
    frame = show(Scene(lab=pushed).markers(), 5)  # at once: 8 mm are no noise
    reading = tracker.update([frame], frame.received_ns)
    np.testing.assert_allclose(reading.fingertips, FINGERTIPS, atol=1e-12)
    for number in range(6, 246):  # slowly: 2 cm in 1 s, never further behind than what counts as still
        creeping = Pose(LAB.rotation, pushed.position + np.array((0.02 * (number - 5) / 240.0, 0.0, 0.0)))
        frame = show(Scene(lab=creeping).markers(), number)
        reading = tracker.update([frame], frame.received_ns)
        assert reading.lost == reading.held == ()
        assert np.abs(reading.fingertips - FINGERTIPS).max() < 0.0021


def test_references_that_do_not_fit_are_refused():
    places = Scene().markers()
    places[RIG.references[1]] = places[RIG.references[1]] + LAB.rotation.apply((0.0, 0.0, 0.03))
    frames = [show(places, number) for number in range(5)]
    assert "base" in Tracker(RIG).update(frames, frames[-1].received_ns).lost


@pytest.mark.parametrize(("name", "value"), [("hold_ns", 0), ("speed", float("nan")), ("reach", -1.0)])
def test_limits_that_mean_nothing_are_refused(name, value):
    with pytest.raises(ConfigurationError, match=f"{name}="):
        Limits(**{name: value})


def test_a_symmetric_object_is_refused():
    square = {8: (0.02, 0.02, 0.0), 9: (-0.02, 0.02, 0.0), 10: (-0.02, -0.02, 0.0), 11: (0.02, -0.02, 0.0)}
    with pytest.raises(ConfigurationError, match="look alike"):
        Tracker(Rig(object_markers={id_: np.array(at) for id_, at in square.items()}))


def test_without_an_object_nothing_is_said_of_one():
    frames = stream(5)
    reading = Tracker(Rig(), Limits()).update(frames, frames[-1].received_ns)
    assert reading.lost == ()
    assert reading.object_position is None
    assert reading.object_orientation is None
