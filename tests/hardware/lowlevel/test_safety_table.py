"""The safety machine: every state, message, header, number and ailment against a table; and its deadlines.

The table is written down here, not computed: what each message does in each state, what a header that is not
as it should be does to each kind of message, and that ailments come before everything else.
"""

import itertools
import math

import pytest

from hardware.lowlevel.safety import Machine, ailment, force, judge, tick
from hardware.lowlevel.wire import (
    Arm,
    Command,
    Header,
    Hold,
    Jog,
    Reason,
    State,
    Verdict,
)
from tests.hardware.lowlevel.machines import AILMENTS, HEADER, MACHINES, MESSAGES, NOBODY, NOW, WELL

FRESH = """
          | disarmed | armed    | running  | hold    | relax   | fading  | faulted  | stopped
Command   | alien    | >running | ok       | not_now | alien   | alien   | alien    | alien
Arm       | >armed   | >armed   | >armed   | >armed  | not_now | not_now | not_now  | not_now
Disarm    | alien    | >relax   | >relax   | >relax  | alien   | alien   | alien    | alien
Hold      | alien    | >hold    | >hold    | ok      | alien   | alien   | alien    | alien
Stop      | >fault   | >fault   | >fault   | >fault  | >fault  | >fault  | >fault   | >fault
Clear     | not_now  | not_now  | not_now  | not_now | not_now | not_now | >disarmed| >disarmed
Alive     | alien    | ok       | ok       | ok      | alien   | alien   | alien    | alien
Jog       | alien    | ok       | not_now  | not_now | alien   | alien   | alien    | alien
Ask       | alien    | not_now  | not_now  | not_now | alien   | alien   | alien    | alien
Condition | garbage  | garbage  | garbage  | garbage | garbage | garbage | garbage  | garbage
Report    | garbage  | garbage  | garbage  | garbage | garbage | garbage | garbage  | garbage
Info      | garbage  | garbage  | garbage  | garbage | garbage | garbage | garbage  | garbage
"""
"""What a message with a good header and good numbers does to a healthy hand: a verdict (``alien`` is out of
session), or accepted and the state that it leads to."""

WITHIN = ("Command", "Disarm", "Hold", "Alive", "Jog", "Ask")
"""Messages of a session; so is ``Arm`` once there is one."""

HEADERS = """
             | fresh | just | asked for | stale | future | long ago | replayed | earlier | stranger | nobody
of a session | -     | -    | -         | stale | stale  | stale    | replayed | replayed| alien    | alien
first Arm    | -     | -    | -         | stale | stale  | stale    | -        | -       | -        | alien
Clear        | -     | -    | -         | stale | stale  | stale    | -        | -       | -        | -
anything     | -     | -    | -         | -     | -      | -        | -        | -       | -        | -
"""
"""What a header does to a message before its numbers are looked at; ``-``: nothing. A stale message of a
stranger is a stranger's."""

VERDICTS = {
    "ok": Verdict.ACCEPTED,
    "alien": Verdict.OUT_OF_SESSION,
    "replayed": Verdict.REPLAYED,
    "stale": Verdict.STALE,
    "garbage": Verdict.GARBAGE,
    "not_now": Verdict.NOT_NOW,
}

NOT_NUMBERS = (math.nan, math.inf, -math.inf)


def spoilt(message):
    """Messages with numbers that are none or out of range, and their verdicts."""
    if isinstance(message, Command):
        for place, number in itertools.product((0, 7, 19), NOT_NUMBERS):
            action = tuple(number if index == place else 0.0 for index in range(20))
            yield message._replace(action=action), Verdict.NOT_FINITE
        for number in NOT_NUMBERS:
            yield message._replace(smoothing=number), Verdict.NOT_FINITE
        for number in (1.0000001, -1.0000001, 1e300):
            yield message._replace(action=(*message.action[:19], number)), Verdict.OUT_OF_RANGE
        for number in (-1e-9, 1.0, 2.0):
            yield message._replace(smoothing=number), Verdict.OUT_OF_RANGE
        for changed in ({"mode": 2}, {"mode": 255}, {"action": (0.0,) * 19}, {"action": (0.0,) * 21}):
            yield message._replace(**changed), Verdict.OUT_OF_RANGE
    if isinstance(message, Arm):
        for field, number in itertools.product(("velocity", "force"), NOT_NUMBERS):
            yield message._replace(**{field: number}), Verdict.NOT_FINITE
        for field, number in (("velocity", 0.0), ("velocity", -1.0), ("velocity", 1000.001), ("force", 0.0)):
            yield message._replace(**{field: number}), Verdict.OUT_OF_RANGE
        for number in (-0.5, 1.0000001):
            yield message._replace(force=number), Verdict.OUT_OF_RANGE
    if isinstance(message, Jog):
        for number in NOT_NUMBERS:
            yield message._replace(delta=number), Verdict.NOT_FINITE
        for changed in ({"delta": 0.2000001}, {"delta": -0.2000001}, {"actuator": 20}, {"actuator": -1}):
            yield message._replace(**changed), Verdict.OUT_OF_RANGE
    if isinstance(message, Hold):
        asked_for = (Reason.REQUESTED, Reason.TRACKING_LOST, Reason.CLIENT_FAULT)
        for reason in [*(reason for reason in Reason if reason not in asked_for), 15, 255]:
            yield message._replace(reason=reason), Verdict.OUT_OF_RANGE


