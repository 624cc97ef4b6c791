"""What a laboratory is: the settings of ``conf/hardware``, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from dactyl_tl.errors import ConfigurationError
from hardware.lowlevel.backends import BACKENDS
from hardware.lowlevel.joints import NUM_ACTUATORS
from hardware.lowlevel.safety import FASTEST
from hardware.lowlevel.sockets import Keys

OPERATORS = ("terminal", "twin")
FLAT = "flat"


@dataclass(frozen=True)
class HardwareSettings:
    """A laboratory. Values stand in ``conf/hardware``, one file for each kind.

    Attributes:
        launch: Start a simulated laboratory and end it afterwards.
        backend: How the controller reaches the hand, one of :data:`hardware.lowlevel.backends.BACKENDS`.
        requests, conditions: Addresses of the controller.
        keys: File of this machine's secret key, ``NAME.key_secret``; null on loopback.
        controller_key: File of the controller's public key.
        velocity: Greatest speed of a servo's target, rad/s.
        force: The servos' greatest force, 0..1.
        capture: Address of motion capture, see :data:`hardware.capture.sources.ADDRESSES`.
        rig: File that says which marker is what; null for the simulated laboratory's.
        cameras: File of the cameras' settings; null for the simulated laboratory's.
        operator: ``terminal``, or ``twin`` for the simulated one.
        start: Where trials begin: ``flat``, 20 targets in rad, or null for where the hand is.
        dead_man: Device of a pedal that must be pressed for the hand to move; null for none.
        display: Whether to show the goal in the browser, at ``display_host`` and ``display_port`` (0: any).
        pictures: Whether records keep the cameras' pictures.
    """

    launch: bool
    backend: str
    requests: str | None
    conditions: str | None
    keys: str | None
    controller_key: str | None
    velocity: float
    force: float
    capture: str | None
    rig: str | None
    cameras: str | None
    operator: str
    start: str | tuple[float, ...] | None
    dead_man: str | None
    display: bool
    display_host: str
    display_port: int
    pictures: bool

    def __post_init__(self) -> None:
        _choose("backend", self.backend, BACKENDS)
        _choose("operator", self.operator, OPERATORS)
        if not 0.0 < self.velocity <= FASTEST:
            raise ConfigurationError(
                f"hardware.velocity is {self.velocity:g}; it must be positive and at most {FASTEST:g} rad/s"
            )
        if not 0.0 < self.force <= 1.0:
            raise ConfigurationError(f"hardware.force is {self.force:g}; it must be positive and at most 1")
        if not 0 <= self.display_port < 65536:
            raise ConfigurationError(f"hardware.display_port is {self.display_port}; it must be 0 to 65535")
        if (self.keys is None) != (self.controller_key is None):
            raise ConfigurationError("hardware.keys and hardware.controller_key go together")
        if self.launch and self.backend not in ("twin", "rosbridge"):
            raise ConfigurationError(
                f"hardware.launch starts a twin, which hardware.backend={self.backend} does not reach"
            )
        if not self.launch:
            for name in ("requests", "conditions", "capture", "rig"):
                if getattr(self, name) is None:
                    raise ConfigurationError(f"hardware.{name} is not set")
        if self.operator == "twin" and not self.launch:
            raise ConfigurationError("hardware.operator=twin needs hardware.launch=true")
        if isinstance(self.start, str):
            _choose("start", self.start, (FLAT,))

    @property
    def client_keys(self) -> Keys | None:
        """Of this machine and the controller."""
        return Keys(self.keys, self.controller_key) if self.keys and self.controller_key else None

    @property
    def starting_pose(self) -> tuple[float, ...] | None:
        """Targets of the 20 servos, rad, or None."""
        return (0.0,) * NUM_ACTUATORS if isinstance(self.start, str) else self.start


def read_hardware(values: Mapping[str, Any]) -> HardwareSettings:
    """Check plain values.

    Raises:
        ConfigurationError: With the name of the setting, its value and what would do.
    """
    known = [each.name for each in fields(HardwareSettings)]
    for name in values:
        if name not in known:
            raise ConfigurationError(f"unknown setting hardware.{name}; choose from {', '.join(known)}")
    for name in known:
        if name not in values:
            raise ConfigurationError(f"hardware.{name} is missing")
    hints = get_type_hints(HardwareSettings)
    return HardwareSettings(**{name: _typed(name, values[name], hints[name]) for name in known})


def _typed(name: str, value: Any, hint: Any) -> Any:
    if name == "start" and isinstance(value, (list, tuple)):
        return _pose(value)
    if hint is bool:
        valid, expected = isinstance(value, bool), "true or false"
    elif hint is int:
        valid, expected = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif hint is float:
        valid, expected = isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
        value = float(value) if valid else value
    else:
        valid = isinstance(value, str) or (value is None and hint is not str)
        expected = "a word" if hint is str else "a word or null"
        if name == "start":
            expected = f"{FLAT}, {NUM_ACTUATORS} angles in rad or null"
    if not valid:
        raise ConfigurationError(f"hardware.{name} is {value!r}; it must be {expected}")
    return value


def _pose(values: list[Any] | tuple[Any, ...]) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values if isinstance(value, (int, float)))
    if len(numbers) != NUM_ACTUATORS or len(values) != NUM_ACTUATORS or not all(map(math.isfinite, numbers)):
        raise ConfigurationError(
            f"hardware.start has {len(values)} values; it must be {FLAT} or {NUM_ACTUATORS} angles in rad"
        )
    return numbers


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"hardware.{name} is {value!r}; choose from {', '.join(choices)}")
