"""From actions to targets: by hand, as in training, and whatever the numbers are."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dactyl_tl.envs.actuation import Actuators
from dactyl_tl.envs.config import ActionConfig
from dactyl_tl.simulation.hand import HANDS
from dactyl_tl.simulation.native import NativePhysics
from dactyl_tl.simulation.scene import build_scene
from hardware.lowlevel.joints import ACTUATORS, CENTRE, HALF_RANGE, JOINTS, REACH, SAFE, TRAINED, positions
from hardware.lowlevel.targets import NOWHERE, Course, advance, clip, finite, follow, hold, nudge, torques
from hardware.lowlevel.wire import Command, Mode

ACTUATOR = {actuator.name: index for index, actuator in enumerate(ACTUATORS)}
JOINT = {joint.name: index for index, joint in enumerate(JOINTS)}
NO_NUMBERS = (math.nan, math.inf, -math.inf)


def angles(**degrees: float) -> list[float]:
    """24 angles, rad: zero but for those given."""
    return [math.radians(degrees.get(joint.name, 0.0)) for joint in JOINTS]


def action(**parts: float) -> tuple[float, ...]:
    return tuple(parts.get(actuator.name, 0.0) for actuator in ACTUATORS)


def in_degrees(numbers, name: str) -> float:
    return math.degrees(numbers[ACTUATOR[name]])


measured = st.tuples(*(st.floats(-2.0, 2.0) for _ in JOINTS))
actions = st.tuples(*(st.floats(-1.0, 1.0) for _ in ACTUATORS))
commands = st.builds(Command, st.sampled_from(Mode), st.floats(0.0, 0.99), actions)
anything = st.floats(allow_nan=True, allow_infinity=True)


def within(numbers, ranges) -> bool:
    return all(low <= number <= high for number, (low, high) in zip(numbers, ranges, strict=True))


# By hand


def test_a_relative_action_starts_at_the_angle_measured():
    command = Command(Mode.RELATIVE, 0.0, action(FFJ2=0.5, THJ0=-0.25))
    course, clipped = follow(Course(), command, angles(FFJ2=10, THJ0=-50))
    assert in_degrees(course.goals, "FFJ2") == pytest.approx(10 + 0.5 * 45)
    assert in_degrees(course.goals, "THJ0") == pytest.approx(-50 - 0.25 * 45)
    assert in_degrees(course.goals, "MFJ2") == 0.0
    assert clipped == 0


def test_an_absolute_action_starts_at_the_centre():
    command = Command(Mode.ABSOLUTE, 0.0, action(WRJ1=1.0, WRJ0=-1.0, FFJ1=0.5))
    course, clipped = follow(Course(), command, angles(WRJ1=5, WRJ0=5, FFJ1=80))
    assert in_degrees(course.goals, "WRJ1") == pytest.approx(8)
    assert in_degrees(course.goals, "WRJ0") == pytest.approx(-40)
    assert in_degrees(course.goals, "FFJ1") == pytest.approx(135)  # 90 + 0.5 * 90
    assert in_degrees(course.goals, "LFJ4") == pytest.approx(22.5)
    assert clipped == 0


def test_a_coupled_pair_counts_as_the_sum_of_its_joints():
    command = Command(Mode.RELATIVE, 0.0, action(RFJ1=0.25))
    course, _ = follow(Course(), command, angles(RFJ1=40, RFJ0=20))
    assert in_degrees(course.goals, "RFJ1") == pytest.approx(60 + 0.25 * 90)


def test_smoothing_keeps_its_share():
    course = Course()
    for expected in (0.7, 0.91, 0.973):  # 1 - 0.3 ** n
        course, _ = follow(course, Command(Mode.ABSOLUTE, 0.3, action(THJ4=1.0)), angles())
        assert course.smoothed[ACTUATOR["THJ4"]] == pytest.approx(expected)
        assert in_degrees(course.goals, "THJ4") == pytest.approx(60 * expected)


def test_what_is_clipped_is_told():
    command = Command(Mode.RELATIVE, 0.0, action(FFJ2=-1.0, THJ0=1.0, WRJ1=-1.0))
    course, clipped = follow(Course(), command, angles(FFJ2=10, THJ0=-10, WRJ1=0))
    assert in_degrees(course.goals, "FFJ2") == 0.0
    assert in_degrees(course.goals, "THJ0") == 0.0
    assert in_degrees(course.goals, "WRJ1") == pytest.approx(-18)
    assert clipped == 1 << ACTUATOR["FFJ2"] | 1 << ACTUATOR["THJ0"]


def test_a_goal_at_the_end_of_its_range_is_not_clipped():
    lows, highs = zip(*SAFE, strict=True)
    assert clip(lows) == (lows, 0)
    assert clip(highs) == (highs, 0)
    assert clip([math.nextafter(low, -9) for low in lows]) == (lows, (1 << 20) - 1)
    assert clip([math.nextafter(high, 9) for high in highs]) == (highs, (1 << 20) - 1)


def test_the_goal_stays_while_the_joints_move():
    course, _ = follow(hold(angles(FFJ2=10)), Command(Mode.RELATIVE, 0.0, action(FFJ2=0.5)), angles(FFJ2=10))
    for _ in range(100):
        course, _ = advance(course, 0.01)
    assert in_degrees(course.targets, "FFJ2") == pytest.approx(32.5)


def test_targets_approach_their_goals_at_the_speed_allowed():
    course = hold(angles())._replace(goals=(0.05, -0.05, 0.015, *(0.0,) * 17))
    course, slowed = advance(course, 0.02)
    assert course.targets[:3] == (0.02, -0.02, 0.015)
    assert slowed == 0b011
    course, slowed = advance(course, 0.02)
    assert course.targets[:3] == (0.04, -0.04, 0.015)
    assert slowed == 0b011
    course, slowed = advance(course, 0.02)
    assert course.targets == course.goals
    assert slowed == 0


def test_a_goal_one_step_away_is_reached_and_not_slowed():
    course = hold(angles())._replace(goals=(0.02, -0.02, *(0.0,) * 18))
    assert advance(course, 0.02) == (course._replace(targets=course.goals), 0)


def test_a_nudge_moves_one_goal():
    before = hold(angles(FFJ2=10, THJ4=5))
    course, clipped = nudge(before, ACTUATOR["THJ4"], math.radians(-3))
    assert in_degrees(course.goals, "THJ4") == pytest.approx(2)
    assert clipped == 0
    assert [a == b for a, b in zip(course.goals, before.goals, strict=True)].count(False) == 1
    assert course.targets == before.targets
    course, clipped = nudge(course, ACTUATOR["FFJ2"], math.radians(-11))
    assert in_degrees(course.goals, "FFJ2") == 0.0
    assert clipped == 1 << ACTUATOR["FFJ2"]


def test_torques_by_hand():
    gains = [(2.0, 0.5, 10.0)] * 20
    course = Course(targets=tuple(math.radians(30) if a.name == "FFJ1" else 0.0 for a in ACTUATORS))
    velocities = [0.0] * 24
    velocities[JOINT["FFJ1"]], velocities[JOINT["FFJ0"]] = 0.1, 0.3
    sent = torques(course, angles(FFJ1=10, FFJ0=5), velocities, gains)
    assert sent[ACTUATOR["FFJ1"]] == pytest.approx(2.0 * math.radians(15) - 0.5 * 0.4)
    assert [torque for torque in sent if torque] == [sent[ACTUATOR["FFJ1"]]]


@pytest.mark.parametrize(("target", "expected"), [(1.0, 0.25), (-1.0, -0.25), (0.1, 0.2), (0.125, 0.25)])
def test_torques_are_kept_to_the_greatest(target, expected):
    sent = torques(Course(targets=(target,) * 20), [0.0] * 24, [0.0] * 24, [(2.0, 0.0, 0.25)] * 20)
    assert sent == [pytest.approx(expected)] * 20
    assert max(map(abs, sent)) <= 0.25


# As in training


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("hand", HANDS)
def test_goals_are_those_of_training(hand, relative):
    """Within the rounding of the models' ranges (three and four decimals) and of single precision."""
    generator = torch.Generator().manual_seed(0)
    scene = build_scene(hand=hand)
    physics = NativePhysics(scene.model, 1)
    config = ActionConfig(relative=relative)
    training = Actuators(scene, physics, config)
    smoothed, course = torch.zeros(1, 20), Course()
    low, high = torch.from_numpy(scene.model.jnt_range[:24].T)
    clipped_ever = 0
    for _ in range(50):
        joints = low + (high - low) * torch.rand(24, generator=generator)
        bins = torch.randint(0, 11, (1, 20), generator=generator)
        new = bins.float() / 5.0 - 1.0
        physics.qpos[:, :24] = joints
        smoothed = training.smooth(new, smoothed)
        expected = training.targets(smoothed)[0]
        mode = Mode.RELATIVE if relative else Mode.ABSOLUTE
        command = Command(mode, config.smoothing, tuple(new[0].tolist()))
        course, clipped = follow(course, command, physics.qpos[0, :24].tolist())
        clipped_ever |= clipped
        rounding = {"gymnasium_robotics": 5.1e-4, "calibrated": 5.1e-5}[hand]
        torch.testing.assert_close(
            torch.tensor(course.goals, dtype=expected.dtype), expected, rtol=0, atol=2 * rounding + 1e-6
        )
        torch.testing.assert_close(torch.tensor(course.smoothed), smoothed[0], rtol=0, atol=1e-6)
    assert (clipped_ever != 0) == relative  # clipping was compared too


