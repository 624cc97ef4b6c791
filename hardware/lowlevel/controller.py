"""The loop that drives a hand: messages as they come, a tick every 5 ms, and nothing else.

One thread, so that nothing happens between two lines. A message is answered at once, with what became of
it; the hand is read, judged and written in ticks alone.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress

import zmq

from hardware.lowlevel.hand import Hand, HandError, Reading
from hardware.lowlevel.joints import NUM_JOINTS, table_hash
from hardware.lowlevel.lifeline import Lifeline
from hardware.lowlevel.realtime import Lateness, Ticker, settle
from hardware.lowlevel.safety import NOBODY, Health, Machine, ailment, enter, force, judge, tick
from hardware.lowlevel.targets import NOWHERE, Course, advance, finite, follow, hold, nudge, torques
from hardware.lowlevel.wire import (
    Answer,
    Ask,
    Command,
    Condition,
    Header,
    Info,
    Jog,
    Reason,
    Report,
    Request,
    State,
    Verdict,
    WireError,
    decode,
    encode,
)

PERIOD = 5000000
"""Between two ticks, ns (App. B.1: the PD loop runs every 5 ms)."""

REPEAT = 20
"""Ticks after which an unchanged force is sent again: the vendor's topics acknowledge nothing."""

SETTLING = 4
"""Ticks for which targets are sent before there is any force: topics may overtake each other."""

INSISTENCE = 10
"""Ticks for which a hand that is let go of for good is told so: a connection's last message may get lost."""

BURST = 16
"""Messages answered between two looks at the clock."""

FAREWELL = 40
"""Ticks for which a hand that cannot be reached is told of, before the loop ends."""

_UNKNOWN = (math.nan,) * NUM_JOINTS
_MOVING = (State.ARMED, State.RUNNING, State.HOLD)


