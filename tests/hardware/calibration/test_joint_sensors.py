"""The curves of joint sensors and their files, by hand-computed numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dactyl_tl.errors import ConfigurationError
from hardware.calibration.joint_sensors import JointCalibration, JointCurve, angle_passthrough, sensors_of
from hardware.calibration.joint_sensors_vendor import load_vendor, save_vendor
from hardware.lowlevel.joints import JOINTS

CURVE = JointCurve("FFJ2", ("FFJ3",), (100.0, 200.0, 400.0), (0.0, 0.5, 1.5))
FALLING = JointCurve("FFJ2", ("FFJ3",), (100.0, 200.0, 400.0), (1.5, 0.5, 0.0))


def calibration() -> JointCalibration:
    rng = np.random.default_rng(0)
    curves = []
    for i, joint in enumerate(JOINTS):
        raw = np.cumsum(rng.uniform(100.0, 500.0, 3 + i % 3))
        angles = np.cumsum(rng.uniform(0.1, 0.5, len(raw))) - 0.6
        if i % 2:
            angles = -angles
        curves.append(JointCurve(joint.name, sensors_of(joint), tuple(raw.tolist()), tuple(angles.tolist())))
    return JointCalibration(tuple(curves))


@pytest.mark.parametrize(
    ("raw", "angle"), [(100, 0.0), (150, 0.25), (200, 0.5), (300, 1.0), (50, -0.25), (500, 2.0)]
)
def test_angles_are_linear_between_knots_and_go_on_beyond_them(raw, angle):
    assert CURVE(raw) == pytest.approx(angle)


@pytest.mark.parametrize(("raw", "angle"), [(150, 1.0), (300, 0.25), (0, 2.5), (600, -0.5)])
def test_a_sensor_may_fall_where_the_angle_rises(raw, angle):
    assert FALLING(raw) == pytest.approx(angle)


@pytest.mark.parametrize("curve", [CURVE, FALLING])
def test_the_reading_of_an_angle_is_the_inverse_beyond_the_knots_too(curve):
    angles = np.linspace(-1.0, 3.0, 41)
    np.testing.assert_allclose(curve(curve.reading(angles)), angles, atol=1e-12)


@pytest.mark.parametrize(
    ("raw", "angles", "said"),
    [
        ((1, 2), (0, 1), "3 to 5"),
        ((1, 2, 3, 4, 5, 6), (0, 1, 2, 3, 4, 5), "3 to 5"),
        ((1, 2, 3), (0, 1), "3 to 5"),
        ((1, 3, 2), (0, 1, 2), "raw readings must increase"),
        ((1, 2, 2), (0, 1, 2), "raw readings must increase"),
        ((1, 2, 3), (0, 1, 0.5), "increase or decrease"),
        ((1, 2, 3), (0, 1, 1), "increase or decrease"),
        ((1, 2, math.inf), (0, 1, 2), "not finite"),
        ((1, 2, 3), (0, math.nan, 2), "not finite"),
    ],
)
def test_knots_that_are_no_calibration_are_refused(raw, angles, said):
    with pytest.raises(ConfigurationError, match=f"FFJ2.*{said}"):
        JointCurve("FFJ2", ("FFJ3",), raw, angles)


def test_there_are_26_sensors_and_two_of_a_joint_are_averaged():
    hand = calibration()
    assert len(hand.sensors) == 26
    angles = np.random.default_rng(1).uniform(-0.3, 0.9, (7, 24))
    raw = hand.raw(angles)
    np.testing.assert_allclose(hand.angles(raw), angles, atol=1e-12)
    first, second = hand.sensors.index("WRJ1A"), hand.sensors.index("WRJ1B")
    raw[:, first] += 40.0
    raw[:, second] -= 40.0
    np.testing.assert_allclose(hand.angles(raw), angles, atol=1e-12)


def test_readings_of_another_number_of_sensors_are_refused():
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 26\)"):
        calibration().angles(np.zeros((3, 24)))


def test_how_far_a_joint_is_beyond_its_knots():
    hand = calibration()
    inside = np.array([np.mean(curve.angles[:2]) for curve in hand.curves])
    np.testing.assert_array_equal(hand.beyond(hand.raw(inside)), 0.0)
    over = inside.copy()
    over[3] = max(hand.curves[3].angles) + 0.2
    over[4] = min(hand.curves[4].angles) - 0.1
    beyond = hand.beyond(hand.raw(over))
    assert beyond[3] == pytest.approx(0.2)
    assert beyond[4] == pytest.approx(0.1)
    assert np.count_nonzero(beyond > 1e-12) == 2


def test_joints_must_be_all_there_and_in_order():
    curves = calibration().curves
    with pytest.raises(ConfigurationError, match="they must be"):
        JointCalibration(curves[:-1])
    with pytest.raises(ConfigurationError, match="they must be"):
        JointCalibration((curves[1], curves[0], *curves[2:]))


def test_a_sensor_belongs_to_one_joint():
    curves = list(calibration().curves)
    curves[5] = JointCurve(curves[5].joint, curves[4].sensors, curves[5].raw, curves[5].angles)
    with pytest.raises(ConfigurationError, match="two joints"):
        JointCalibration(tuple(curves))


def test_a_file_gives_back_every_digit(tmp_path):
    hand = calibration()
    hand.save(tmp_path / "joints.json", {"poses": 120})
    assert JointCalibration.load(tmp_path / "joints.json") == hand
    assert json.loads((tmp_path / "joints.json").read_text())["record"] == {"poses": 120}


def _drop(content):
    del content["joints"][3]


def _another_version(content):
    content["version"] = 99


def _not_a_number(content):
    content["joints"][0]["angles_rad"][0] = math.nan


def _no_sensors(content):
    content["joints"][0]["sensors"] = "WRJ2"


def _folded(content):
    content["joints"][0]["angles_rad"][1] = content["joints"][0]["angles_rad"][0]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_drop, "they must be"),
        (_another_version, "version 99"),
        (_not_a_number, "not finite"),
        (_no_sensors, "list of names"),
        (_folded, "increase or decrease"),
        (lambda content: content.pop("joints"), "damaged"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path, damage, said):
    path = tmp_path / "joints.json"
    calibration().save(path)
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match=said) as caught:
        JointCalibration.load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_missing_or_no_json_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        JointCalibration.load(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"kind": ')
    with pytest.raises(ConfigurationError, match="cannot be read"):
        JointCalibration.load(tmp_path / "cut.json")


def test_a_driver_that_gives_angles_starts_from_itself():
    hand = angle_passthrough()
    angles = np.random.default_rng(0).uniform(-2.0, 2.0, (5, 24))
    np.testing.assert_allclose(hand.angles(angles), angles, atol=1e-12)


VENDOR = """
sr_calibrations: [
{rows}
]
"""


def vendor_file(path, rows):
    lines = [f"[{name!r}, {points}], " for name, points in rows.items()]
    path.write_text(VENDOR.format(rows="\n".join(lines)))
    return path


def vendor_rows():
    rows = {joint.vendor: [[3000.0, 0.0], [2000.0, 45.0], [500.0, 90.0]] for joint in JOINTS}
    rows["FFJ4"] = [[800.0, -20.0], [1700.0, 0.0], [2000.0, 20.0]]
    return rows


def test_the_vendors_file_is_in_degrees_and_in_its_own_signs(tmp_path):
    hand = load_vendor(vendor_file(tmp_path / "calibration.yaml", vendor_rows()))
    raw = np.full((1, 26), 2000.0)
    angles = dict(zip([joint.name for joint in JOINTS], hand.angles(raw)[0], strict=True))
    assert angles["FFJ0"] == pytest.approx(math.radians(45))  # the vendor's FFJ1
    assert angles["FFJ3"] == pytest.approx(math.radians(20))  # FFJ4
    assert angles["THJ0"] == pytest.approx(-math.radians(45))  # THJ1, which the vendor counts the other way
    assert angles["WRJ0"] == pytest.approx(math.radians(45))  # WRJ1, the mean of A and B


def test_the_vendors_file_written_and_read_is_the_same(tmp_path):
    hand = calibration()
    save_vendor(tmp_path / "calibration.yaml", hand)
    again = load_vendor(tmp_path / "calibration.yaml")
    raw = np.random.default_rng(0).uniform(0.0, 2000.0, (9, 26))
    np.testing.assert_allclose(again.angles(raw), hand.angles(raw), atol=1e-9)


def test_a_vendors_file_that_is_short_of_a_joint_or_couples_two_is_refused(tmp_path):
    rows = vendor_rows()
    del rows["MFJ2"]
    with pytest.raises(ConfigurationError, match="MFJ2 is missing"):
        load_vendor(vendor_file(tmp_path / "short.yaml", rows))
    path = vendor_file(tmp_path / "coupled.yaml", vendor_rows())
    path.write_text(path.read_text() + '\nsr_calibrations_coupled: [[["THJ1", "THJ2"], []]]\n')
    with pytest.raises(ConfigurationError, match="THJ2 is calibrated by a table over two readings"):
        load_vendor(path)


def test_a_vendors_file_with_a_point_out_of_order_names_the_joint(tmp_path):
    rows = vendor_rows() | {"RFJ2": [[1398.0, 0.0], [2608.0, 22.5], [2302.0, 45.0]]}
    with pytest.raises(ConfigurationError, match="RFJ1: angles must"):
        load_vendor(vendor_file(tmp_path / "calibration.yaml", rows))


def test_what_reads_angles_cannot_be_written_for_the_vendor(tmp_path):
    with pytest.raises(ConfigurationError, match="not the vendor's sensors"):
        save_vendor(tmp_path / "calibration.yaml", angle_passthrough())
