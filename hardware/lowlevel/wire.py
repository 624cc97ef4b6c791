"""Messages between the control loop and the low-level controller: one frame each, fixed structs, a checksum.

A message is a header, a payload whose layout its kind fixes, and a CRC-32 of both; numbers are
little-endian. Monotonic clocks differ from machine to machine, so a message's age is judged by one clock
alone: who commands the hand repeats the controller's own time of the latest state that it saw
(``basis_ns``), and the controller subtracts that from its present time.

A frame has 40 bytes of header, 4 of checksum, and between them a payload of, in bytes: 0 (Disarm, Stop,
Clear, Alive), 1 (Hold, Ask), 9 (Jog), 48 (Arm), 169 (Command), 191 (Report), 290 (Info), 606 (Condition).
"""

from __future__ import annotations

import enum
import struct
import zlib
from itertools import islice
from typing import Any, Iterator, NamedTuple, Union

from hardware.lowlevel.joints import NUM_ACTUATORS, NUM_JOINTS

MAGIC = b"DTL1"
VERSION = 1

BUCKETS = 24
"""Of the lateness histogram: bucket b counts ticks later than 2**(b - 1) and up to 2**b microseconds; the
first also those that were earlier, the last also those that were later."""

_HEADER = struct.Struct("<4sBBHQQqq")
_CRC = struct.Struct("<I")


class WireError(ValueError):
    """A frame that is no message of this version; the text says why."""


class Header(NamedTuple):
    """What every message begins with.

    Attributes:
        session: who speaks: a random number drawn when the hand is armed.
        sequence: grows with every message of a session.
        sent_ns: when it was sent, by the sender's monotonic clock, ns.
        basis_ns: the receiver's time of the latest message of its that the sender has seen; 0 if none.
        ttl_ms: how old ``basis_ns`` may be for the message to count; 0 for as old as the receiver allows.
    """

    session: int
    sequence: int
    sent_ns: int = 0
    basis_ns: int = 0
    ttl_ms: int = 0


class Mode(enum.IntEnum):
    """What an action is added to."""

    RELATIVE = 0
    """The angle measured when the command arrives."""
    ABSOLUTE = 1
    """The centre of the actuator's range."""


class State(enum.IntEnum):
    """Of the safety machine; see :mod:`hardware.lowlevel.safety`."""

    DISARMED = 0
    ARMED = 1
    RUNNING = 2
    HOLD = 3
    RELAX = 4
    FAULT = 5


class Reason(enum.IntEnum):
    """Why the safety machine is in its state."""

    NONE = 0
    REQUESTED = 1
    COMMANDS_CEASED = 2
    DEAD_MAN = 3
    TRACKING_LOST = 4
    STOPPED = 5
    OVER_TEMPERATURE = 6
    SENSORS_SILENT = 7
    SENSORS_INVALID = 8
    NOT_CALIBRATED = 9
    BACKEND_FAILED = 10
    LIMITS_DIFFER = 11
    CLIENT_FAULT = 12
    SUPERVISOR_LOST = 13
    ENDING = 14


class Verdict(enum.IntEnum):
    """What became of a message."""

    ACCEPTED = 0
    GARBAGE = 1
    OUT_OF_SESSION = 2
    REPLAYED = 3
    STALE = 4
    NOT_FINITE = 5
    OUT_OF_RANGE = 6
    NOT_NOW = 7
    LIMITS_DIFFER = 8
    UNHEALTHY = 9


class Command(NamedTuple):
    """An action of the policy.

    Attributes:
        mode: a :class:`Mode`.
        smoothing: share of the previous smoothed action that is kept.
        action: 20 numbers in [-1, 1], in units of half the actuators' trained ranges.
    """

    mode: int
    smoothing: float
    action: tuple[float, ...]