class Controller:
    """Drives ``hand`` as the messages at ``requests`` ask and the safety machine allows.

    Args:
        hand: to drive.
        requests: a bound ROUTER socket: requests come in, reports go out.
        conditions: a bound PUB socket: the hand's condition, every tick.
        lifeline: to the supervisor; None without one.
        realtime: what was permitted, for the records.
        period_ns: between two ticks.
    """

    def __init__(
        self,
        hand: Hand,
        requests: zmq.Socket[bytes],
        conditions: zmq.Socket[bytes],
        lifeline: Lifeline | None = None,
        realtime: int = 0,
        period_ns: int = PERIOD,
    ) -> None:
        self._hand = hand
        self._requests = requests
        self._conditions = conditions
        self._lifeline = lifeline
        self._realtime = realtime
        self._period = period_ns
        self._lateness = Lateness(period_ns)
        self._machine = Machine()
        self._course = Course()
        self._reading = Reading(0, _UNKNOWN, _UNKNOWN, calibrated=False)
        self._failed = 0
        self._ticks = self._settled = self._rested = 0
        self._sent_force = math.nan
        self._sent_targets = NOWHERE
        self._sequence = self._acted_ns = self._slowed_now = 0
        self._published = 0
        self._refused = self._clipped = self._slowed = 0
        self._ending = False

    def end(self) -> None:
        """Let the hand go, then leave :meth:`run`; may be called by a signal's handler."""
        self._ending = True

    def run(self) -> Reason:
        """Drive the hand until :meth:`end`, or until it cannot be reached any more.

        Returns:
            ``Reason.ENDING``, ``Reason.SUPERVISOR_LOST`` or ``Reason.BACKEND_FAILED``.
        """
        ticker = Ticker(self._period)
        poller = zmq.Poller()
        poller.register(self._requests, zmq.POLLIN)
        poller.register(ticker.fileno(), zmq.POLLIN)
        settle()
        try:
            while True:
                poller.poll()
                self._answer_all()
                passed, late = ticker.take()
                if passed:
                    self._lateness.add(passed, late)
                    self._tick(late)
                    if self._failed > FAREWELL:
                        return Reason.BACKEND_FAILED
                    self._rested = self._rested + 1 if self._ending and self._at_rest() else 0
                    if self._rested > INSISTENCE:
                        lost = self._lifeline is not None and not self._lifeline.alive
                        return Reason.SUPERVISOR_LOST if lost else Reason.ENDING
        finally:
            ticker.close()

    def _at_rest(self) -> bool:
        return force(self._machine, time.monotonic_ns()) == 0.0 and self._sent_force == 0.0

    # Messages

    def _answer_all(self) -> None:
        for _ in range(BURST):
            try:
                sender, *frames = self._requests.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            now = time.monotonic_ns()
            answer = self._answer(frames[0] if len(frames) == 1 else b"", now)
            with suppress(zmq.ZMQError):  # whoever asked is gone
                self._requests.send_multipart((sender, self._frame(answer, now)), zmq.NOBLOCK)

    def _answer(self, frame: bytes, now: int) -> Answer:
        try:
            header, message = decode(frame)
        except WireError:
            self._refused += 1
            return self._report(Verdict.GARBAGE, 0, Header(NOBODY, 0), now)
        if isinstance(message, (Condition, Report, Info)):
            self._refused += 1
            return self._report(Verdict.GARBAGE, 0, header, now)
        if isinstance(message, Ask):
            return self._info(message, header)
        before = self._machine
        self._machine, verdict = judge(before, header, message, self._health(), now)
        clipped = self._obey(header, message) if verdict is Verdict.ACCEPTED else 0
        self._refused += verdict is not Verdict.ACCEPTED
        self._clipped += clipped != 0
        self._settle(before)
        return self._report(verdict, clipped, header, now)

    def _obey(self, header: Header, message: Request) -> int:
        """Set the course that a message asks for; a bit for each target that is clipped."""
        if isinstance(message, Command):
            self._course, clipped = follow(self._course, message, self._reading.angles)
            self._sequence, self._acted_ns = header.sequence, 0
            return clipped
        if isinstance(message, Jog):
            self._course, clipped = nudge(self._course, message.actuator, message.delta)
            return clipped
        return 0

    def _report(self, verdict: Verdict, clipped: int, header: Header, now: int) -> Report:
        machine = self._machine
        why = ailment(self._health(), now) if verdict is Verdict.UNHEALTHY else machine.reason
        return Report(
            verdict, machine.state, why, clipped, header.sequence, header.sent_ns, now,
            self._course.goals,
        )  # fmt: skip

    def _info(self, message: Ask, header: Header) -> Info:
        counts = self._lateness
        info = Info(
            table_hash(), self._hand.name.encode(), self._period, self._realtime, counts.ticks,
            counts.missed, self._refused, self._clipped, self._slowed, tuple(counts.counts),
        )  # fmt: skip
        if message.reset and self._machine.session in (NOBODY, header.session):
            counts.clear()
            self._refused = self._clipped = self._slowed = 0
        return info

    def _frame(self, message: Answer, now: int) -> bytes:
        self._published += 1
        return encode(Header(self._machine.session, self._published, now), message)

    # Ticks

    def _tick(self, late: int) -> None:
        now = time.monotonic_ns()
        self._ticks += 1
        self._read()
        before = self._machine
        self._machine = tick(before, self._health(), now)
        self._heed_supervisor(now)
        if self._ending and self._machine.state in _MOVING:
            self._machine = enter(self._machine, State.RELAX, Reason.ENDING, now)
        self._settle(before)
        allowed = force(self._machine, now)
        self._write(allowed, now)
        self._conditions.send(self._frame(self._condition(allowed, late, now), now), zmq.NOBLOCK)

    def _read(self) -> None:
        try:
            self._reading = self._hand.read() or self._reading
        except HandError:
            self._failed += 1

    def _health(self) -> Health:
        reading = self._reading
        return Health(
            reading.measured_ns,
            valid=finite(reading.angles) and finite(reading.velocities),
            calibrated=reading.calibrated,
            temperature=reading.temperature,
            reachable=self._failed == 0,
        )

    def _heed_supervisor(self, now: int) -> None:
        if self._lifeline is None or self._lifeline.beat(force(self._machine, now)):
            return
        self._ending = True
        if self._machine.state in _MOVING:
            self._machine = enter(self._machine, State.RELAX, Reason.SUPERVISOR_LOST, now)

    def _settle(self, before: Machine) -> None:
        """Stay where the hand is, whenever it comes to rest or is taken hold of."""
        state = self._machine.state
        if state is before.state:
            return
        if state is State.ARMED and before.state is State.DISARMED:
            self._settled = self._sequence = self._acted_ns = 0
        if state in (State.ARMED, State.HOLD, State.RELAX, State.FAULT):
            if finite(self._reading.angles):
                self._course = hold(self._reading.angles)
            else:  # then it stays where it was sent last
                self._course = Course(goals=self._sent_targets, targets=self._sent_targets)
        elif state is State.DISARMED:
            self._course, self._sent_targets = Course(), NOWHERE

    def _write(self, allowed: float, now: int) -> None:
        try:
            self._slowed_now = 0
            if self._machine.state is not State.DISARMED and finite(self._course.targets):
                self._send_targets(allowed, now)
            if self._machine.state in (State.RELAX, State.FAULT):  # with less, if the force was still to come
                allowed = min(allowed, 0.0 if math.isnan(self._sent_force) else self._sent_force)
            due = allowed != self._sent_force or self._ticks % REPEAT == 0 or self._rested > 0
            if due and (allowed == 0.0 or self._settled > SETTLING):
                self._hand.limit(allowed)
                self._sent_force = allowed
        except HandError:
            self._failed += 1

    def _send_targets(self, allowed: float, now: int) -> None:
        step = self._machine.velocity * self._period * 1e-9
        self._course, self._slowed_now = advance(self._course, step)
        self._slowed += self._slowed_now != 0
        numbers = list(self._course.targets)
        if self._hand.gains is not None:
            reading = self._reading
            numbers = torques(self._course, reading.angles, reading.velocities, self._hand.gains)
            numbers = [allowed * number for number in numbers]
        if not finite(numbers):
            return
        self._hand.write(numbers)
        self._settled += 1
        self._sent_targets = self._course.targets
        if self._machine.state is State.RUNNING and not self._acted_ns:
            self._acted_ns = time.monotonic_ns()

    def _condition(self, allowed: float, late: int, now: int) -> Condition:
        machine, reading = self._machine, self._reading
        return Condition(
            machine.state, machine.reason, ailment(self._health(), now), self._ticks,
            reading.measured_ns, late, self._sequence, self._acted_ns, self._slowed_now, allowed,
            reading.temperature, reading.angles, reading.velocities, self._sent_targets,
        )  # fmt: skip
