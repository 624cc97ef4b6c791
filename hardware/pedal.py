"""The dead man's handle: a pedal or key of a Linux input device that must be pressed for the hand to move."""

from __future__ import annotations

import os
import struct

from dactyl_tl.errors import ConfigurationError
from hardware.errors import HardwareError

_EVENT = struct.Struct("llHHi")
"""Of linux/input.h: time in seconds and microseconds, type, code, value."""

_SYNCHRONISE, _KEY = 0, 1
_DROPPED = 3
"""The kernel's word that events were lost: a release may be among them."""
_RELEASED, _PRESSED = 0, 1


class Pedal:
    """Whether a key of a device is pressed; it is not until it was seen to go down.

    Args:
        device: Path, as ``/dev/input/by-id/...``.

    Raises:
        ConfigurationError: It cannot be read.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._pressed: set[int] = set()
        try:
            self._descriptor = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise ConfigurationError(f"hardware.dead_man={device} cannot be read: {error.strerror}") from None

    def __call__(self) -> bool:
        """Whether it is pressed now.

        Raises:
            HardwareError: It was unplugged.
        """
        while True:
            try:
                data = os.read(self._descriptor, 64 * _EVENT.size)
            except BlockingIOError:
                return bool(self._pressed)
            except OSError as error:
                raise HardwareError(f"the pedal {self._device} is gone: {error.strerror}") from error
            if not data:
                raise HardwareError(f"the pedal {self._device} is gone")
            for _, _, kind, code, value in _EVENT.iter_unpack(data[: len(data) // _EVENT.size * _EVENT.size]):
                if kind == _KEY and value == _PRESSED:
                    self._pressed.add(code)
                elif kind == _KEY and value == _RELEASED:
                    self._pressed.discard(code)
                elif kind == _SYNCHRONISE and code == _DROPPED:
                    self._pressed.clear()

    def close(self) -> None:
        """Close the device."""
        os.close(self._descriptor)
