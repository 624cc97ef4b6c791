"""PhaseSpace, by the vendor's ``owl`` module, which comes with the system and is on no package index.

Run against :mod:`hardware.twin.owl` in the tests; unverified against a real PhaseSpace system.
"""

from __future__ import annotations

import time
from contextlib import suppress
from importlib import import_module
from typing import Any

from dactyl_tl.errors import ConfigurationError
from hardware.capture.frames import PATIENCE, Frame, Marker, Reader, marker
from hardware.errors import HardwareError

FREQUENCY, MAX_FREQUENCY = 240.0, 960.0
"""Frames a second that are asked for, and the most that a system does, Hz."""

WAIT_US = 20_000
"""How long one call waits for an event, microseconds: closing takes that long."""

MILLIMETRE = 1e-3


class PhaseSpace:
    """A PhaseSpace system.

    Args:
        host: name or address of the system's server, as ``owl.Context.open`` takes it.
        frequency: Hz.
        sdk: name of the vendor's module.
        patience: s without a frame after which the connection counts as lost.

    Attributes:
        damaged: error events so far that were not fatal.

    Raises:
        ConfigurationError: a frequency that it does not do.
        HardwareError: the module is missing, or the system cannot be reached or does not begin to stream.
    """

    def __init__(
        self, host: str, *, frequency: float = FREQUENCY, sdk: str = "owl", patience: float = PATIENCE
    ) -> None:
        if not 0.0 < frequency <= MAX_FREQUENCY:
            raise ConfigurationError(f"frequency={frequency:g}: PhaseSpace does up to {MAX_FREQUENCY:g} Hz")
        self.name = f"PhaseSpace {host}"
        self.damaged = 0
        try:
            self._owl: Any = import_module(sdk)
        except ModuleNotFoundError:
            raise HardwareError(
                f"{self.name}: no Python module {sdk!r}; install the client SDK that PhaseSpace supplies "
                "(libowl2, owl.py) and put its folder on PYTHONPATH"
            ) from None
        self._context: Any = self._owl.Context()
        try:
            self._context.open(host, "timeout=5000000")
            if self._context.isOpen():
                self._context.initialize("event.markers=1")
                self._context.frequency(frequency)
                self._context.streaming(1)
        except (self._owl.OWLError, OSError) as error:
            self._context.close()
            raise HardwareError(
                f"{self.name}: {error}; check its address, that the server is on and that no other client "
                "is master"
            ) from None
        if not self._context.isOpen() or not self._context.property("initialized"):
            self._context.close()
            raise HardwareError(
                f"{self.name}: it cannot be opened; check its address and that the server is on"
            )
        self._tick = _seconds_per_tick(self._context.property("timebase"))
        self._reader = Reader(self.name, self._read, patience=patience)
        self._reader.start()

    def poll(self) -> list[Frame]:
        """See :class:`hardware.capture.frames.Source`."""
        return self._reader.inbox.take()

    def close(self) -> None:
        """End the session and the connection."""
        self._reader.stop()
        if self._context.isOpen():
            with suppress(self._owl.OWLError, OSError):  # gone already, which is what is wanted
                self._context.done()
        self._context.close()

    def _read(self, reader: Reader) -> None:
        owl, context = self._owl, self._context
        while not reader.stopping:
            try:
                event = context.nextEvent(WAIT_US)  # the oldest: one a call until all are drained
            except owl.OWLError as error:
                raise HardwareError(str(error)) from None
            if not event:
                if not context.isOpen():
                    raise HardwareError("the connection is lost; is the server on, and the network up?")
            elif event.type_id == owl.Type.FRAME:
                if "markers" in event:
                    reader.inbox.put(self._frame(event, time.monotonic_ns()))
            elif event.type_id == owl.Type.ERROR:
                if event.name == "fatal":
                    raise HardwareError(f"fatal: {event.data}")
                self.damaged += 1
            if context.isOpen() and not context.property("initialized"):
                raise HardwareError("the session was ended by its master; open it again")

    def _frame(self, event: Any, received_ns: int) -> Frame:
        return Frame(
            sequence=int(event.time),
            device_time=event.time * self._tick,
            received_ns=received_ns,
            markers={int(each.id): _marker(each) for each in event.markers},
        )


def _marker(each: Any) -> Marker:
    mm = MILLIMETRE
    return marker(mm * each.x, mm * each.y, mm * each.z, seen=each.cond > 0, quality=each.cond)


def _seconds_per_tick(timebase: Any) -> float:
    # (numerator, denominator) in seconds; a server that gives none counts microseconds.
    if timebase is None or len(timebase) != 2 or not all(timebase):
        return 1e-6
    return float(timebase[0]) / float(timebase[1])