# Whatever the numbers are


@given(measured, st.lists(commands, min_size=1, max_size=5))
def test_goals_of_commands_are_within_the_safe_ranges(start, sequence):
    course = hold(start)
    for command in sequence:
        course, clipped = follow(course, command, start)
        assert within(course.goals, SAFE)
        assert 0 <= clipped < 1 << 20


@given(measured)
def test_holding_a_hand_does_not_move_it(start):
    """But for where the measurement itself is outside of what the vendor's hand can do."""
    course = hold(start)
    assert course.targets == course.goals
    assert within(course.targets, REACH)
    for target, at, (low, high) in zip(course.targets, positions(start), REACH, strict=True):
        assert target == at or (target == low and at < low) or (target == high and at > high)
    assert advance(course, 0.01) == (course, 0)


def test_a_hand_held_outside_its_safe_range_comes_back_no_faster_than_allowed():
    start = angles(FFJ2=-10)
    course = hold(start)
    assert in_degrees(course.targets, "FFJ2") == pytest.approx(-10)
    course, clipped = follow(course, Command(Mode.RELATIVE, 0.0, action()), start)
    assert in_degrees(course.goals, "FFJ2") == 0.0
    assert clipped == 1 << ACTUATOR["FFJ2"]
    course, slowed = advance(course, math.radians(4))
    assert in_degrees(course.targets, "FFJ2") == pytest.approx(-6)
    assert slowed == 1 << ACTUATOR["FFJ2"]