def table(text: str) -> dict[tuple[str, str], str]:
    head, *rows = ([cell.strip() for cell in line.split("|")] for line in text.strip("\n").splitlines())
    return {(row[0], column): cell for row in rows for column, cell in zip(head[1:], row[1:], strict=True)}


EFFECTS, REFUSALS = table(FRESH), table(HEADERS)


def column_of(name: str, kind: str) -> str:
    in_session = name in ("armed", "running", "hold")
    if kind in WITHIN or (kind == "Arm" and in_session):
        return "of a session"
    return {"Arm": "first Arm", "Clear": "Clear"}.get(kind, "anything")


def expected(
    name: str, kind: str, header: str, flaw: Verdict | None, well: bool
) -> tuple[Verdict, State | None]:
    """The verdict, and the state that it leads to (None: where it was)."""
    effect = EFFECTS[kind, name]
    if effect in ("garbage", ">fault"):
        return (Verdict.GARBAGE, None) if effect == "garbage" else (Verdict.ACCEPTED, State.FAULT)
    if effect == "alien":  # there is no session to be of
        return Verdict.OUT_OF_SESSION, None
    refusal = REFUSALS[column_of(name, kind), header]
    if refusal != "-":
        return VERDICTS[refusal], None
    if flaw is not None:
        return flaw, None
    if not effect.startswith(">"):
        return VERDICTS[effect], None
    if not well:  # of those that lead anywhere only these can be met by a hand that is not well
        assert (name, kind) in (("disarmed", "Arm"), ("faulted", "Clear"), ("stopped", "Clear"))
        return Verdict.UNHEALTHY, None
    return Verdict.ACCEPTED, State[effect[1:].upper()]


def unaccepted(machine: Machine, header: Header) -> list[Machine]:
    """What a message that was not accepted may leave: the machine, or that with its sequence used up."""
    return [machine, machine._replace(sequence=header.sequence)]


def variants(kind: str):
    return [(MESSAGES[kind], None), *spoilt(MESSAGES[kind])]


every_state = pytest.mark.parametrize("name", MACHINES)
every_message = pytest.mark.parametrize("kind", MESSAGES)


@every_message
@every_state
def test_every_message_to_a_hand_that_is_well(name, kind):
    machine = MACHINES[name]
    for (header_name, header), (message, flaw), health in itertools.product(
        HEADER.items(), variants(kind), WELL
    ):
        after, verdict = judge(machine, header, message, health, NOW)
        what = (name, message, header_name, health)
        wanted, state = expected(name, kind, header_name, flaw, well=True)
        assert verdict is wanted, what
        assert after.state is (machine.state if state is None else state), what
        if verdict is not Verdict.ACCEPTED:
            assert after in unaccepted(machine, header), what
            assert force(after, NOW) == force(machine, NOW), what


@pytest.mark.parametrize("reason", AILMENTS)
@every_message
@every_state
def test_every_message_to_a_hand_that_is_not_well(name, kind, reason):
    machine = MACHINES[name]
    faults = name in ("armed", "running", "hold", "relax")
    for (header_name, header), (message, flaw), health in itertools.product(
        HEADER.items(), variants(kind), AILMENTS[reason]
    ):
        after, verdict = judge(machine, header, message, health, NOW)
        what = (name, message, header_name, health)
        # A hand under force has a fault before the message is looked at.
        wanted, state = expected("fading" if faults else name, kind, header_name, flaw, well=False)
        assert verdict is wanted, what
        assert after.state is (state or (State.FAULT if faults else machine.state)), what
        if kind == "Stop":
            assert (after.reason, after.force) == (Reason.STOPPED, 0.0), what
        elif faults:
            assert (after.reason, after.since_ns, after.session) == (reason, NOW, NOBODY), what
            assert force(after, NOW) == force(machine, NOW), what
        else:
            assert after == machine, what


@every_state
def test_what_is_wrong_is_found_out_where_there_is_force(name):
    machine = MACHINES[name]
    for reason, health in ((reason, health) for reason, each in AILMENTS.items() for health in each):
        after = tick(machine, health, NOW)
        if name in ("armed", "running", "hold", "relax"):
            assert (after.state, after.reason) == (State.FAULT, reason)
            assert force(after, NOW) == force(machine, NOW)
        else:
            assert after == machine
    for health in WELL:
        assert tick(machine, health, NOW) == machine


@pytest.mark.parametrize("reason", AILMENTS)
def test_ailments_and_what_is_none(reason):
    assert [ailment(health, NOW) for health in AILMENTS[reason]] == [reason] * len(AILMENTS[reason])
    assert [ailment(health, NOW) for health in WELL] == [Reason.NONE] * len(WELL)
