"""Vicon, by the vendor's ``vicon_dssdk``, which comes with Vicon's DataStream SDK and is on no package index.

Unverified against a real Vicon system, and there is no simulated one: only what it makes of a
client's answers is tested.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from hardware.capture.frames import PATIENCE, Frame, Marker, Reader, marker
from hardware.errors import HardwareError

MILLIMETRE = 1e-3

SDK = "vicon_dssdk.ViconDataStream"


class Vicon:
    """The labelled markers of a Vicon system.

    Args:
        host: address of the machine that runs Tracker, Nexus or Shogun, with port 801 by default.
        ids: "subject/marker" in Vicon -> id here.
        sdk: name of the vendor's module.
        patience: s without a frame after which the connection counts as lost.

    Raises:
        HardwareError: the module is missing, or the system cannot be reached or sends no frames.
    """

    def __init__(
        self, host: str, ids: Mapping[str, int], *, sdk: str = SDK, patience: float = PATIENCE
    ) -> None:
        self.name = f"Vicon {host}"
        self._ids = dict(ids)
        try:
            self._sdk: Any = import_module(sdk)
        except ModuleNotFoundError:
            raise HardwareError(
                f"{self.name}: no Python module {sdk!r}; install Vicon's DataStream SDK and, from its Python "
                "folder, vicon_dssdk"
            ) from None
        self._client: Any = self._sdk.Client()
        try:
            self._client.Connect(host if ":" in host else f"{host}:801")
            self._client.EnableMarkerData()
            self._client.SetStreamMode(self._sdk.Client.StreamMode.EServerPush)
            axes = self._sdk.Client.AxisMapping
            self._client.SetAxisMapping(axes.EForward, axes.ELeft, axes.EUp)
        except self._sdk.DataStreamException as error:
            raise HardwareError(
                f"{self.name}: {error}; check the address, and that it is live with streaming on"
            ) from None
        self._reader = Reader(self.name, self._read, patience=patience)
        self._reader.start()

    def poll(self) -> list[Frame]:
        """See :class:`hardware.capture.frames.Source`."""
        return self._reader.inbox.take()

    def close(self) -> None:
        """End the thread and the connection."""
        self._reader.stop()
        if self._client.IsConnected():
            self._client.Disconnect()

    def _read(self, reader: Reader) -> None:
        client, failed = self._client, self._sdk.DataStreamException
        while not reader.stopping:
            try:
                there = client.GetFrame()  # waits for the next
                received_ns = time.monotonic_ns()
                if there:
                    reader.inbox.put(self._frame(received_ns))
                    continue
            except failed as error:
                if not client.IsConnected():
                    raise HardwareError(f"the connection is lost ({error}); is Vicon still on?") from None
            time.sleep(0.001)  # no frame yet

    def _frame(self, received_ns: int) -> Frame:
        number, rate = int(self._client.GetFrameNumber()), float(self._client.GetFrameRate())
        markers = read_markers(self._client, self._ids, self._sdk.DataStreamException)
        return Frame(number, number / rate, received_ns, markers)


def read_markers(client: Any, ids: Mapping[str, int], absent: type[Exception]) -> dict[int, Marker]:
    """The markers of the frame that a client holds; one whose subject is ``absent`` now counts as lost."""
    markers = {}
    for name, id_ in ids.items():
        subject, _, each = name.partition("/")
        try:
            (x, y, z), occluded = client.GetMarkerGlobalTranslation(subject, each)
        except absent:
            x = y = z = math.nan
            occluded = True
        markers[id_] = marker(MILLIMETRE * x, MILLIMETRE * y, MILLIMETRE * z, seen=not occluded)
    return markers
