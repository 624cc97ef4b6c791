"""What can go wrong with the simulated motion capture, and the message that makes it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from dactyl_tl.errors import ConfigurationError
from hardware.errors import HardwareError


@dataclass(frozen=True)
class Faults:
    """What goes wrong; positions are in the simulated world, m.

    Attributes:
        delay: s that every frame comes late.
        loss: share of frames that never come.
        occluded: ids that are not seen.
        nan: ids whose coordinates are NaN though they count as seen.
        stalled: no frame is sent.
        frozen: the same frame is sent again and again.
        duplicated: how often each frame is sent besides.
        swapped: pairs of ids that carry each other's label.
        ghosts: id -> place (3,) where a marker is reported that is not there.
        noise: standard deviation of every coordinate, m.
        garbage: share of frames that random bytes go before.
    """

    delay: float = 0.0
    loss: float = 0.0
    occluded: tuple[int, ...] = ()
    nan: tuple[int, ...] = ()
    stalled: bool = False
    frozen: bool = False
    duplicated: int = 0
    swapped: tuple[tuple[int, int], ...] = ()
    ghosts: Mapping[int, tuple[float, float, float]] = field(default_factory=dict)
    noise: float = 0.0
    garbage: float = 0.0


def changed(faults: Faults, changes: Mapping[str, Any]) -> Faults:
    """``faults`` with the fields of a control message in place of its own.

    Raises:
        ConfigurationError: an unknown field, or a value of the wrong kind.
    """
    known = {each.name for each in fields(Faults)}
    if not set(changes) <= known:
        raise ConfigurationError(f"unknown faults {sorted(set(changes) - known)}; choose of {sorted(known)}")
    readers: dict[str, Callable[[Any], Any]] = {
        "occluded": lambda value: tuple(int(id_) for id_ in value),
        "nan": lambda value: tuple(int(id_) for id_ in value),
        "swapped": lambda value: tuple((int(a), int(b)) for a, b in value),
        "ghosts": lambda value: {
            int(id_): (float(x), float(y), float(z)) for id_, (x, y, z) in value.items()
        },
        "stalled": bool,
        "frozen": bool,
        "duplicated": int,
    }
    try:
        return replace(faults, **{name: readers.get(name, float)(value) for name, value in changes.items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"faults {dict(changes)}: {error}") from None


def control(port: int, message: Mapping[str, Any], timeout: float = 30.0) -> None:
    """Send a control message and wait until it is obeyed.

    Args:
        port: of the server.
        message: ``{"type": "faults", "set": {...}}`` with fields of :class:`Faults`; ``{"type": "end"}`` ends
            every other client's session and ``{"type": "cut"}`` its connection; ``{"type": "crash"}`` resets
            them, and the server is gone.
        timeout: s.

    Raises:
        HardwareError: the server cannot be reached or refuses.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
            connection.sendall(json.dumps(message).encode() + b"\n")
            for line in connection.makefile("rb"):
                reply = json.loads(line)
                if reply["type"] == "ok":
                    return
                if reply["type"] == "refused":
                    raise HardwareError(
                        f"the simulated motion capture refused {dict(message)}: {reply['data']}"
                    )
    except OSError as error:
        raise HardwareError(f"the simulated motion capture does not answer on port {port}: {error}") from None
    raise HardwareError(f"the simulated motion capture ended before it obeyed {dict(message)}")


def set_faults(port: int, faults: Faults) -> None:
    """Let a server have these faults and no others."""
    control(port, {"type": "faults", "set": asdict(faults)})
