"""The hands that a controller can drive, by name."""

from __future__ import annotations

from typing import NamedTuple

from hardware.lowlevel.carriers import RosbridgeCarrier, RosCarrier, TwinCarrier
from hardware.lowlevel.hand import DryHand, Hand
from hardware.lowlevel.vendor import VendorHand

BACKENDS = ("dry", "dry_torques", "twin", "ros", "rosbridge")


class Backend(NamedTuple):
    """Which hand, and the way there.

    Attributes:
        name: one of :data:`BACKENDS`.
        side: ``rh`` or ``lh``, the vendor's prefix.
        topics, commands: the twin's addresses.
        host, port: of the rosbridge server.
    """

    name: str
    side: str = "rh"
    topics: str = "tcp://127.0.0.1:5761"
    commands: str = "tcp://127.0.0.1:5762"
    host: str = "127.0.0.1"
    port: int = 9090


def open_hand(backend: Backend) -> Hand:
    """Connect to a hand.

    Raises:
        HandError: it cannot be reached.
        ValueError: there is no such backend.
    """
    name = backend.name
    if name in ("dry", "dry_torques"):
        return DryHand(torques=name == "dry_torques")
    if name == "twin":
        return VendorHand(name, TwinCarrier(backend.topics, backend.commands), backend.side)
    if name == "ros":
        return VendorHand(name, RosCarrier(), backend.side)
    if name == "rosbridge":
        return VendorHand(name, RosbridgeCarrier(backend.host, backend.port), backend.side)
    raise ValueError(f"unknown backend {name!r}; choose from {', '.join(BACKENDS)}")
