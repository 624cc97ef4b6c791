"""The part of PhaseSpace's ``owl`` interface that the adapter uses, speaking to :mod:`hardware.twin.mocap`.

Names and behaviour follow the vendor's public examples: ``open("host:offset")`` adds the offset to port 8000,
``nextEvent(timeout)`` pops the oldest event and waits at most so many microseconds, lengths are millimetres,
times count in ``timebase`` seconds, and a marker with ``cond <= 0`` was not seen. What goes over the wire is
our own, JSON lines, and unverified against a real PhaseSpace system.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

PORT = 8000
"""Added to the offset in an address."""

LONGEST = 1 << 20
"""Bytes of a line; what is longer is no message."""


class OWLError(Exception):
    """The server cannot be reached, or refuses."""


class Type(IntEnum):
    """Kinds of events."""

    BYTE = 1
    ERROR = 0x7F
    FRAME = 0x80


@dataclass(frozen=True)
class Marker:
    """A marker: millimetres; ``cond <= 0`` where it was not seen."""

    id: int
    flags: int
    time: int
    x: float
    y: float
    z: float
    cond: float


@dataclass(frozen=True)
class Event:
    """A frame, an error, or a word of the server's; ``"markers" in event`` asks what it holds."""

    type_id: Type
    name: str
    time: int = -1
    data: Any = None
    markers: list[Marker] = field(default_factory=list)

    def __contains__(self, name: str) -> bool:
        return name == "markers" and self.type_id == Type.FRAME

    def __bool__(self) -> bool:
        return True


class Context:
    """A connection to a server."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._received = b""
        self._events: deque[Event] = deque()
        self._properties: dict[str, Any] = {}

    def open(self, name: str, options: str = "") -> int:
        """Connect; ``options`` may hold ``timeout=MICROSECONDS``.

        Raises:
            OWLError: nobody answers.
        """
        if self.isOpen():
            return 1
        host, _, offset = name.partition(":")
        timeout = _timeout(options)
        try:
            self._socket = socket.create_connection((host, PORT + int(offset or 0)), timeout=timeout)
        except (OSError, ValueError) as error:
            raise OWLError(f"cannot connect to {name}: {error}") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._await("opened", 1, timeout)
        return 1

    def isOpen(self) -> bool:
        """Whether the connection stands."""
        return self._socket is not None

    def initialize(self, options: str = "") -> int:
        """Begin a session.

        Raises:
            OWLError: the server does not answer.
        """
        self._send({"type": "initialize", "options": options})
        self._await("initialized", 1, _timeout(options))
        return 1

    def property(self, name: str) -> Any:
        """A property of the session; None of an unknown one."""
        return self._properties.get(name)

    def frequency(self, hertz: float | None = None) -> Any:
        """Ask for a frame rate, or tell it."""
        if hertz is None:
            return self._properties.get("frequency", 0.0)
        return self._send({"type": "frequency", "value": float(hertz)})

    def streaming(self, enable: int | None = None) -> Any:
        """Begin or end the stream, or tell whether it is on."""
        if enable is None:
            return self._properties.get("streaming", 0)
        return self._send({"type": "streaming", "value": int(enable)})

    def nextEvent(self, timeout: int = 0) -> Event | None:
        """The oldest event; None when none came within ``timeout`` microseconds or the connection is lost."""
        until = time.monotonic() + timeout * 1e-6
        while not self._events and self.isOpen():
            left = until - time.monotonic()
            self._receive(max(0.0, left))
            if left <= 0.0:
                break
        return self._events.popleft() if self._events else None

    def done(self, options: str = "") -> int:
        """End the session."""
        self._send({"type": "done"})
        self._await("initialized", 0, _timeout(options))
        return 1

    def close(self) -> bool:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._properties.clear()
        return True

    def _send(self, message: dict[str, Any]) -> bool:
        if self._socket is None:
            raise OWLError("no connection")
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            self.close()
            raise OWLError(f"the connection is lost: {error}") from None
        return True

    def _await(self, name: str, value: Any, timeout: float) -> None:
        until = time.monotonic() + timeout
        while self._properties.get(name) != value:
            if not self.isOpen() or time.monotonic() > until:
                self.close()
                raise OWLError(f"the server did not answer: no {name}={value}")
            self._receive(0.05)

    def _receive(self, wait: float) -> None:
        if self._socket is None:
            return
        try:
            if not select.select([self._socket], [], [], wait)[0]:
                return
            data = self._socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._received) > LONGEST:
            self._received = b""
            self._events.append(Event(Type.ERROR, "damaged", data="a line without an end"))

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            if message["type"] == "state":
                self._properties.update(message["properties"])
            elif message["type"] == "frame":
                markers = [
                    Marker(*(cast(value) for cast, value in _fields(each))) for each in message["markers"]
                ]
                self._events.append(Event(Type.FRAME, "frame", int(message["time"]), markers=markers))
            else:
                self._events.append(Event(Type.BYTE, str(message["type"]), data=message.get("data")))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            self._events.append(Event(Type.ERROR, "damaged", data=f"{type(error).__name__}: {error}"))


def _fields(values: list[Any]) -> Any:
    return zip((int, int, int, float, float, float, float), values, strict=True)


def _timeout(options: str) -> float:
    for option in options.split():
        name, _, value = option.partition("=")
        if name == "timeout":
            return float(value) * 1e-6
    return 10.0