class Arm(NamedTuple):
    """Open a session and hold the hand where it is; also how a hand that holds is made ready again.

    Attributes:
        table: :func:`hardware.lowlevel.joints.table_hash` as the sender knows it.
        velocity: greatest speed of a target, rad/s.
        force: the servos' greatest force as a share of what they can, 0..1.
    """

    table: bytes
    velocity: float
    force: float


class Disarm(NamedTuple):
    """Relax the hand, then let go."""


class Hold(NamedTuple):
    """Hold the hand where it is measured.

    Attributes:
        reason: a :class:`Reason`.
    """

    reason: int


class Stop(NamedTuple):
    """Emergency stop: no force at once. Nobody needs a session for it."""


class Clear(NamedTuple):
    """Leave a fault whose cause is gone."""


class Alive(NamedTuple):
    """The dead man's handle: whoever commands the hand is there."""


class Jog(NamedTuple):
    """Move one actuator a little from where it stands.

    Attributes:
        actuator: its index.
        delta: rad.
    """

    actuator: int
    delta: float


class Ask(NamedTuple):
    """Ask for :class:`Info`.

    Attributes:
        reset: 1 to begin new counts, as at the beginning of a trial.
    """

    reset: int


class Condition(NamedTuple):
    """The hand as the controller knows it, published every tick.

    Attributes:
        state, reason: a :class:`State`, a :class:`Reason`.
        ailment: a :class:`Reason` why the hand would not be armed now, or NONE.
        tick: number of the control tick.
        measured_ns: when the angles were measured, by the controller's clock.
        late_ns: how much later than due this tick began.
        sequence: of the latest command that was accepted; 0 if none was in this session.
        acted_ns: when a target that follows it was first sent, by the controller's clock; 0 before.
        slowed: bit i is set where actuator i's target is kept to the greatest speed.
        force: the servos' present greatest force, 0..1.
        temperature: of the hottest motor, degrees Celsius.
        angles, velocities: of the 24 joints, rad and rad/s.
        targets: what the 20 servos were last sent, rad; NaN where nothing was.
    """

    state: int
    reason: int
    ailment: int
    tick: int
    measured_ns: int
    late_ns: int
    sequence: int
    acted_ns: int
    slowed: int
    force: float
    temperature: float
    angles: tuple[float, ...]
    velocities: tuple[float, ...]
    targets: tuple[float, ...]


class Report(NamedTuple):
    """The answer to every message but :class:`Ask`: what became of it.

    Attributes:
        verdict: a :class:`Verdict`.
        state, reason: of the safety machine afterwards.
        clipped: bit i is set where actuator i's target was clipped to its range.
        sequence: of the message that this answers.
        echoed_ns: that message's ``sent_ns``.
        received_ns: when it was taken from the socket, by the controller's clock.
        goals: where the 20 targets are going, rad; NaN while there is no goal.
    """

    verdict: int
    state: int
    reason: int
    clipped: int
    sequence: int
    echoed_ns: int
    received_ns: int
    goals: tuple[float, ...]


class Info(NamedTuple):
    """Who the controller is and how it fares.

    Attributes:
        table: its :func:`~hardware.lowlevel.joints.table_hash`.
        backend: name of what it drives, at most 16 bytes of ASCII.
        period_ns: between two ticks.
        realtime: 1 for SCHED_FIFO + 2 for locked memory, as far as permitted.
        ticks: since the counts began.
        missed: of those, begun later than one period after they were due.
        refused: messages refused.
        clipped: commands of which something was clipped to a range.
        slowed: ticks in which a target was kept to the greatest speed.
        lateness: 24 counts of ticks; see :data:`BUCKETS`.
    """

    table: bytes
    backend: bytes
    period_ns: int
    realtime: int
    ticks: int
    missed: int
    refused: int
    clipped: int
    slowed: int
    lateness: tuple[int, ...]


Request = Union[Command, Arm, Disarm, Hold, Stop, Clear, Alive, Jog, Ask]
Answer = Union[Condition, Report, Info]
Message = Union[Request, Answer]

