"""The table of joints and actuators, against the contract, both simulated hands and the vendor's manual."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dactyl_tl import contract
from dactyl_tl.simulation.hand import HANDS
from dactyl_tl.simulation.scene import build_scene
from hardware.lowlevel import joints
from hardware.lowlevel.joints import (
    ACTUATORS,
    CENTRE,
    DRIVEN,
    HALF_RANGE,
    JOINTS,
    REACH,
    SAFE,
    TRAINED,
    from_vendor,
    positions,
    table_hash,
    to_vendor,
)

VENDOR_MANUAL = {
    "WRJ1": (-40, 28), "WRJ2": (-28, 10),
    "FFJ1": (0, 90), "FFJ2": (0, 90), "FFJ3": (-15, 90), "FFJ4": (-20, 20),
    "MFJ1": (0, 90), "MFJ2": (0, 90), "MFJ3": (-15, 90), "MFJ4": (-20, 20),
    "RFJ1": (0, 90), "RFJ2": (0, 90), "RFJ3": (-15, 90), "RFJ4": (-20, 20),
    "LFJ1": (0, 90), "LFJ2": (0, 90), "LFJ3": (-15, 90), "LFJ4": (-20, 20), "LFJ5": (0, 45),
    "THJ1": (-15, 90), "THJ2": (-40, 40), "THJ3": (-12, 12), "THJ4": (0, 70), "THJ5": (-60, 60),
}  # fmt: skip
"""Degrees, by the vendor's names and in its signs."""

ROUNDING = {"gymnasium_robotics": 5.1e-4, "calibrated": 5.1e-5}
"""The models' ranges are given to three and to four decimals, rad."""

angles24 = st.lists(st.floats(-4, 4), min_size=24, max_size=24)
targets20 = st.tuples(*(st.floats(low, high) for low, high in SAFE))


def test_names_orders_and_couplings_are_the_contract_s():
    assert tuple(joint.name for joint in JOINTS) == contract.JOINTS
    assert tuple(actuator.name for actuator in ACTUATORS) == contract.ACTUATORS
    for actuator in ACTUATORS:
        coupled = contract.COUPLED.get(actuator.name)
        assert actuator.joints == ((actuator.name, coupled) if coupled else (actuator.name,))


def test_every_joint_is_driven_by_one_actuator():
    assert sorted(index for driven in DRIVEN for index in driven) == list(range(24))
    for driven, actuator in zip(DRIVEN, ACTUATORS, strict=True):
        assert tuple(JOINTS[index].name for index in driven) == actuator.joints


def test_limits_are_the_vendor_s():
    assert {joint.vendor: joint.vendor_degrees for joint in JOINTS} == VENDOR_MANUAL


def test_vendor_names_count_from_one():
    for joint in JOINTS:
        assert joint.vendor == f"{joint.name[:-1]}{int(joint.name[-1]) + 1}"


def test_only_the_thumb_s_distal_joint_is_flipped():
    assert [joint.name for joint in JOINTS if joint.sign != 1] == ["THJ0"]
    assert next(joint.sign for joint in JOINTS if joint.name == "THJ0") == -1


def test_a_sign_is_certain_where_the_vendor_s_range_is_not_symmetric():
    for joint in JOINTS:
        low, high = joint.vendor_degrees
        assert joint.certain == (low != -high), joint


def test_the_flipped_joint_s_range_in_our_sign():
    thumb = JOINTS[-1]
    assert joints.vendor_range(thumb) == pytest.approx((-math.pi / 2, math.radians(15)))


@pytest.mark.parametrize("hand", HANDS)
def test_trained_ranges_are_those_of_the_simulated_hand(hand):
    model = build_scene(hand=hand).model
    assert np.abs(np.array(TRAINED) - model.actuator_ctrlrange).max() <= ROUNDING[hand]


@pytest.mark.parametrize("hand", HANDS)
def test_positions_are_what_the_simulated_servos_see(hand):
    driven = build_scene(hand=hand).driven
    angles = np.random.default_rng(0).uniform(-1, 1, 24)
    np.testing.assert_allclose(positions(angles.tolist()), driven @ angles, rtol=0, atol=1e-15)


def test_training_never_asks_for_what_the_vendor_forbids():
    """With the other sign, half of an unsymmetric range and more would lie outside."""
    assert SAFE == TRAINED


