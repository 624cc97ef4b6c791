"""What goes between the processes of the simulated cameras: frames as bytes, states and faults as JSON."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.contract import CAMERAS, NUM_JOINTS
from dactyl_tl.errors import ConfigurationError
from hardware.cameras.frames import HEIGHT, WIDTH, Frame
from hardware.lowlevel.sockets import is_local

HEADER = struct.Struct("<8sIQqq")
"""Magic, number of the camera, sequence, time by the host's clock in ns, the camera's own time."""

MAGIC = b"DTLFRAM1"

STATE_SIZE = NUM_JOINTS + 7
"""Joint angles, then the object's position and orientation."""

FAULTS = ("delay", "loss", "freeze", "duplicate", "dark", "crash", "none")
"""What can happen to a camera: its frames come later; a share of them is lost; it repeats its last picture
under new numbers and times; every frame comes twice; it is covered; its process, which is all cameras',
ends; everything is well again."""


@dataclass(frozen=True)
class Fault:
    """A fault to inject.

    Attributes:
        fault: One of :data:`FAULTS`.
        camera: One of :data:`dactyl_tl.contract.CAMERAS`; None for all.
        amount: Seconds of a delay, share of frames that is lost.

    Raises:
        ConfigurationError: A value that cannot be used.
    """

    fault: str
    camera: str | None = None
    amount: float = 1.0

    def __post_init__(self) -> None:
        if self.fault not in FAULTS:
            raise ConfigurationError(f"fault={self.fault!r} is none of {', '.join(FAULTS)}")
        if self.camera not in (None, *CAMERAS):
            raise ConfigurationError(f"camera={self.camera!r} is none of {', '.join(CAMERAS)}")
        if not 0 <= self.amount <= (1 if self.fault == "loss" else 60):
            raise ConfigurationError(f"amount={self.amount} cannot be used for fault={self.fault}")


class WireError(ValueError):
    """A message that is none of ours."""


def pack_frame(frame: Frame) -> bytes:
    """A frame as one message."""
    header = HEADER.pack(MAGIC, CAMERAS.index(frame.camera), frame.sequence, frame.time_ns, frame.device_time)
    return header + frame.picture.tobytes()


def unpack_frame(message: bytes) -> Frame:
    """The frame of a message; its picture is read-only.

    Raises:
        WireError: It is none.
    """
    if len(message) != HEADER.size + HEIGHT * WIDTH * 3:
        raise WireError(f"a message of {len(message)} bytes is no frame")
    magic, camera, sequence, time_ns, device_time = HEADER.unpack_from(message)
    if magic != MAGIC or camera >= len(CAMERAS):
        raise WireError(f"a message that begins with {magic!r} is no frame")
    picture = np.frombuffer(message, np.uint8, offset=HEADER.size).reshape(HEIGHT, WIDTH, 3)
    return Frame(CAMERAS[camera], picture, time_ns, device_time, sequence)


def unpack_state(message: bytes) -> tuple[NDArray[np.float64], int]:
    """``{"qpos": [31 numbers], "time_ns": host's monotonic clock, ...}`` to qpos (31,) and time.

    Raises:
        WireError: It is something else, or not finite.
    """
    try:
        values: Any = json.loads(message)
        qpos, time_ns = np.array(values["qpos"], dtype=np.float64), values["time_ns"]
    except (ValueError, KeyError, TypeError) as error:
        raise WireError(f"a message that is no state: {error}") from error
    if qpos.shape != (STATE_SIZE,) or not np.isfinite(qpos).all() or not isinstance(time_ns, int):
        raise WireError(f"a state has qpos of shape {qpos.shape}, finite, and time_ns={time_ns!r}")
    return qpos, time_ns


def pack_fault(fault: Fault) -> bytes:
    """A fault as one message."""
    return json.dumps({"fault": fault.fault, "camera": fault.camera, "amount": fault.amount}).encode()


def unpack_fault(message: bytes) -> Fault:
    """The fault of a message.

    Raises:
        WireError: It is none.
    """
    try:
        return Fault(**json.loads(message))
    except (ValueError, TypeError) as error:
        raise WireError(f"a message that is no fault: {error}") from error


def check_local(address: str, what: str) -> None:
    """See that nobody can reach an address from another machine: frames and states go unprotected.

    Raises:
        ConfigurationError: Somebody can.
    """
    if not is_local(address):
        raise ConfigurationError(
            f"{what}={address!r} must be on this machine: ipc://... or tcp://127.0.0.1:..."
        )
