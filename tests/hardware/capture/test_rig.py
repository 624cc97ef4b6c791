"""The rig's file: whole or not there, and never believed unread. The fits below it."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dactyl_tl.errors import ConfigurationError
from hardware.capture.rig import Rig, load_rig, save_rig
from hardware.capture.rigid import check_layout, fit, fit_without_outliers, in_line, least_confusion, rms
from tests.hardware.capture.lab import OBJECT, RIG, pose

LAYOUT = RIG.object_layout


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rig.json"
    rig = replace(
        RIG, reference_positions=np.array(RIG.reference_layout) / 3.0, figures={"base_residual": 0.1 / 3}
    )
    save_rig(rig, path)
    return path


def test_what_is_saved_is_loaded(path):
    rig = load_rig(path)
    assert rig.fingertips == RIG.fingertips
    assert rig.references == RIG.references
    assert rig.figures == {"base_residual": 0.1 / 3}
    np.testing.assert_array_equal(rig.reference_positions, np.array(RIG.reference_layout) / 3.0)
    np.testing.assert_array_equal(rig.object_layout, LAYOUT)
    assert list(rig.object_markers) == list(RIG.object_markers)


def test_a_write_that_fails_leaves_the_former_file(path, monkeypatch):
    def fail(*arguments):
        raise OSError("disk full")

    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_rig(Rig(), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "version 2"),
        ({"fingertips": {"ff": 0}}, "name each of"),
        ({"fingertips": {"ff": 0, "mf": 0, "rf": 2, "lf": 3, "th": 4}}, r"\[0\] are given to two things"),
        ({"fingertips": {"ff": 0.5, "mf": 1, "rf": 2, "lf": 3, "th": 4}}, "0.5 is no marker id"),
        ({"references": [5, 6]}, "3 ids are needed"),
        ({"references": [5, 6, 8]}, r"\[8\] are given to two things"),
        ({"reference_layout": [[0, 0, 0]]}, "reference_layout"),
        ({"reference_positions": [[0, 0, 0], [1, 0, 0], [0, 1, "x"]]}, "could not convert"),
        ({"object_markers": {"8": [0, 0, 0]}}, "at least 4"),
        ({"object_markers": {"a": [0, 0, 0]}}, "invalid literal"),
        (
            {"object_markers": {"8": [0, 0], "9": [0, 0, 0], "10": [0, 0, 0], "11": [0, 0, 0]}},
            "3 finite numbers",
        ),
        ({"figures": None}, "figures|items"),
    ],
)
def test_a_file_with_a_mistake_is_refused_by_name(path, change, reason):
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **change}))
    with pytest.raises(ConfigurationError, match=reason):
        load_rig(path)


@pytest.mark.parametrize(
    ("text", "reason"), [("{", "no JSON"), ("[]", "version None"), ('{"version": 1}', "missing")]
)
def test_a_file_that_is_something_else_is_refused(path, text, reason):
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=reason):
        load_rig(path)


def test_numbers_that_are_not_finite_are_refused(path, tmp_path):
    path.write_text(path.read_text().replace("-0.053", "NaN"))
    with pytest.raises(ConfigurationError, match="finite"):
        load_rig(path)
    with pytest.raises(ConfigurationError, match="calibrate markers"):
        load_rig(tmp_path / "absent.json")


def test_fit_of_a_quarter_turn_by_hand():
    layout = np.array(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)))
    measured = np.array(((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)))
    measured += (1.0, 2.0, 3.0)
    found, residuals = fit(layout, measured)
    np.testing.assert_allclose(found.quaternion, (np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)), atol=1e-12)
    np.testing.assert_allclose(found.position, (1.0, 2.0, 3.0), atol=1e-12)
    np.testing.assert_allclose(residuals, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.into(found.apply(layout)), layout, atol=1e-12)


def test_fit_keeps_the_mean_when_markers_do_not_agree():
    # Two markers 2 cm apart on each axis are measured 2.2 cm apart: 1 mm is left at each end.
    layout = np.array(((0.01, 0.0, 0.0), (-0.01, 0.0, 0.0), (0.0, 0.01, 0.0), (0.0, -0.01, 0.0)))
    found, residuals = fit(layout, 1.1 * layout)
    np.testing.assert_allclose(residuals, 0.001, atol=1e-12)
    assert rms(residuals) == pytest.approx(0.001)
    np.testing.assert_allclose(found.position, 0.0, atol=1e-12)


@given(st.integers(0, 5), st.tuples(*[st.floats(-1.0, 1.0)] * 3), st.floats(0.03, 0.5))
def test_one_outlier_of_six_is_left_out(index, direction, distance):
    norm = np.linalg.norm(direction)
    if norm < 0.1:
        return
    measured = OBJECT.apply(LAYOUT)
    measured[index] += distance * np.array(direction) / norm
    found, residuals, used = fit_without_outliers(LAYOUT, measured, 0.003)
    assert used == tuple(i for i in range(6) if i != index)
    np.testing.assert_allclose(found.position, OBJECT.position, atol=1e-9)
    assert rms(residuals) < 1e-9


def test_when_most_markers_disagree_there_is_no_pose():
    measured = OBJECT.apply(LAYOUT)
    measured[:3] += np.array(((0.05, 0.0, 0.0), (0.0, 0.05, 0.0), (0.0, -0.05, 0.05)))
    assert fit_without_outliers(LAYOUT, measured, 0.003) is None


def test_two_poses_that_fit_as_well_give_none():
    # Three of four markers of a kite fit in two ways once the fourth is wrong: they do not tell which is.
    layout = np.array(((0.03, 0.0, 0.0), (-0.03, 0.0, 0.0), (0.0, 0.05, 0.0), (0.0, 0.0, 0.04)))
    swapped = layout[[1, 0, 2, 3]]
    assert fit_without_outliers(layout, swapped, 0.003) is None


def test_points_in_line():
    line = np.outer(np.array((0.0, 1.0, 3.0, 4.0)), (0.01, 0.02, -0.01))
    assert in_line(line)
    assert in_line(LAYOUT[:2])
    assert not in_line(LAYOUT[:3])


def test_confusion_is_the_residual_of_the_best_wrong_order():
    confusion, order = least_confusion(LAYOUT)
    assert order != tuple(range(6))
    assert rms(fit(LAYOUT, LAYOUT[list(order)])[1]) == pytest.approx(confusion)
    rng = np.random.default_rng(0)
    for _ in range(100):
        other = rng.permutation(6)
        if list(other) != list(range(6)):
            assert rms(fit(LAYOUT, LAYOUT[other])[1]) >= confusion - 1e-12
    assert confusion == pytest.approx(0.01117, abs=1e-5)  # what hardware/twin/markers.py says


def test_confusion_does_not_depend_on_the_pose():
    turned = pose((0.3, 1.0, -2.0), (1.0, 2.0, 3.0)).apply(LAYOUT)
    assert least_confusion(turned)[0] == pytest.approx(least_confusion(LAYOUT)[0], abs=1e-9)


def test_eight_markers_are_tried_by_exchanges():
    cube = 0.02 * np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
    skewed = cube + np.random.default_rng(3).uniform(-0.008, 0.008, cube.shape)
    confusion, order = least_confusion(skewed)
    assert rms(fit(skewed, skewed[list(order)])[1]) == pytest.approx(confusion)


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        (LAYOUT[:3], "at least 4"),
        (np.outer(np.arange(4.0) ** 2, (0.01, 0.0, 0.0)), "in a line"),
        (np.array(((0.02, 0.0, 0.0), (-0.02, 0.0, 0.0), (0.0, 0.02, 0.0), (0.0, -0.02, 0.0))), "look alike"),
        (np.array(((0.03, 0.0, 0.0), (-0.03, 0.0, 0.0), (0.0, 0.05, 0.0), (0.0, 0.0, 0.04))), "look alike"),
    ],
)
def test_layouts_that_cannot_be_told_are_refused(layout, reason):
    with pytest.raises(ConfigurationError, match=reason):
        check_layout(layout, 0.006)