def test_safe_ranges_are_the_intersections():
    degrees = {a.name: tuple(map(math.degrees, safe)) for a, safe in zip(ACTUATORS, SAFE, strict=True)}
    assert degrees["WRJ1"] == pytest.approx((-28, 8))  # vendor -28..10
    assert degrees["FFJ2"] == pytest.approx((0, 90))  # vendor -15..90
    assert degrees["FFJ1"] == pytest.approx((0, 180))  # twice 0..90
    assert degrees["THJ1"] == pytest.approx((-30, 30))  # vendor -40..40
    assert degrees["THJ0"] == pytest.approx((-90, 0))  # vendor, flipped, -90..15
    for safe, trained, reach in zip(SAFE, TRAINED, REACH, strict=True):
        assert safe == (max(trained[0], reach[0]), min(trained[1], reach[1]))


def test_an_intersection_is_narrower_than_both_where_neither_holds_the_other(monkeypatch):
    narrow = (joints.Joint("WRJ1", "WRJ2", 1, True, (-20, 10)), *JOINTS[1:])
    monkeypatch.setattr(joints, "JOINTS", narrow)
    assert joints.safe_range(ACTUATORS[0]) == pytest.approx((math.radians(-20), math.radians(8)))


def test_units_of_action():
    assert CENTRE[0] == pytest.approx(math.radians(-10))
    assert HALF_RANGE[0] == pytest.approx(math.radians(18))


@given(angles24)
def test_angles_survive_the_way_through_vendor_names(angles):
    sent = {joint.vendor: joint.sign * angle for joint, angle in zip(JOINTS, angles, strict=True)}
    assert from_vendor(sent) == angles


@given(targets20)
def test_targets_survive_the_way_through_vendor_names(targets):
    sent = to_vendor(targets)
    assert set(sent) == set(VENDOR_MANUAL)
    np.testing.assert_allclose(positions(from_vendor(sent)), targets, rtol=0, atol=1e-15)


@given(targets20)
def test_safe_targets_are_within_the_vendor_s_limits_joint_by_joint(targets):
    for name, angle in to_vendor(targets).items():
        low, high = map(math.radians, VENDOR_MANUAL[name])
        assert low <= angle <= high, name


def test_a_coupled_pair_is_divided_evenly():
    targets = [0.0] * 20
    targets[[actuator.name for actuator in ACTUATORS].index("RFJ1")] = 1.0
    assert {name: angle for name, angle in to_vendor(targets).items() if angle} == {"RFJ1": 0.5, "RFJ2": 0.5}


@pytest.mark.parametrize("count", [0, 19, 21, 24])
def test_any_other_number_of_targets_is_refused(count):
    with pytest.raises(ValueError, match=f"{count} targets for 20"):
        to_vendor([0.0] * count)


def test_a_missing_joint_is_named():
    angles = dict.fromkeys(VENDOR_MANUAL, 0.0)
    del angles["LFJ5"]
    with pytest.raises(KeyError, match="LFJ5"):
        from_vendor(angles)


def test_the_table_s_hash_is_known():
    """A changed table is another hand: controllers and control loops of before refuse each other."""
    assert table_hash().hex() == "650e39e7786a6b5b9dbe20dfd70daaf4c37771fca2febe2bfbb73799d232db39"


other_range = st.tuples(st.integers(-180, 179), st.integers(-180, 180)).filter(lambda r: r[0] < r[1])
OTHER = {
    "name": st.sampled_from(["XXJ0", "FFJ9"]),
    "vendor": st.sampled_from(["XXJ1", "ffj1"]),
    "sign": st.sampled_from([-1, 1]),
    "certain": st.booleans(),
    "vendor_degrees": other_range,
    "joints": st.sampled_from([("WRJ1",), ("FFJ0", "FFJ1"), ("FFJ1",), ("FFJ1", "FFJ0", "FFJ2")]),
    "trained_degrees": other_range,
}


@given(st.sampled_from(["JOINTS", "ACTUATORS"]), st.data())
def test_the_table_s_hash_differs_where_any_field_does(name, data):
    table = getattr(joints, name)
    row = data.draw(st.integers(0, len(table) - 1))
    field = data.draw(st.sampled_from(table[row]._fields))
    value = data.draw(OTHER[field].filter(lambda value: value != getattr(table[row], field)))
    changed = (*table[:row], table[row]._replace(**{field: value}), *table[row + 1 :])
    before = table_hash()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joints, name, changed)
        assert table_hash() != before
    assert table_hash() == before


def test_the_table_s_hash_differs_where_the_order_does(monkeypatch):
    before = table_hash()
    monkeypatch.setattr(joints, "JOINTS", (JOINTS[1], JOINTS[0], *JOINTS[2:]))
    assert table_hash() != before
