"""The control loop's end of the wire: ask the low-level controller, and learn what it really did."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import zmq

from dactyl_tl.errors import ConfigurationError
from hardware.errors import HardwareError
from hardware.lowlevel.joints import table_hash
from hardware.lowlevel.sockets import KeyFileError, Keys, join, newest
from hardware.lowlevel.wire import (
    Alive,
    Arm,
    Ask,
    Clear,
    Command,
    Condition,
    Disarm,
    Header,
    Hold,
    Info,
    Jog,
    Mode,
    Reason,
    Report,
    Request,
    State,
    Stop,
    Verdict,
    WireError,
    decode,
    encode,
)

SILENT = 100_000_000
"""Without the hand's condition, ns, the controller counts as lost."""

PATIENCE = 200_000_000
"""For an answer, ns."""

CONNECTING = 5_000_000_000
"""For the first condition, ns."""

GRACE = 50_000_000
"""For the hand's condition when this program itself was kept from running, ns."""

BECOMING_WELL = 2_500_000_000
"""For a hand that was heard of just now, ns."""

ALIVE_EVERY = 40_000_000
"""Between two signs of life, ns: four may get lost before the controller holds the hand."""

MESSAGE_TTL = 100
"""Age, ms, of the condition that a message is based on, beyond which the controller refuses it."""


class Refused(HardwareError):
    """The controller did not do what it was asked to.

    Attributes:
        report: its answer.
    """

    def __init__(self, message: Request, report: Report) -> None:
        self.report = report
        verdict, state, reason = Verdict(report.verdict), State(report.state), Reason(report.reason)
        super().__init__(
            f"the controller refused {type(message).__name__}: {verdict.name.lower().replace('_', ' ')}; "
            f"the hand is in {state.name.lower()} ({reason.name.lower().replace('_', ' ')})"
        )


@dataclass(frozen=True)
class Exchange:
    """A message and its answer.

    Attributes:
        report: what became of it.
        sent_ns, answered_ns: by this machine's monotonic clock.
    """

    report: Report
    sent_ns: int
    answered_ns: int


@dataclass(frozen=True)
class Link:
    """The way to a controller.

    Attributes:
        requests, conditions: its addresses.
        keys: None on loopback.
    """

    requests: str = "tcp://127.0.0.1:5751"
    conditions: str = "tcp://127.0.0.1:5752"
    keys: Keys | None = None