@given(measured, st.integers(0, 19), st.floats(-0.2, 0.2))
def test_a_nudge_moves_no_further_than_asked_and_never_outwards(start, actuator, delta):
    before = hold(start)
    course, clipped = nudge(before, actuator, delta)
    old, new, (low, high) = before.goals[actuator], course.goals[actuator], SAFE[actuator]
    assert abs(new - old) <= abs(delta) + math.ulp(4.0)
    assert (new - old) * delta >= 0.0
    assert min(low, old) <= new <= max(high, old)
    assert clipped == ((new != old + delta) << actuator)


def moved(before: Course, after: Course) -> list[float]:
    return [abs(new - old) for new, old in zip(after.targets, before.targets, strict=True)]


@given(measured, commands, st.floats(1e-6, 1.0), st.integers(1, 20))
def test_no_step_exceeds_the_limit_or_the_goal(start, command, step, times):
    course, _ = follow(hold(start), command, start)
    for _ in range(times):
        before = course
        course, slowed = advance(before, step)
        # An addition rounds to the nearest number: a step may be half a unit in the last place longer.
        assert max(moved(before, course)) <= step + math.ulp(4.0) / 2
        for index in range(20):
            low, high = sorted((before.targets[index], before.goals[index]))
            assert low <= course.targets[index] <= high
            assert bool(slowed >> index & 1) == (course.targets[index] != course.goals[index])


