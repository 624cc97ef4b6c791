"""The dry hand: a hand that is nothing but its program, and what the other backends are called."""

import math

import pytest

from hardware.lowlevel.backends import BACKENDS, Backend, open_hand
from hardware.lowlevel.hand import DryHand
from hardware.lowlevel.joints import ACTUATORS, DRIVEN, NUM_JOINTS, positions

TARGETS = tuple(0.01 * (index + 1) for index in range(20))
TICK = 5_000_000


@pytest.fixture
def clock(monkeypatch):
    """The time that the hand reads; tests pass in no time."""
    now = [1_000_000_000]
    monkeypatch.setattr("hardware.lowlevel.hand.time.monotonic_ns", lambda: now[0])
    return now


def live(hand, clock, ticks: int):
    readings = []
    for _ in range(ticks):
        clock[0] += TICK
        readings.append(hand.read())
    return readings


def test_it_stands_still_until_there_is_force(clock):
    hand = DryHand()
    hand.write(TARGETS)
    for reading in live(hand, clock, 50):
        assert reading.angles == reading.velocities == (0.0,) * NUM_JOINTS
    hand.limit(1.0)
    assert any(live(hand, clock, 2)[-1].angles)


def test_its_servos_settle_at_their_targets_within_the_time_that_it_says(clock):
    hand = DryHand()
    hand.limit(1.0)
    hand.write(TARGETS)
    before, after = live(hand, clock, 40)[-1], live(hand, clock, 80)[-1]
    assert positions(before.angles) == pytest.approx(TARGETS, rel=0.15)
    assert positions(after.angles) == pytest.approx(TARGETS, rel=0.001)
    for driven in DRIVEN:
        assert len({after.angles[index] for index in driven}) == 1, "a pair shares its target"


def test_without_force_it_comes_to_rest_where_it_is(clock):
    hand = DryHand()
    hand.limit(1.0)
    hand.write(TARGETS)
    moving = live(hand, clock, 10)[-1]
    hand.limit(0.0)
    rest = live(hand, clock, 200)[-1]
    assert max(map(abs, rest.velocities)) < 1e-6
    assert all(now >= then for now, then in zip(rest.angles, moving.angles, strict=True))
    assert positions(rest.angles)[-1] < TARGETS[-1]


def test_with_torques_a_joint_is_a_unit_mass(clock):
    hand = DryHand(torques=True)
    assert hand.gains == [(hand.STIFFNESS, hand.DAMPING, hand.STRONGEST)] * len(ACTUATORS)
    hand.limit(1.0)
    hand.write((2.0, *(0.0,) * 19))
    reading = live(hand, clock, 10)[-1]
    (joint,) = DRIVEN[0]
    assert reading.velocities[joint] == pytest.approx(2.0 * 10 * TICK * 1e-9)
    assert sum(map(abs, reading.velocities)) == pytest.approx(reading.velocities[joint])
    hand.limit(0.0)
    assert live(hand, clock, 5)[-1].velocities == reading.velocities


def test_a_pause_is_one_short_step(clock):
    hand = DryHand(torques=True)
    hand.limit(1.0)
    hand.write((1.0, *(0.0,) * 19))
    clock[0] += 3_600_000_000_000
    assert hand.read().velocities[0] == pytest.approx(0.01)


def test_numbers_are_counted():
    with pytest.raises(ValueError, match="19 numbers for 20"):
        DryHand().write([0.0] * 19)


def test_readings_are_whole_and_temperatures_unknown(clock):
    reading = DryHand().read()
    assert reading.measured_ns == clock[0]
    assert (len(reading.angles), len(reading.velocities)) == (NUM_JOINTS, NUM_JOINTS)
    assert reading.calibrated
    assert math.isnan(reading.temperature)


@pytest.mark.parametrize(("name", "said"), [("dry", "dry"), ("dry_torques", "dry torques")])
def test_dry_hands_open_without_anything(name, said):
    hand = open_hand(Backend(name))
    assert hand.name == said
    assert (hand.gains is None) == (name == "dry")
    hand.close()


def test_another_name_is_an_error_that_tells_the_choices():
    with pytest.raises(ValueError, match=f"'wet'; choose from {', '.join(BACKENDS)}"):
        open_hand(Backend("wet"))


def test_names_fit_into_the_wire():
    for hand in (DryHand(), DryHand(torques=True)):
        assert len(hand.name.encode("ascii")) <= 16
    assert all(len(name.encode("ascii")) <= 16 for name in BACKENDS)
