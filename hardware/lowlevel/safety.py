"""The safety machine: which messages count, and what the hand may do. Pure: no clock, no socket, no hand.

::

    disarmed --Arm--> armed --Command--> running
        ^               |  \\                |  no command or no sign of life for 200 ms, or Hold
        |               |   +----------> hold  stays where it is measured
        |             Disarm               |  800 ms later, or Disarm
        |               +-----------> relax <-+
        +----- force has faded ---------+
    fault: from anywhere; the force fades, or after Stop is gone; only Clear leads on, to disarmed.

``Arm`` also leads from hold and running back to armed: nothing resumes by itself. Within a session the force
never rises, and its limits can only be lowered.

Deadlines count from the messages, not from the ticks: a late tick finds the machine where timely ones would
have brought it, so a controller that was stopped and comes back does not take up force again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hardware.lowlevel.joints import NUM_ACTUATORS, table_hash
from hardware.lowlevel.targets import finite
from hardware.lowlevel.wire import (
    Alive,
    Arm,
    Clear,
    Command,
    Condition,
    Disarm,
    Header,
    Hold,
    Info,
    Jog,
    Message,
    Mode,
    Reason,
    Report,
    State,
    Stop,
    Verdict,
)

MILLISECOND = 1_000_000
"""ns"""

HOLD_AFTER = 200 * MILLISECOND
"""Without a command, or without a sign of life, ns."""

RELAX_AFTER = 800 * MILLISECOND
"""In hold, ns: a second after the last command."""

RAMP = 500 * MILLISECOND
"""In which the force fades, ns."""

OLDEST = 200 * MILLISECOND
"""Greatest age of what a message is based on, ns; a message may ask for less. Less than :data:`RAMP`, so that
no message outlives its session."""

SILENT_AFTER = 100 * MILLISECOND
"""Greatest age of a measurement, ns."""

HOTTEST = 65.0
"""Of a motor, degrees Celsius."""

FASTEST = 1000.0
"""Greatest speed of targets that may be asked for, rad/s: a whole range within a tick, which is no limit."""

FARTHEST = 0.2
"""Greatest step of a jog, rad."""

NOBODY = 0
"""The session while there is none."""

ASKED_FOR = (Reason.REQUESTED, Reason.TRACKING_LOST, Reason.CLIENT_FAULT)
"""Reasons that a ``Hold`` may give; the others are the machine's own to find."""

_TABLE = table_hash()
_MOVING = (State.ARMED, State.RUNNING)
_UNDER_FORCE = (*_MOVING, State.HOLD)
_LOWERED = {
    State.HOLD: _MOVING,
    State.RELAX: _UNDER_FORCE,
    State.FAULT: (State.DISARMED, *_UNDER_FORCE, State.RELAX),
}
"""States that may be entered from outside, and from where."""


class Health(NamedTuple):
    """What is known about the hand.

    Attributes:
        measured_ns: when its joints were last measured.
        valid: whether all of that was finite.
        calibrated: whether the vendor says so.
        temperature: of the hottest motor, degrees Celsius; NaN where the hand does not tell.
        reachable: whether the backend can send and receive.
    """

    measured_ns: int
    valid: bool = True
    calibrated: bool = True
    temperature: float = math.nan
    reachable: bool = True


class Machine(NamedTuple):
    """The whole state of the safety machine.

    Attributes:
        state, reason: where it is and why.
        since_ns: when it got there; where a deadline led there, that deadline.
        session: whom it listens to; there is one while the hand is armed, running or in hold.
        sequence: of the latest message of the session.
        commanded_ns: when the latest command was accepted.
        alive_ns: when the latest sign of life came.
        force: allowed by the session, 0..1; what fades, once there is none.
        velocity: allowed by the session, rad/s.
        fading_ns: when the force began to fade.
    """

    state: State = State.DISARMED
    reason: Reason = Reason.NONE
    since_ns: int = 0
    session: int = NOBODY
    sequence: int = 0
    commanded_ns: int = 0
    alive_ns: int = 0
    force: float = 0.0
    velocity: float = 0.0
    fading_ns: int = 0


