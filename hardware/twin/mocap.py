"""A motion-capture system that sees the simulated hand: a server for :mod:`hardware.twin.owl`, with faults.

It streams where given markers are, in a frame of its own that is turned and moved against the simulated world
as a laboratory's is. The messages are JSON lines over TCP of our own, unverified against a real PhaseSpace
system.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from dactyl_tl.errors import ConfigurationError
from hardware.capture.rigid import Pose
from hardware.twin.mocap_faults import Faults, changed
from hardware.twin.owl import PORT

FREQUENCY, MAX_FREQUENCY = 240.0, 960.0
"""Frames a second at first and at most, Hz."""

LAB = Pose(Rotation.from_euler("ZYX", (130.0, 20.0, -65.0), degrees=True), (-2.1, 0.7, 1.3))
"""The simulated world in the motion-capture system's frame: arbitrary, as in a laboratory."""

CONDITION = 3.0
"""``cond`` of a marker that is seen."""

BEHIND = 1 << 20
"""Bytes a client may be behind before frames for it are dropped."""

Positions = Callable[[], Mapping[int, np.ndarray]]


class MocapServer:
    """Streams the markers of ``positions`` to every client; runs in a thread of its own until closed.

    Args:
        positions: id -> (3,) m in the simulated world, asked for at every frame from the server's thread, so
            it must be quick; an id that it leaves out is not seen.
        ids: of the markers that exist.
        port: 0 for any that is free.
        lab: the simulated world in the system's frame.
        seed: of noise, losses and garbage.

    Attributes:
        faults: may be replaced at any time.
        sent: frames so far, lost ones included.
    """

    def __init__(
        self,
        positions: Positions,
        ids: Iterable[int],
        *,
        frequency: float = FREQUENCY,
        port: int = 0,
        lab: Pose = LAB,
        seed: int = 0,
    ) -> None:
        self.faults = Faults()
        self.sent = 0
        self._positions = positions
        self._ids = tuple(ids)
        self._frequency = frequency
        self._lab = lab
        self._random = random.Random(seed)
        self._noise = np.random.default_rng(seed)
        self._clients: dict[socket.socket, _Client] = {}
        self._pending: deque[tuple[float, bytes]] = deque()
        self._last: bytes | None = None
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="twin: motion capture", daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """What ``owl.Context.open`` takes."""
        return f"127.0.0.1:{self.port - PORT}"

    def close(self) -> None:
        """End every connection and the thread."""
        self._closing.set()
        self._thread.join()

    def __enter__(self) -> MocapServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            start, due = time.monotonic(), time.monotonic()
            while not self._closing.is_set():
                now = time.monotonic()
                if now >= due:
                    self._make_frame(now - start)
                    due += 1.0 / self._frequency
                    if due < now:  # too late for some: they are left out
                        due = now + 1.0 / self._frequency
                self._send_due(now)
                wake = min([due, *(at for at, _ in list(self._pending)[:1])])
                for key, _ in self._selector.select(max(0.0, wake - time.monotonic())):
                    if key.fileobj is self._listener:
                        self._accept()
                    else:
                        self._hear(self._clients[key.fileobj])  # type: ignore[index]
        finally:
            self._listener.close()
            for client in list(self._clients.values()):
                self._drop(client)
            self._selector.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = self._clients[connection] = _Client(connection)
        self._selector.register(connection, selectors.EVENT_READ)
        self._tell(client, {"opened": 1, "timebase": [1, 1_000_000], "maxfrequency": MAX_FREQUENCY})

    def _drop(self, client: _Client, *, abruptly: bool = False) -> None:
        if self._clients.pop(client.socket, None) is not None:
            self._selector.unregister(client.socket)
            if abruptly:  # a reset instead of an orderly end
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()

    def _hear(self, client: _Client) -> None:
        try:
            data = client.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        *lines, client.received = (client.received + data).split(b"\n")
        for line in lines:
            try:
                self._obey(client, json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                self._say(client, {"type": "refused", "data": f"{type(error).__name__}: {error}"})

    def _obey(self, client: _Client, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "initialize":
            self._tell(client, {"initialized": 1, "frequency": self._frequency})
        elif kind == "frequency":
            if not 1.0 <= float(message["value"]) <= MAX_FREQUENCY:
                raise ConfigurationError(f"frequency={message['value']}: 1 to {MAX_FREQUENCY} Hz")
            self._frequency = float(message["value"])
            self._tell(client, {"frequency": self._frequency})
        elif kind == "streaming":
            client.streaming = bool(message["value"])
            self._tell(client, {"streaming": int(client.streaming)})
        elif kind == "done":
            client.streaming = False
            self._tell(client, {"initialized": 0})
        elif kind == "faults":
            self.faults = changed(self.faults, message["set"])
            self._say(client, {"type": "ok"})
        elif kind == "end":
            for other in [other for other in self._clients.values() if other is not client]:
                self._tell(other, {"initialized": 0})
            self._say(client, {"type": "ok"})
        elif kind in ("cut", "crash"):
            for other in [other for other in self._clients.values() if other is not client]:
                self._drop(other, abruptly=kind == "crash")
            self._say(client, {"type": "ok"})
            if kind == "crash":
                self._closing.set()
        else:
            raise ConfigurationError(f"unknown message {kind!r}")

    def _make_frame(self, elapsed: float) -> None:
        faults = self.faults
        self.sent += 1
        if faults.stalled or self._random.random() < faults.loss:
            return
        if not (faults.frozen and self._last is not None):
            self._last = self._frame(int(elapsed * 1e6), faults)
        message = self._last
        if self._random.random() < faults.garbage:
            message = self._random.randbytes(self._random.randrange(1, 200)) + message
        self._pending.append((time.monotonic() + faults.delay, message * (1 + faults.duplicated)))

    def _frame(self, ticks: int, faults: Faults) -> bytes:
        seen = {id_: np.asarray(at, dtype=np.float64) for id_, at in self._positions().items()}
        for id_ in faults.occluded:
            seen.pop(id_, None)
        seen.update({id_: np.array(at) for id_, at in faults.ghosts.items()})
        for a, b in faults.swapped:
            there = {other: seen.pop(id_) for id_, other in ((a, b), (b, a)) if id_ in seen}
            seen.update(there)
        markers: list[list[float]] = []
        for id_ in sorted({*self._ids, *faults.ghosts}):
            at = seen.get(id_)
            if at is None:
                markers.append([id_, 0, ticks, 0.0, 0.0, 0.0, -1.0])
                continue
            place = 1000.0 * (self._lab.apply(at) + faults.noise * self._noise.standard_normal(3))
            xyz = [float("nan")] * 3 if id_ in faults.nan else place.tolist()
            markers.append([id_, 0, ticks, *xyz, CONDITION])
        return json.dumps({"type": "frame", "time": ticks, "markers": markers}).encode() + b"\n"

    def _send_due(self, now: float) -> None:
        while self._pending and self._pending[0][0] <= now:
            _, message = self._pending.popleft()
            for client in list(self._clients.values()):
                if client.streaming and len(client.unsent) < BEHIND:
                    client.unsent += message
        for client in list(self._clients.values()):
            self._flush(client)

    def _tell(self, client: _Client, properties: Mapping[str, Any]) -> None:
        self._say(client, {"type": "state", "properties": dict(properties)})

    def _say(self, client: _Client, message: Mapping[str, Any]) -> None:
        client.unsent += json.dumps(message).encode() + b"\n"
        self._flush(client)

    def _flush(self, client: _Client) -> None:
        try:
            while client.unsent:
                del client.unsent[: client.socket.send(client.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)


class _Client:
    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = b""
        self.unsent = bytearray()
        self.streaming = False
