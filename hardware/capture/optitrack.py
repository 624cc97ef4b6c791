"""OptiTrack's Motive, over NatNet: packets are read with the ``natnet`` package.

Tested over real sockets with packets of NatNet 3.1 and 4.1; unverified against a real Motive. The package's
own client is not used: a damaged packet ends its thread and nobody learns of it.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from dactyl_tl.errors import ConfigurationError
from hardware.capture.frames import PATIENCE, Frame, Reader, marker
from hardware.errors import HardwareError

if TYPE_CHECKING:
    from natnet import DataFrame, ServerInfo, Version
    from natnet.packet_buffer import PacketBuffer

COMMAND_PORT, DATA_PORT = 1510, 1511
MULTICAST = "239.255.42.99"
"""Motive's defaults."""

KEEP_ALIVE = 1.0
"""s between two messages that keep a unicast stream alive."""

LARGEST = 1 << 16
"""Bytes of a datagram."""


class OptiTrack:
    """The labelled markers that Motive streams.

    A marker that Motive does not see or only fills in from a model, and any of a rigid body whose tracking is
    not valid, counts as lost. Ids are Motive's: rigid body << 16 | marker.

    Args:
        host: address of the machine that runs Motive.
        local: address of this machine's interface towards it.
        multicast: group that Motive streams to; "" for unicast.
        command_port, data_port: Motive's; the data port matters with multicast alone.
        up: Motive's up axis: of "y" the axes are turned so that z is up.
        patience: s without a frame after which the connection counts as lost.

    Attributes:
        damaged: packets so far that could not be read.

    Raises:
        HardwareError: the package is missing, Motive does not answer, or speaks a NatNet older than 3.0.
        ConfigurationError: unknown ``up``.
    """

    def __init__(
        self,
        host: str,
        *,
        local: str = "0.0.0.0",
        multicast: str = MULTICAST,
        command_port: int = COMMAND_PORT,
        data_port: int = DATA_PORT,
        up: Literal["y", "z"] = "y",
        patience: float = PATIENCE,
    ) -> None:
        if up not in ("y", "z"):
            raise ConfigurationError(f"up={up!r}; choose y or z, as in Motive's streaming settings")
        try:
            import natnet
        except ModuleNotFoundError:
            raise HardwareError("OptiTrack needs the package natnet: pip install natnet") from None
        self.name = f"OptiTrack {host}"
        self.damaged = 0
        self._natnet = natnet
        self._up = up
        self._server = (host, command_port)
        self._unicast = not multicast
        self._commands = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._data = self._commands
        try:
            self._commands.bind((local, 0))
            if multicast:
                self._data = _join(multicast, data_port, local)
            info = self._connect()
        except (OSError, HardwareError) as error:
            self._close_sockets()
            raise HardwareError(f"{self.name}: {error}") from None
        self._version: Version = info.nat_net_protocol_version
        if self._version < natnet.Version(3):
            self._close_sockets()
            raise HardwareError(
                f"{self.name}: it speaks NatNet {self._version}; 3.0 or newer (Motive 2) is needed"
            )
        self._reader = Reader(self.name, self._read, patience=patience)
        self._reader.start()

    def poll(self) -> list[Frame]:
        """See :class:`hardware.capture.frames.Source`."""
        return self._reader.inbox.take()

    def close(self) -> None:
        """End the thread and close the sockets."""
        self._reader.stop()
        self._close_sockets()

    def _close_sockets(self) -> None:
        self._commands.close()
        self._data.close()

    def _send(self, command: int, text: str = "") -> None:
        payload = text.encode() + b"\0"
        self._commands.sendto(struct.pack("<HH", command, len(payload)) + payload, self._server)

    def _connect(self, attempts: int = 10, wait: float = 0.5) -> ServerInfo:
        natnet = self._natnet
        for _ in range(attempts):
            self._send(natnet.NatNetClient.NAT_CONNECT, "Ping")
            until = time.monotonic() + wait
            while (left := until - time.monotonic()) > 0.0:
                if not select.select([self._commands], [], [], left)[0]:
                    break
                packet = self._commands.recv(LARGEST)
                if packet[:2] == struct.pack("<H", natnet.NatNetClient.NAT_SERVERINFO):
                    with suppress(struct.error, ValueError):  # damaged: another is asked for
                        return natnet.ServerInfo.read_from_buffer(_body(packet), natnet.Version())
        raise HardwareError(
            f"no answer on UDP port {self._server[1]}; check Motive's data streaming pane (broadcast on, "
            "local interface, multicast or unicast as here) and the firewall"
        )

    def _read(self, reader: Reader) -> None:
        natnet = self._natnet
        alive = 0.0
        while not reader.stopping:
            if self._unicast and time.monotonic() - alive > KEEP_ALIVE:
                self._send(natnet.NatNetClient.NAT_KEEPALIVE)
                alive = time.monotonic()
            if not select.select([self._data], [], [], 0.05)[0]:
                continue
            try:
                packet = self._data.recv(LARGEST)
            except ConnectionRefusedError:  # Motive was ended: the port that we write to is closed
                raise HardwareError("Motive has gone; is it still running?") from None
            received_ns = time.monotonic_ns()
            if packet[:2] != struct.pack("<H", natnet.NatNetClient.NAT_FRAMEOFDATA):
                continue
            try:
                if len(packet) - 4 != struct.unpack_from("<H", packet, 2)[0]:
                    raise ValueError("the packet is cut off")
                data = natnet.DataFrame.read_from_buffer(_body(packet), self._version)
            except (struct.error, ValueError):  # not to be read: of another protocol, or damaged
                self.damaged += 1
                continue
            reader.inbox.put(to_frame(data, received_ns, self._up))


def to_frame(data: DataFrame, received_ns: int, up: str) -> Frame:
    """A frame of Motive's in ours; ``up``: its up axis."""
    untracked = {body.id_num for body in data.rigid_bodies if body.tracking_valid is False}
    markers = {}
    for each in data.labeled_markers:
        x, y, z = each.pos
        if up == "y":
            y, z = -z, y
        seen = not each.occluded and not each.model_solved and each.model_id not in untracked
        markers[each.id_num] = marker(x, y, z, seen=seen, quality=each.residual)
    return Frame(data.prefix.frame_number, data.suffix.timestamp, received_ns, markers)


def _body(packet: bytes) -> PacketBuffer:
    from natnet.packet_buffer import PacketBuffer

    buffer = PacketBuffer(packet)
    buffer.pointer = 4  # behind the message's kind and size
    return buffer


def _join(group: str, port: int, local: str) -> socket.socket:
    data = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    data.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        data.bind(("", port))
        data.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(local)
        )
    except OSError:
        data.close()
        raise
    return data