def ailment(health: Health, now: int) -> Reason:
    """What is wrong with a hand that is under force; ``Reason.NONE`` if nothing is."""
    if not health.reachable:
        return Reason.BACKEND_FAILED
    if abs(now - health.measured_ns) > SILENT_AFTER:  # one from the future would hide a silence
        return Reason.SENSORS_SILENT
    if not health.valid:
        return Reason.SENSORS_INVALID
    if health.temperature > HOTTEST:
        return Reason.OVER_TEMPERATURE
    return Reason.NONE if health.calibrated else Reason.NOT_CALIBRATED


def tick(machine: Machine, health: Health, now: int) -> Machine:
    """What time and the hand's health make of the machine."""
    machine = _expire(machine, now)
    if machine.state in (*_UNDER_FORCE, State.RELAX):
        wrong = ailment(health, now)
        if wrong is not Reason.NONE:
            return _lower(machine, State.FAULT, wrong, now)
    return machine


def enter(machine: Machine, state: State, reason: Reason, now: int) -> Machine:
    """Lead the machine down: to hold, relax or fault.

    Where it is already there or further down it stays as it is: no call prolongs or raises the force, and the
    first fault is the one that is told.

    Raises:
        ValueError: another state; only messages lead up, and only time to disarmed.
    """
    if state not in _LOWERED:
        raise ValueError(f"only hold, relax and fault can be entered, not {State(state).name.lower()}")
    machine = _expire(machine, now)
    return _lower(machine, state, reason, now) if machine.state in _LOWERED[state] else machine


def force(machine: Machine, now: int) -> float:
    """The servos' greatest force now, 0..1."""
    machine = _expire(machine, now)
    if machine.state is State.DISARMED:
        return 0.0
    if machine.state in _UNDER_FORCE:
        return machine.force
    return machine.force * min(max(1.0 - (now - machine.fading_ns) / RAMP, 0.0), 1.0)


def judge(
    machine: Machine, header: Header, message: Message, health: Health, now: int
) -> tuple[Machine, Verdict]:
    """What a message makes of the machine, and whether it counts.

    What time and health have to say comes first. Whoever is out of session, repeats, or speaks of what is
    long past is not listened to; numbers are looked at before anything is done with them.
    """
    machine = tick(machine, health, now)
    if isinstance(message, Stop):  # whoever sends it, and however late; a button held down cannot be cleared
        return Machine(State.FAULT, Reason.STOPPED, now), Verdict.ACCEPTED
    if isinstance(message, (Condition, Report, Info)):
        return machine, Verdict.GARBAGE
    opens = isinstance(message, Arm) and machine.session == NOBODY != header.session
    within = not opens and not isinstance(message, Clear)
    if within:
        if header.session != machine.session or machine.session == NOBODY:
            return machine, Verdict.OUT_OF_SESSION
        if header.sequence <= machine.sequence:
            return machine, Verdict.REPLAYED
    if not _fresh(header, now):
        return machine, Verdict.STALE
    if within:
        machine = machine._replace(sequence=header.sequence)
    verdict = _flaw(message)
    if verdict is not Verdict.ACCEPTED:
        return machine, verdict
    return _obey(machine, header, message, health, now)


def _fresh(header: Header, now: int) -> bool:
    asked = header.ttl_ms * MILLISECOND
    return 0 <= now - header.basis_ns <= (min(asked, OLDEST) if asked else OLDEST)


def _flaw(message: Message) -> Verdict:
    """What is wrong with the numbers of a message."""
    numbers: tuple[float, ...] = ()
    good = True
    if isinstance(message, Command):
        numbers = (message.smoothing, *message.action)
        good = (
            message.mode in tuple(Mode)
            and 0.0 <= message.smoothing < 1.0
            and len(message.action) == NUM_ACTUATORS
            and all(-1.0 <= part <= 1.0 for part in message.action)
        )
    elif isinstance(message, Arm):
        numbers = (message.velocity, message.force)
        good = 0.0 < message.velocity <= FASTEST and 0.0 < message.force <= 1.0
    elif isinstance(message, Jog):
        numbers = (message.delta,)
        good = 0 <= message.actuator < NUM_ACTUATORS and abs(message.delta) <= FARTHEST
    elif isinstance(message, Hold):
        good = message.reason in ASKED_FOR
    if not finite(numbers):
        return Verdict.NOT_FINITE
    return Verdict.ACCEPTED if good else Verdict.OUT_OF_RANGE


