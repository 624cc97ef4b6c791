"""Recordings of joint readings and fingertips."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dactyl_tl.errors import ConfigurationError
from hardware.calibration.recording import MOVING, JointRecording, load_recording, save_recording


def recording() -> JointRecording:
    rng = np.random.default_rng(0)
    rows = 12
    return JointRecording(
        ("FFJ1", "FFJ2"),
        1_000_000_000_000 + 8_000_000 * np.arange(rows),
        np.array([MOVING, 0, 0, 0, 0, MOVING, MOVING, 1, 1, 1, MOVING, 4]),
        rng.uniform(0, 4095, (rows, 2)),
        rng.normal(0.0, 0.1, (rows, 5, 3)),
        np.ones((rows, 5), dtype=bool),
    )


def assert_same(a: JointRecording, b: JointRecording) -> None:
    assert a.sensors == b.sensors
    for name in ("time_ns", "pose", "raw", "valid"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(a.fingertips[a.valid], b.fingertips[b.valid])


@pytest.mark.parametrize("name", ["r.npz", "r.jsonl"])
def test_a_file_gives_back_every_digit(tmp_path, name):
    valid = np.ones((12, 5), dtype=bool)
    valid[3, 2] = valid[7, 0] = False
    original = replace(recording(), valid=valid)
    save_recording(tmp_path / name, original)
    assert_same(load_recording(tmp_path / name), original)


def test_a_held_pose_is_the_median_of_its_rows():
    original = recording()
    fingertips = original.fingertips.copy()
    fingertips[1:5, 0] = [[0.10, 0, 0], [0.11, 0, 0], [0.12, 0, 0], [9.0, 9.0, 9.0]]
    raw = original.raw.copy()
    raw[7:10, 1] = [5.0, 7.0, 4000.0]
    poses = replace(original, fingertips=fingertips, raw=raw).held_poses()
    np.testing.assert_array_equal(poses.pose, [0, 1, 4])
    np.testing.assert_allclose(poses.fingertips[0, 0], [0.115, 0.0, 0.0])
    assert poses.raw[1, 1] == 7.0
    np.testing.assert_array_equal(poses.raw[2], original.raw[11])


def test_a_marker_that_is_seen_too_seldom_does_not_count_and_unseen_rows_do_not_pull():
    original = recording()
    valid, fingertips = original.valid.copy(), original.fingertips.copy()
    valid[1:4, 3] = False  # one of four rows left
    valid[1:3, 4] = False  # two of four
    fingertips[1:3, 4] = 77.0
    poses = replace(original, valid=valid, fingertips=fingertips).held_poses()
    assert poses.valid[0].tolist() == [True, True, True, False, True]
    np.testing.assert_allclose(poses.fingertips[0, 4], original.fingertips[3:5, 4].mean(axis=0))


def test_rows_on_the_way_alone_are_refused():
    with pytest.raises(ConfigurationError, match="pose number"):
        replace(recording(), pose=np.full(12, MOVING)).held_poses()


def test_columns_follow_the_names_that_are_asked_for():
    original = recording()
    np.testing.assert_array_equal(original.columns(["FFJ2", "FFJ1"]), original.raw[:, ::-1])
    with pytest.raises(ConfigurationError, match="lacks sensors WRJ2; it has FFJ1, FFJ2"):
        original.columns(["FFJ1", "WRJ2"])


def test_values_that_cannot_be_are_refused():
    original = recording()
    broken = original.raw.copy()
    broken[4, 1] = np.nan
    with pytest.raises(ConfigurationError, match="FFJ2 has no finite reading in row 4"):
        replace(original, raw=broken)
    with pytest.raises(ConfigurationError, match="marked valid is not finite"):
        replace(original, fingertips=np.full((12, 5, 3), np.nan))
    with pytest.raises(ConfigurationError, match="raw has shape"):
        replace(original, sensors=("FFJ1",))


def test_a_file_with_objects_is_not_unpickled(tmp_path):
    path = tmp_path / "r.npz"
    np.savez(path, kind="joint recording", version=1, sensors=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_recording(path)


def test_files_that_are_something_else_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"\.npz or \.jsonl"):
        load_recording(tmp_path / "r.csv")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_recording(tmp_path / "none.npz")
    (tmp_path / "r.jsonl").write_text(json.dumps({"kind": "shopping", "version": 1}) + "\n")
    with pytest.raises(ConfigurationError, match="shopping"):
        load_recording(tmp_path / "r.jsonl")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_recording(tmp_path / "cut.npz")
