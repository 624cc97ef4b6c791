"""From a command to the servos' targets: smooth, resolve once, clip, and never faster than allowed.

What is not a number never moves a servo: a goal that would be none stays as it was, a target whose goal is
none stays where it is, a torque that would be none is zero.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence

from hardware.lowlevel.joints import CENTRE, HALF_RANGE, NUM_ACTUATORS, REACH, SAFE, positions
from hardware.lowlevel.wire import Command, Mode

NOWHERE = (math.nan,) * NUM_ACTUATORS
"""Goals and targets while there are none."""


class Course(NamedTuple):
    """Where the servos are told to be, and where that is going.

    Attributes:
        smoothed: the moving average of actions, 20 numbers.
        goals: where the targets are going, rad.
        targets: what the servos are to be sent now, rad.
    """

    smoothed: tuple[float, ...] = (0.0,) * NUM_ACTUATORS
    goals: tuple[float, ...] = NOWHERE
    targets: tuple[float, ...] = NOWHERE


def finite(numbers: Sequence[float]) -> bool:
    """Whether there is neither NaN nor infinity."""
    return all(math.isfinite(number) for number in numbers)


def clip(
    goals: Sequence[float], ranges: Sequence[tuple[float, float]] = SAFE
) -> tuple[tuple[float, ...], int]:
    """Goals within the actuators' safe (or other) ranges, rad, and a bit for each that was not; NaN stays."""
    kept, mask = [], 0
    for index, (goal, (low, high)) in enumerate(zip(goals, ranges)):
        kept.append(min(max(goal, low), high))
        mask |= (kept[-1] != goal) << index
    return tuple(kept), mask


def hold(angles: Sequence[float]) -> Course:
    """Stay where the 24 joints are measured, rad; what was smoothed is forgotten.

    That may be outside the safe range, within the vendor's: pulling a joint back is a movement, and the
    targets of a hand that holds begin where it is.
    """
    goals, _ = clip(positions(angles), REACH)
    return Course(goals=goals, targets=goals)


def follow(course: Course, command: Command, angles: Sequence[float]) -> tuple[Course, int]:
    """Head for what ``command`` means at the angles measured now, within the safe ranges.

    A relative action is resolved once: while the joints move, the goal stays.

    Returns:
        The course, and a bit for each goal that was clipped, or kept because the angle is none.
    """
    keep = command.smoothing
    smoothed = tuple(keep * old + (1.0 - keep) * new for old, new in zip(course.smoothed, command.action))
    start = positions(angles) if command.mode == Mode.RELATIVE else CENTRE
    wanted = [at + part * half for at, part, half in zip(start, smoothed, HALF_RANGE)]
    kept, clipped = clip(wanted)
    goals = tuple(
        new if math.isfinite(raw) else old for new, raw, old in zip(kept, wanted, course.goals)
    )  # fmt: skip
    return course._replace(smoothed=smoothed, goals=goals), clipped


def nudge(course: Course, actuator: int, delta: float) -> tuple[Course, int]:
    """Move the goal of one actuator by ``delta`` rad, and a bit for it if that was clipped.

    From outside its safe range a goal moves inwards only, and never further than asked.
    """
    goal, (low, high) = course.goals[actuator], SAFE[actuator]
    wanted = goal + delta
    if not math.isfinite(wanted):
        return course, 1 << actuator
    kept = min(max(wanted, min(low, goal)), max(high, goal))
    goals = (*course.goals[:actuator], kept, *course.goals[actuator + 1 :])
    return course._replace(goals=goals), (kept != wanted) << actuator


def advance(course: Course, step: float) -> tuple[Course, int]:
    """Targets nearer to their goals by at most ``step`` rad, and a bit for each that has yet to arrive."""
    targets, slowed = [], 0
    for index, (at, goal) in enumerate(zip(course.targets, course.goals)):
        gap = goal - at
        arrives = abs(gap) <= step
        if arrives:
            at = goal
        elif step > 0.0 and math.isfinite(gap):
            at += math.copysign(step, gap)
        targets.append(at)
        slowed |= (not arrives) << index
    return course._replace(targets=tuple(targets)), slowed


def torques(
    course: Course,
    angles: Sequence[float],
    velocities: Sequence[float],
    gains: Sequence[tuple[float, float, float]],
) -> list[float]:
    """What a hand without servos of its own is to be sent: proportional and derivative terms, Nm.

    Args:
        course: whose targets are to be reached.
        angles, velocities: of the 24 joints, rad and rad/s.
        gains: of each actuator: Nm/rad, Nm s/rad and its greatest torque, Nm.
    """
    at, speed = positions(angles), positions(velocities)
    wanted = (
        kp * (target - here) - kd * rate
        for target, here, rate, (kp, kd, _) in zip(course.targets, at, speed, gains)
    )
    return [
        min(max(torque, -most), most) if math.isfinite(torque) else 0.0
        for torque, (_, _, most) in zip(wanted, gains)
    ]