@dataclass
class HandClient:
    """Commands a hand; one thread, one session at a time.

    Args:
        link: the way to the controller.
        present: the dead man's handle: whether the operator lets the hand move. Asked before every sign of
            life; without one, whoever runs this program answers for it.

    Raises:
        HardwareError: from every method, when the controller is silent.
        hardware.lowlevel.sockets.KeyFileError: the keys cannot be used.
        ConfigurationError: an address cannot be used.
    """

    link: Link = field(default_factory=Link)
    present: Callable[[], bool] = lambda: True

    def __post_init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._requests = self._joined(self._context.socket(zmq.DEALER), self.link.requests)
        self._states = self._joined(newest(self._context.socket(zmq.SUB)), self.link.conditions)
        self._session = 0
        self._sequence = 0
        self._alive_ns = 0
        self._answered_ns = 0
        self._seen_ns = time.monotonic_ns()
        self._header = Header(0, 0)
        self._condition: Condition | None = None
        self._foreign = ""
        self._offset: int | None = None

    def _joined(self, socket: zmq.Socket[bytes], address: str) -> zmq.Socket[bytes]:
        try:
            return join(socket, address, self.link.keys)
        except KeyFileError:
            self.close()
            raise
        except zmq.ZMQError as error:
            self.close()
            raise ConfigurationError(
                f"{address} is no address of a controller ({error.strerror}); it must be tcp://HOST:PORT"
            ) from None

    # What the hand tells

    def connect(self) -> Condition:
        """Wait until the controller is heard of."""
        if not (
            self._states.poll(CONNECTING // 1_000_000)
            and self._requests.poll(CONNECTING // 1_000_000, zmq.POLLOUT)
        ):
            raise HardwareError(
                f"no controller publishes at {self.link.conditions}: does it run, and are its address and "
                "keys right?"
            )
        return self.condition()

    def condition(self) -> Condition:
        """The hand's condition, at most 100 ms old."""
        self._take()
        if self._condition is None or time.monotonic_ns() - self._seen_ns > SILENT:
            # Perhaps it was this program that stood still: what waits is taken in while it is waited for.
            self._states.poll(GRACE // 1_000_000)
            self._take()
        silent = time.monotonic_ns() - self._seen_ns
        if self._condition is None or silent > SILENT:
            raise HardwareError(
                f"the controller at {self.link.conditions} {self._foreign or 'has been silent'} for "
                f"{silent * 1e-6:.0f} ms"
            )
        return self._condition

    def _take(self) -> None:
        try:
            header, message = decode(self._states.recv(zmq.NOBLOCK))
        except zmq.Again:
            return
        except WireError as error:
            self._foreign = f"has published what this program does not understand ({error})"
            return
        if isinstance(message, Condition) and header.sent_ns != self._header.sent_ns:
            self._header, self._condition, self._seen_ns = header, message, time.monotonic_ns()
            offset = self._seen_ns - header.sent_ns
            self._offset = offset if self._offset is None else min(self._offset, offset)

    def _settled(self) -> Condition:
        """The condition after the latest answer: one published before it does not show what came of it."""
        condition = self.condition()
        while self._header.sent_ns < self._answered_ns:
            self._states.poll(SILENT // 1_000_000)
            condition = self.condition()
        return condition

    def here(self, time_ns: int) -> int:
        """A time of the controller's clock by this machine's, ns; late by a message's way, at most."""
        if self._offset is None:
            raise HardwareError("nothing was heard of the controller yet")
        return time_ns + self._offset

    def info(self, reset: bool = False) -> Info:
        """Who the controller is, and its counts, which ``reset`` begins anew afterwards."""
        message, _ = self._ask(Ask(reset))
        if not isinstance(message, Info):
            raise HardwareError(f"the controller answered a question with {type(message).__name__}")
        return message

    def await_well(self) -> None:
        """Wait a while until nothing keeps the hand from being armed: drivers tell some once a second."""
        deadline = time.monotonic_ns() + BECOMING_WELL
        while self.condition().ailment != Reason.NONE and time.monotonic_ns() < deadline:
            time.sleep(0.02)

    # What it is asked to do

    def arm(self, velocity: float, force: float) -> Exchange:
        """Take hold of the hand where it is; begin a session, or make one ready again.

        Args:
            velocity: greatest speed of targets, rad/s.
            force: the servos' greatest force, 0..1.

        Raises:
            Refused: the controller says why.
        """
        if self._settled().state == State.DISARMED:
            self._session, self._sequence = secrets.randbits(63) | 1, 0
        return self._tell(Arm(table_hash(), velocity, force))

    def command(self, action: Sequence[float], mode: Mode, smoothing: float) -> Exchange:
        """An action, 20 numbers in [-1, 1]; the report tells where the targets are going.

        Raises:
            Refused: the controller says why.
        """
        return self._tell(Command(mode, smoothing, tuple(action)))

    def jog(self, actuator: int, delta: float) -> Exchange:
        """Move one actuator by ``delta`` rad; raises as :meth:`command`."""
        return self._tell(Jog(actuator, delta))

    def hold(self, reason: Reason = Reason.REQUESTED) -> Exchange:
        """Hold the hand where it is; raises as :meth:`command`."""
        return self._tell(Hold(reason))

    def disarm(self) -> None:
        """Let the hand go, and wait until it has no force."""
        if self._settled().state in (State.ARMED, State.RUNNING, State.HOLD):
            try:
                self._tell(Disarm())
            except Refused as refusal:  # it may have begun to let go by itself meanwhile
                if refusal.report.state not in (State.RELAX, State.DISARMED):
                    raise
        while self._settled().force > 0.0:
            time.sleep(0.005)

    def stop(self) -> Exchange:
        """Emergency stop: no force, at once."""
        return self._tell(Stop())

    def clear(self) -> Exchange:
        """Leave a fault whose cause is gone; raises as :meth:`command`."""
        return self._tell(Clear())

    def stay(self, until_ns: int) -> None:
        """Wait, giving signs of life."""
        while (left := until_ns - time.monotonic_ns()) > 0:
            self.live()
            time.sleep(min(left, ALIVE_EVERY // 2) * 1e-9)

    def live(self) -> None:
        """Give a sign of life if one is due and the operator is present."""
        now = time.monotonic_ns()
        if self._session and now - self._alive_ns >= ALIVE_EVERY and self.present():
            self.condition()
            self._alive_ns = now
            self._send(Alive())
            while self._requests.poll(0):  # answers to earlier signs of life
                self._requests.recv()

    def close(self) -> None:
        """Close the sockets; a hand under force is held and then let go by its controller."""
        self._context.destroy(linger=0)

    def _tell(self, message: Request) -> Exchange:
        """Ask, and once more where the request was held up on its way."""
        answer, sent = self._ask(message)
        if isinstance(answer, Report) and answer.verdict == Verdict.STALE:
            answer, sent = self._ask(message)
        if not isinstance(answer, Report):
            raise HardwareError(f"the controller answered a request with {type(answer).__name__}")
        if answer.verdict != Verdict.ACCEPTED:
            raise Refused(message, answer)
        return Exchange(answer, sent, time.monotonic_ns())

    def _ask(self, message: Request) -> tuple[Report | Info | Condition, int]:
        self.condition()
        self.live()
        sequence = self._send(message)
        sent = time.monotonic_ns()
        expected = Info if isinstance(message, Ask) else Report
        while (left := sent + PATIENCE - time.monotonic_ns()) > 0:
            if not self._requests.poll(max(1, left // 1_000_000)):
                break
            try:
                header, answer = decode(self._requests.recv())
            except WireError as error:
                raise HardwareError(f"the controller at {self.link.requests} answers with {error}") from None
            # Others are late answers to what was given up, or to signs of life.
            if isinstance(answer, expected) and (
                not isinstance(answer, Report) or answer.sequence == sequence
            ):
                self._answered_ns = header.sent_ns
                return answer, sent
        raise HardwareError(f"the controller at {self.link.requests} does not answer")

    def _send(self, message: Request) -> int:
        self._sequence += 1
        header = Header(self._session, self._sequence, time.monotonic_ns(), self._header.sent_ns, MESSAGE_TTL)
        try:
            self._requests.send(encode(header, message), zmq.NOBLOCK)
        except zmq.Again:
            raise HardwareError(f"nobody listens at {self.link.requests}") from None
        return self._sequence
