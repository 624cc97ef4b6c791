"""Recordings: what is written is what is read, at the pace at which it was written."""

import json
import time

import numpy as np
import pytest

from dactyl_tl.errors import ConfigurationError
from hardware.capture.frames import EndOfRecording, Frame, Marker
from hardware.capture.replay import Recorder, Replay
from hardware.capture.tracker import Tracker
from tests.hardware.capture.lab import RIG, stream


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "frames.jsonl"
    with Recorder(path, "a test") as recorder:
        for frame in stream(48, lost=(3,), began_ns=7_000_000_000):  # 0.2 s
            recorder.write(frame)
    return path


def drain(replay):
    frames = []
    with pytest.raises(EndOfRecording):
        poll_to_the_end(replay, frames)
    return frames


def poll_to_the_end(replay, frames):
    while True:
        frames += replay.poll()
        time.sleep(0.001)


def test_frames_come_back_bit_by_bit(recording):
    written = stream(48, lost=(3,), began_ns=7_000_000_000)
    read = drain(Replay(recording, paced=False))
    assert len(read) == len(written)
    for a, b in zip(read, written, strict=True):
        assert (a.sequence, a.device_time, a.received_ns) == (b.sequence, b.device_time, b.received_ns)
        assert set(a.markers) == set(b.markers)
        for id_, each in a.markers.items():
            np.testing.assert_array_equal(each.position, b.markers[id_].position)
            assert each.valid == b.markers[id_].valid == (id_ != 3)


def test_numbers_that_are_none_stay_invalid_and_the_file_is_json(tmp_path):
    path = tmp_path / "frames.jsonl"
    odd = {
        1: Marker(np.array((np.nan, 0.0, np.inf)), True, float("nan")),
        2: Marker(np.array((1.0, 2.0, 3.0)), True, 4.0),
    }
    with Recorder(path, "a test") as recorder:
        recorder.write(Frame(1, 0.5, 3, odd))
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    markers = drain(Replay(path, paced=False))[0].markers
    assert not markers[1].valid
    assert np.isnan(markers[1].quality)
    assert markers[2].valid
    assert markers[2].quality == 4.0


def test_a_paced_replay_takes_as_long_as_the_recording_did_and_stamps_by_this_clock(recording):
    began = time.monotonic_ns()
    frames = drain(Replay(recording))
    assert len(frames) == 48
    stamps = np.array([frame.received_ns for frame in frames])
    written = np.array([frame.received_ns for frame in stream(48)])
    np.testing.assert_array_equal(stamps - stamps[0], written)
    assert began <= stamps[0] <= stamps[-1] <= time.monotonic_ns()
    assert time.monotonic_ns() - began >= written[-1]


def test_a_looped_replay_goes_on_counting_and_never_freezes(recording):
    replay = Replay(recording, paced=False, looped=True)
    tracker = Tracker(RIG)
    for number in range(3 * 48):
        (frame,) = replay.poll()
        reading = tracker.update([frame], frame.received_ns)
        assert frame.sequence == number
        assert frame.device_time == pytest.approx(100.0 + number / 240.0, abs=1e-9)
        if number > 5:
            assert "stream" not in reading.lost
            assert reading.stream_age_ns < 1_000_000
    assert reading.lost == ("lf",)
    assert reading.rejected == 0


@pytest.mark.parametrize(
    ("line", "text", "reason"),
    [
        (0, '{"format": "motion capture", "version": 9, "source": ""}', "line 1.*version 9"),
        (0, '{"format": "a poem"}', "line 1"),
        (2, '{"sequence": 1}', "line 3"),
        (
            2,
            '{"sequence": 1, "device_time": 0, "received_ns": 0, "markers": {"1": [[1, 2], true, 0]}}',
            "line 3",
        ),
        (5, '{"sequence": 1, "dev', "line 6"),
        (5, "[]", "line 6"),
    ],
)
def test_what_is_no_recording_is_named_by_line(recording, line, text, reason):
    lines = recording.read_text().splitlines()
    lines[line] = text
    recording.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=reason):
        Replay(recording)


def test_no_file_and_no_frames(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        Replay(tmp_path / "absent")
    Recorder(tmp_path / "empty", "a test").close()
    with pytest.raises(ConfigurationError, match="holds no frames"):
        Replay(tmp_path / "empty")
