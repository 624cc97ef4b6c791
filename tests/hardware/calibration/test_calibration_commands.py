"""``python -m hardware calibrate joints`` and ``cameras``, from files to files."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardware.__main__ import main
from hardware.calibration.extrinsics import camera_of
from hardware.calibration.extrinsics_check import Planted as PlantedCameras
from hardware.calibration.extrinsics_check import sight
from hardware.calibration.extrinsics_command import expected_cameras
from hardware.calibration.extrinsics_sightings import load_sightings, save_sightings
from hardware.calibration.joint_sensors import JointCalibration, angle_passthrough
from hardware.calibration.joint_sensors_kinematics import FingertipKinematics
from hardware.calibration.joint_sensors_poses import pose_script, recorded_targets
from hardware.calibration.joint_sensors_simulated import Planted, SimulatedHand
from hardware.calibration.joint_sensors_vendor import load_vendor, save_vendor
from hardware.calibration.recording import JointRecording, save_recording
from hardware.lowlevel.joints import ACTUATORS, JOINTS


@pytest.fixture(scope="module")
def hand():
    return SimulatedHand(Planted(), FingertipKinematics(), np.random.default_rng(0))


@pytest.fixture(scope="module")
def recording(hand):
    return hand.record(hand.angles(recorded_targets(pose_script(100))))


def worst_and_mean(hand, calibration):
    angles = hand.angles(recorded_targets(pose_script(40, seed=1)))
    errors = np.degrees(np.abs(calibration.angles(hand.raw(angles)) - angles)).mean(axis=0)
    return errors.max(), errors.mean()


@pytest.mark.parametrize(("factory", "recorded"), [("f.json", "r.npz"), ("f.yaml", "r.jsonl")])
def test_joints_from_the_factorys_file_to_a_better_one(tmp_path, capsys, hand, recording, factory, recorded):
    save_recording(tmp_path / recorded, recording)
    (save_vendor if factory.endswith("yaml") else lambda path, c: c.save(path))(
        tmp_path / factory, hand.factory
    )
    code = main(
        ["calibrate", "joints", "--recording", str(tmp_path / recorded), "--factory", str(tmp_path / factory),
         "--output", str(tmp_path / "joints.json"), "--vendor-output", str(tmp_path / "calibration.yaml")]
    )  # fmt: skip
    assert code == 0
    refined = JointCalibration.load(tmp_path / "joints.json")
    assert worst_and_mean(hand, hand.factory)[1] > 2.0
    assert worst_and_mean(hand, refined)[1] < 0.6
    raw = hand.raw(np.full((1, 24), 0.2))
    np.testing.assert_allclose(
        load_vendor(tmp_path / "calibration.yaml").angles(raw), refined.angles(raw), atol=1e-9
    )
    printed = capsys.readouterr().out
    for joint in JOINTS:
        assert f"\n{joint.name} " in printed
    record = json.loads((tmp_path / "joints.json").read_text())["record"]
    assert record["poses"] == 80
    assert record["held_out_fingertips_mm"]["after"] < 2.0 < 5.0 < record["held_out_fingertips_mm"]["before"]


def test_a_drivers_wrong_angles_are_corrected_without_raw_readings(tmp_path, hand, recording):
    angles = hand.factory.angles(recording.raw)
    names = angle_passthrough().sensors
    given = JointRecording(
        names, recording.time_ns, recording.pose, angles, recording.fingertips, recording.valid
    )
    save_recording(tmp_path / "r.npz", given)
    arguments = [
        "--recording",
        str(tmp_path / "r.npz"),
        "--factory",
        "angles",
        "--output",
        str(tmp_path / "j.json"),
    ]
    assert main(["calibrate", "joints", *arguments]) == 0
    refined = JointCalibration.load(tmp_path / "j.json")
    true = hand.angles(recorded_targets(pose_script(40, seed=1)))
    errors = np.degrees(np.abs(refined.angles(hand.factory.angles(hand.raw(true))) - true))
    assert errors.mean() < 0.7
    assert main(["calibrate", "joints", *arguments, "--vendor-output", str(tmp_path / "c.yaml")]) == 2


def test_the_pose_script_is_written(tmp_path, capsys):
    assert main(["calibrate", "joints", "--write-poses", str(tmp_path / "poses.json"), "--poses", "30"]) == 0
    content = json.loads((tmp_path / "poses.json").read_text())
    assert content["actuators"] == [actuator.name for actuator in ACTUATORS]
    assert sum(step["recorded"] for step in content["steps"]) == 30
    assert [tuple(step["targets_rad"]) for step in content["steps"]] == [
        step.targets for step in pose_script(30)
    ]
    assert "30 poses to record" in capsys.readouterr().out


def test_a_dead_sensor_is_named(tmp_path, capsys, hand, recording):
    raw = recording.raw.copy()
    raw[:, recording.sensors.index("MFJ3")] = 65535.0
    broken = JointRecording(
        recording.sensors, recording.time_ns, recording.pose, raw, recording.fingertips, recording.valid
    )
    save_recording(tmp_path / "r.npz", broken)
    hand.factory.save(tmp_path / "f.json")
    main(
        ["calibrate", "joints", "--recording", str(tmp_path / "r.npz"), "--factory", str(tmp_path / "f.json"),
         "--output", str(tmp_path / "j.json")]
    )  # fmt: skip
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("far beyond"))
    assert "MFJ2" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs --recording and --factory and --output"),
        (["--recording", "none.npz", "--factory", "angles", "--output", "j.json"], "cannot be read"),
        (["--recording", "none.npz", "--factory", "none.json", "--output", "j.json"], "none.json"),
        (["--recording", "none.npz", "--factory", "none.yaml", "--output", "j.json"], "none.yaml"),
    ],
)
def test_what_is_missing_is_said_in_a_line(capsys, arguments, said):
    assert main(["calibrate", "joints", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def sightings(tmp_path):
    """Two of the three cameras: one as the estimator has it, one that was mounted by eye."""
    rng = np.random.default_rng(0)
    noise = PlantedCameras()
    left, right = (camera_of(expected_cameras("block")[name]) for name in ("camera:left", "camera:right"))
    turn = Rotation.from_rotvec([0.0, math.radians(5.0), 0.0])
    moved = replace(
        right, position=right.position + np.array([0.0, 0.02, 0.0]), rotation=right.rotation * turn
    )
    path = tmp_path / "sightings.jsonl"
    save_sightings(
        path,
        (640, 480),
        {"camera:left": sight(left, 600, noise, rng), "camera:right": sight(moved, 600, noise, rng)},
    )
    return path, {"camera:left": left, "camera:right": moved}


def test_cameras_from_sightings_to_a_file_and_a_verdict(tmp_path, capsys, sightings):
    path, true = sightings
    output = tmp_path / "cameras.json"
    assert main(["calibrate", "cameras", "--sightings", str(path), "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    verdicts = printed[printed.index("off from where") :].splitlines()
    left = next(line for line in verdicts if line.startswith("camera:left"))
    right = next(line for line in verdicts if line.startswith("camera:right"))
    assert right.count("!") == 2  # 20 mm and 5 degrees; the field of view is as it should be
    assert "  5.0" in right
    assert "! " not in left.split("mm", 1)[1].split("°", 1)[1]  # neither rotation nor field of view
    assert "camera:front: no sightings" in printed
    for entry in json.loads(output.read_text())["cameras"]:
        found, expected = camera_of(entry), true[entry["name"]]
        assert np.linalg.norm(found.position - expected.position) < 0.003
        assert math.degrees((found.rotation.inv() * expected.rotation).magnitude()) < 0.1
        assert entry["size"] == 200
        assert entry["held_out_pixels"] < 1.5


def test_with_a_known_lens_distances_are_better(tmp_path, capsys, sightings):
    path, true = sightings
    output = tmp_path / "cameras.json"
    fov = math.degrees(true["camera:left"].fov)
    arguments = ["--sightings", str(path), "--output", str(output), "--fov", str(fov)]
    assert main(["calibrate", "cameras", *arguments]) == 0
    for entry in json.loads(output.read_text())["cameras"]:
        assert entry["vertical_fov_degrees"] == pytest.approx(fov)
        assert np.linalg.norm(camera_of(entry).position - true[entry["name"]].position) < 0.001
    left = next(line for line in capsys.readouterr().out.splitlines()[5:] if line.startswith("camera:left"))
    assert "!" not in left


def test_sightings_files_give_back_every_digit_and_say_what_is_wrong(tmp_path, capsys, sightings):
    path, _ = sightings
    picture, loaded = load_sightings(path)
    assert picture == (640, 480)
    save_sightings(tmp_path / "again.jsonl", picture, loaded)
    assert (tmp_path / "again.jsonl").read_text() == path.read_text()

    def refused(text, said):
        (tmp_path / "bad.jsonl").write_text(text)
        code = main(
            [
                "calibrate",
                "cameras",
                "--sightings",
                str(tmp_path / "bad.jsonl"),
                "--output",
                str(tmp_path / "o"),
            ]
        )
        assert code == 2
        assert said in capsys.readouterr().err

    head = path.read_text().splitlines()[0] + "\n"
    row = {"camera": "camera:left", "time_ns": 1, "pixel": [1, 2], "point": [0, 0, 0]}
    refused("", "cannot be read")
    refused('{"kind": "letters", "version": 1}\n', "letters")
    refused(head, "no camera")
    refused(head + json.dumps({**row, "camera": "camera:top"}), "camera:left, camera:front, camera:right")
    refused(head + json.dumps({**row, "pixel": [1, math.nan]}), "not finite")
    refused(head + json.dumps({**row, "point": [1, 2]}), "cannot be read")
    refused(head + json.dumps(row), "camera:left: 1 points are too few")


def test_options_that_make_no_sense_are_refused(tmp_path, capsys, sightings):
    path, _ = sightings
    base = ["calibrate", "cameras", "--sightings", str(path), "--output", str(tmp_path / "o.json")]
    assert main([*base, "--fov", "400"]) == 2
    assert "between 1 and 170 degrees, not 400" in capsys.readouterr().err
    assert main([*base, "--estimator", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err