@given(measured, commands, st.floats(0.01, 1.0))
def test_goals_are_reached_in_as_many_steps_as_they_are_far(start, command, step):
    course, _ = follow(hold(start), command, start)
    farthest = max(abs(goal - at) for goal, at in zip(course.goals, course.targets, strict=True))
    for _ in range(math.ceil(farthest / step) + 1):  # one more for what rounding leaves
        course, _ = advance(course, step)
    assert course.targets == course.goals


@given(measured, commands, st.sampled_from([0.0, -1.0, *NO_NUMBERS[:1]]))
def test_a_step_that_is_none_moves_nothing(start, command, step):
    course, _ = follow(hold(start), command, start)
    assert advance(course, step)[0] == course


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("none", NO_NUMBERS)
def test_an_angle_that_is_no_number_leaves_its_goal_and_only_its(mode, none):
    start = angles(FFJ2=-10, MFJ2=20)
    held = hold(start)
    start[JOINT["FFJ2"]] = none
    course, clipped = follow(held, Command(mode, 0.0, action(FFJ2=0.5, MFJ2=0.5)), start)
    if mode is Mode.RELATIVE:
        assert course.goals[ACTUATOR["FFJ2"]] == held.goals[ACTUATOR["FFJ2"]]
        assert clipped == 1 << ACTUATOR["FFJ2"]
        assert in_degrees(course.goals, "MFJ2") == pytest.approx(42.5)
    else:  # where the joint is does not matter
        assert in_degrees(course.goals, "FFJ2") == pytest.approx(67.5)
        assert clipped == 0
    assert finite(course.goals)


@given(st.tuples(*(anything for _ in JOINTS)), measured, commands, st.floats(1e-6, 1.0))
def test_what_is_no_number_never_moves_a_servo(broken, start, command, step):
    held = hold(start)
    course, _ = follow(held, command, broken)
    after, _ = advance(course, step)
    assert finite(after.targets)
    assert max(moved(held, after)) <= step + math.ulp(4.0) / 2
    for index, at in enumerate(positions(broken)):
        if not math.isfinite(at) and command.mode is Mode.RELATIVE:
            assert after.targets[index] == held.targets[index]


@given(st.lists(anything, min_size=20, max_size=20).map(tuple), measured, st.floats(1e-6, 1.0))
def test_a_goal_that_is_no_number_leaves_its_target(goals, start, step):
    held = hold(start)
    after, slowed = advance(held._replace(goals=goals), step)
    assert finite(after.targets)
    for index, goal in enumerate(goals):
        if not math.isfinite(goal):
            assert after.targets[index] == held.targets[index]
            assert slowed >> index & 1


def test_nowhere_leads_nowhere():
    course, slowed = advance(Course(), 1.0)
    assert all(math.isnan(target) for target in course.targets)
    assert slowed == (1 << 20) - 1
    course, _ = nudge(Course(), 3, 0.1)
    assert all(math.isnan(goal) for goal in course.goals)
    assert not finite(NOWHERE)


@pytest.mark.parametrize("delta", NO_NUMBERS)
def test_a_nudge_that_is_no_number_is_none(delta):
    held = hold(angles(FFJ2=10))
    assert nudge(held, ACTUATOR["FFJ2"], delta) == (held, 1 << ACTUATOR["FFJ2"])


@given(
    st.lists(anything, min_size=20, max_size=20).map(tuple),
    st.lists(anything, min_size=24, max_size=24),
    st.lists(anything, min_size=24, max_size=24),
)
def test_torques_are_finite_and_within_their_limits_whatever_is_measured(targets, at, speeds):
    gains = [(2.0 + index, 0.1, 0.05 * (index + 1)) for index in range(20)]
    for torque, (_, _, most) in zip(torques(Course(targets=targets), at, speeds, gains), gains, strict=True):
        assert -most <= torque <= most


def test_a_torque_without_a_target_is_zero():
    assert torques(Course(), [0.0] * 24, [0.0] * 24, [(2.0, 0.1, 1.0)] * 20) == [0.0] * 20


def test_units_are_those_of_training():
    assert [low + half for (low, _), half in zip(TRAINED, HALF_RANGE, strict=True)] == pytest.approx(CENTRE)
