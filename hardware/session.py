"""A laboratory for a command: opened, and closed again with the hand let go."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dactyl_tl.errors import ConfigurationError
from hardware.capture.frames import Source
from hardware.capture.rig import Rig, load_rig
from hardware.capture.sources import open_source
from hardware.client import HandClient, Link
from hardware.errors import HardwareError
from hardware.lowlevel.realtime import schedule, settle
from hardware.operators import TwinOperator
from hardware.pedal import Pedal
from hardware.settings import HardwareSettings

PRIORITY = 10
"""Of SCHED_FIFO, where that is permitted, for whoever commands the hand and what listens for it."""


def go_ahead() -> None:
    """Let this thread, and those that it starts from now on, go ahead of other programs."""
    schedule(PRIORITY)
    settle()


def step_back() -> None:
    """Be a program like any other again: what follows, such as figures, is in no hurry."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@dataclass(frozen=True)
class Place:
    """Where the parts of a laboratory are.

    Attributes:
        link: The way to the controller.
        capture: Address of motion capture.
        rig: File that says which marker is what; None for the simulated laboratory's.
        operator: Of a simulated laboratory; None of a real one.
    """

    link: Link
    capture: str | None
    rig: str | None
    operator: TwinOperator | None

    def load_rig(self) -> Rig:
        """Which marker is what.

        Raises:
            ConfigurationError: The file cannot be used.
        """
        if self.rig is not None:
            return load_rig(self.rig)
        from hardware.twin.markers import twin_rig

        return twin_rig()

    def open_capture(self) -> Source:
        """Connect to motion capture.

        Raises:
            ConfigurationError: No address is set.
            HardwareError: It cannot be reached.
        """
        if self.capture is None:
            raise ConfigurationError("hardware.capture is not set")
        return open_source(self.capture)


@contextmanager
def open_place(settings: HardwareSettings) -> Iterator[Place]:
    """A laboratory; a simulated one is started, and ended afterwards.

    Raises:
        HardwareError: It does not start.
    """
    with ExitStack() as stack:
        if not settings.launch:
            assert settings.requests
            assert settings.conditions
            link = Link(settings.requests, settings.conditions, settings.client_keys)
            yield Place(link, settings.capture, settings.rig, None)
            return
        from hardware.twin.laboratory import Laboratory, Ports

        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dactyl_tl_")))
        laboratory = Laboratory(Ports.free(), logs, backend=settings.backend)
        stack.callback(laboratory.close)
        operator = laboratory.operator()
        stack.callback(operator.close)
        yield Place(laboratory.link, laboratory.capture, settings.rig, operator)


@contextmanager
def open_session(settings: HardwareSettings) -> Iterator[tuple[HandClient, Place]]:
    """A laboratory and a connection to its hand, which is let go in the end; a twin drops its object.

    Raises:
        HardwareError: The controller cannot be reached.
    """
    with ExitStack() as stack:
        pedal = Pedal(settings.dead_man) if settings.dead_man else None
        if pedal:
            stack.callback(pedal.close)
        place = stack.enter_context(open_place(settings))
        stack.callback(step_back)
        go_ahead()  # before there is a thread that listens, so that it inherits the priority
        client = HandClient(place.link, pedal) if pedal else HandClient(place.link)
        stack.callback(client.close)
        client.connect()
        if place.operator:
            place.operator.ask(do="release")
        client.await_well()
        try:
            yield client, place
        finally:
            with suppress(HardwareError):
                client.disarm()
