"""Qualisys' QTM, over its real-time protocol, with the ``qtm-rt`` package.

Tested over a real TCP connection with a stand-in that speaks the documented protocol; unverified against a
real QTM.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from hardware.capture.frames import PATIENCE, Frame, Reader, marker
from hardware.errors import HardwareError

if TYPE_CHECKING:
    from qtm_rt import QRTPacket

PORT = 22223
"""QTM's little-endian port."""

TIMEOUT = 5.0
"""s that QTM has to answer."""

MILLIMETRE = 1e-3
MICROSECOND = 1e-6


class Qualisys:
    """The labelled 3D markers that QTM streams, with residuals; NaN means lost.

    Args:
        host: address of the machine that runs QTM.
        port: of its real-time server.
        ids: label in QTM -> id here; by default the labels are numbered from 0 in QTM's order.
        patience: s without a frame after which the connection counts as lost.

    Attributes:
        labels: QTM's, in its order.

    Raises:
        HardwareError: the package is missing, QTM cannot be reached, has no labels or not all of ``ids``.
    """

    def __init__(
        self,
        host: str,
        *,
        port: int = PORT,
        ids: Mapping[str, int] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        try:
            import qtm_rt
        except ModuleNotFoundError:
            raise HardwareError("Qualisys needs the package qtm-rt: pip install qtm-rt") from None
        self._qtm_rt = qtm_rt
        self.name = f"Qualisys {host}:{port}"
        self.labels: tuple[str, ...] = ()
        self._address = (host, port)
        self._wanted = ids
        self._ids: Sequence[int | None] = ()
        self._loop = asyncio.new_event_loop()
        self._reader = Reader(self.name, self._read, patience=patience)
        try:
            self._connection: Any = self._loop.run_until_complete(self._open())
        except (HardwareError, OSError, qtm_rt.QRTCommandException) as error:
            self._loop.close()
            raise HardwareError(f"{self.name}: {error or 'QTM does not answer'}") from None
        self._reader.start()

    def poll(self) -> list[Frame]:
        """See :class:`hardware.capture.frames.Source`."""
        return self._reader.inbox.take()

    def close(self) -> None:
        """End the stream and the connection."""
        self._reader.stop()
        self._loop.close()

    async def _open(self) -> Any:
        host, port = self._address
        connection = await asyncio.wait_for(
            self._qtm_rt.connect(host, port=port, on_disconnect=self._lost, timeout=TIMEOUT), 2 * TIMEOUT
        )
        if connection is None:
            raise HardwareError(
                "it cannot be reached; check the address and that QTM is on with a project open"
            )
        try:
            self.labels = parse_labels(await connection.get_parameters(["3d"]))
            self._ids = number_labels(self.labels, self._wanted)
            await connection.stream_frames(frames="allframes", components=["3dres"], on_packet=self._take)
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def _lost(self, error: Exception | None) -> None:
        reason = f": {error}" if error else ""
        self._reader.inbox.fail(f"the connection is lost{reason}; is QTM still running?")

    def _take(self, packet: QRTPacket) -> None:
        received_ns = time.monotonic_ns()
        component = packet.get_3d_markers_residual()
        if component is None:
            return
        _, found = component
        if len(found) != len(self._ids):
            self._reader.inbox.fail(
                f"{len(found)} markers came, but QTM had {len(self._ids)} labels: the project was changed; "
                "open again"
            )
            return
        markers = {
            id_: marker(
                *(MILLIMETRE * each for each in (at.x, at.y, at.z)),
                seen=not math.isnan(at.x),
                quality=MILLIMETRE * at.residual,
            )
            for id_, at in zip(self._ids, found, strict=True)
            if id_ is not None
        }
        # The timestamp counts microseconds; a measurement that starts anew starts it anew.
        self._reader.inbox.put(
            Frame(packet.framenumber, MICROSECOND * packet.timestamp, received_ns, markers)
        )

    def _read(self, reader: Reader) -> None:
        try:
            while not reader.stopping:
                self._loop.run_until_complete(asyncio.sleep(0.02))
        finally:
            self._loop.run_until_complete(self._end())

    async def _end(self) -> None:
        if self._connection.has_transport():
            await self._connection.stream_frames_stop()
            self._connection.disconnect()
        await asyncio.sleep(0)  # lets the transport close


def parse_labels(parameters: bytes | str) -> tuple[str, ...]:
    """Labels of the 3D markers in QTM's XML parameters, in the order in which they are streamed.

    Raises:
        HardwareError: there are none.
    """
    try:
        root = ElementTree.fromstring(parameters)
    except ElementTree.ParseError as error:
        raise HardwareError(f"QTM's parameters cannot be read: {error}") from None
    labels = tuple((name.text or "").strip() for name in root.iterfind(".//The_3D/Label/Name"))
    if not labels:
        raise HardwareError("QTM has no labelled markers; apply an AIM model or label them, then open again")
    return labels


def number_labels(labels: Sequence[str], ids: Mapping[str, int] | None) -> tuple[int | None, ...]:
    """The id of each label; None of one that ``ids`` leaves out.

    Raises:
        HardwareError: QTM lacks a label of ``ids``.
    """
    if ids is None:
        return tuple(range(len(labels)))
    missing = sorted(set(ids) - set(labels))
    if missing:
        raise HardwareError(f"QTM has no markers labelled {missing}; it has {list(labels)}")
    return tuple(ids.get(label) for label in labels)