_ACTUATORS, _JOINTS = f"{NUM_ACTUATORS}d", f"{NUM_JOINTS}d"

_LAYOUTS: dict[int, tuple[Any, str]] = {
    1: (Command, "B d " + _ACTUATORS),
    2: (Arm, "32s d d"),
    3: (Disarm, ""),
    4: (Hold, "B"),
    5: (Stop, ""),
    6: (Clear, ""),
    7: (Alive, ""),
    8: (Jog, "B d"),
    9: (Ask, "B"),
    32: (Condition, " ".join(("B B B Q q q Q q I d d", _JOINTS, _JOINTS, _ACTUATORS))),
    33: (Report, "B B B I Q q q " + _ACTUATORS),
    34: (Info, f"32s 17p q B Q Q Q Q Q {BUCKETS}Q"),
}
"""Kind of a message: what it is, and the layout of each of its fields."""

_KINDS = {message: kind for kind, (message, _) in _LAYOUTS.items()}
_PAYLOADS = {kind: struct.Struct("<" + layout) for kind, (_, layout) in _LAYOUTS.items()}


def encode(header: Header, message: Message) -> bytes:
    """The frame of a message.

    Raises:
        WireError: a value does not fit the layout.
    """
    kind = _KINDS[type(message)]
    try:
        values: list[Any] = []
        for name, code, value in zip(message._fields, _LAYOUTS[kind][1].split(), message):
            values.extend(_values(name, code, value))
        head = _HEADER.pack(MAGIC, VERSION, kind, header.ttl_ms, *header[:4])
        body = head + _PAYLOADS[kind].pack(*values)
    except (struct.error, OverflowError, TypeError) as error:
        raise WireError(f"cannot send this {type(message).__name__}: {error}") from None
    return body + _CRC.pack(zlib.crc32(body))


def decode(frame: bytes) -> tuple[Header, Message]:
    """The message of a frame.

    Raises:
        WireError: it is none of this version.
    """
    if len(frame) < _HEADER.size + _CRC.size:
        raise WireError(f"a frame of {len(frame)} bytes is shorter than a header")
    magic, version, kind, ttl_ms, session, sequence, sent_ns, basis_ns = _HEADER.unpack_from(frame)
    if magic != MAGIC:
        raise WireError(f"a frame that begins with {magic!r} is not ours")
    if version != VERSION:
        raise WireError(f"a message of version {version}; this is version {VERSION}")
    if kind not in _LAYOUTS:
        raise WireError(f"a message of unknown kind {kind}")
    message, layout = _LAYOUTS[kind]
    expected = _HEADER.size + _PAYLOADS[kind].size + _CRC.size
    if len(frame) != expected:
        raise WireError(f"a {message.__name__} of {len(frame)} bytes; it has {expected}")
    if _CRC.unpack_from(frame, expected - _CRC.size)[0] != zlib.crc32(frame[: -_CRC.size]):
        raise WireError(f"a {message.__name__} with a wrong checksum")
    values = iter(_PAYLOADS[kind].unpack_from(frame, _HEADER.size))
    header = Header(session, sequence, sent_ns, basis_ns, ttl_ms)
    return header, message(*(_field(code, values) for code in layout.split()))


def _values(name: str, code: str, value: Any) -> tuple[Any, ...]:
    """What one field adds to a payload. struct would cut bytes that are too long and pad those too short."""
    count, kind = code[:-1], code[-1]
    if not count:
        return (value,)
    held, room = len(value), int(count) - (kind == "p")  # where a byte tells how many follow
    if held > room or (held < room and kind != "p"):
        raise WireError(f"cannot send {name} of {held}: it has {room}")
    return (value,) if kind in "ps" else tuple(value)


def _field(code: str, values: Iterator[Any]) -> Any:
    """One field of a message: a number, bytes, or as many numbers as its layout says."""
    count, kind = code[:-1], code[-1]
    return next(values) if not count or kind in "ps" else tuple(islice(values, int(count)))