def _obey(
    machine: Machine, header: Header, message: Message, health: Health, now: int
) -> tuple[Machine, Verdict]:
    state = machine.state
    if isinstance(message, Alive):
        return machine._replace(alive_ns=now), Verdict.ACCEPTED
    if isinstance(message, Command) and state in _MOVING:
        machine = machine._replace(commanded_ns=now)
        if state is State.ARMED:
            machine = machine._replace(state=State.RUNNING, reason=Reason.NONE, since_ns=now)
        return machine, Verdict.ACCEPTED
    if isinstance(message, Jog) and state is State.ARMED:
        return machine, Verdict.ACCEPTED
    if isinstance(message, Hold) and state in _MOVING:
        return _lower(machine, State.HOLD, Reason(message.reason), now), Verdict.ACCEPTED
    if isinstance(message, Hold) and state is State.HOLD:
        return machine, Verdict.ACCEPTED  # as it may have come to by itself meanwhile
    if isinstance(message, Disarm) and state in _UNDER_FORCE:
        return _lower(machine, State.RELAX, Reason.REQUESTED, now), Verdict.ACCEPTED
    if isinstance(message, Arm) and state in (State.DISARMED, *_UNDER_FORCE):
        return _arm(machine, header, message, health, now)
    if isinstance(message, Clear) and state is State.FAULT and now - machine.since_ns >= RAMP:
        if ailment(health, now) is not Reason.NONE:
            return machine, Verdict.UNHEALTHY
        return Machine(State.DISARMED, Reason.NONE, now), Verdict.ACCEPTED
    return machine, Verdict.NOT_NOW


def _arm(machine: Machine, header: Header, message: Arm, health: Health, now: int) -> tuple[Machine, Verdict]:
    if message.table != _TABLE:
        return machine, Verdict.LIMITS_DIFFER
    if ailment(health, now) is not Reason.NONE:
        return machine, Verdict.UNHEALTHY
    if machine.state is not State.DISARMED and (
        message.force > machine.force or message.velocity > machine.velocity
    ):
        return machine, Verdict.OUT_OF_RANGE
    if machine.state is State.HOLD and header.basis_ns < machine.since_ns:
        return machine, Verdict.STALE  # whoever resumes has seen that the hand holds
    return Machine(
        State.ARMED, Reason.NONE, now, header.session, header.sequence, alive_ns=now, force=message.force,
        velocity=message.velocity,
    ), Verdict.ACCEPTED  # fmt: skip


def _expire(machine: Machine, now: int) -> Machine:
    """Where deadlines that have passed have led by now."""
    if machine.state in _MOVING:
        due, reason = machine.alive_ns, Reason.DEAD_MAN
        if machine.state is State.RUNNING and machine.commanded_ns < due:
            due, reason = machine.commanded_ns, Reason.COMMANDS_CEASED
        if now >= due + HOLD_AFTER:
            machine = _lower(machine, State.HOLD, reason, due + HOLD_AFTER)
    if machine.state is State.HOLD and now >= machine.since_ns + RELAX_AFTER:
        machine = _lower(machine, State.RELAX, machine.reason, machine.since_ns + RELAX_AFTER)
    if machine.state is State.RELAX and now >= machine.fading_ns + RAMP:
        machine = Machine(State.DISARMED, machine.reason, machine.fading_ns + RAMP)
    return machine


def _lower(machine: Machine, state: State, reason: Reason, now: int) -> Machine:
    if state is State.HOLD:
        return machine._replace(state=state, reason=reason, since_ns=now)
    # A fault does not begin a fading anew that has begun already.
    fading = machine.fading_ns if machine.state is State.RELAX else now
    return Machine(state, reason, now, force=machine.force, fading_ns=fading)
