"""Settings of the three cameras, and the file that a lab keeps them in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from hardware.cameras.intake import Limits

SOFTWARE, LINE, FIRST = "software", "line", "first"
TRIGGERS = (SOFTWARE, LINE, FIRST)
"""What starts an exposure: our command to all three, one after the other; a pulse from outside on an input
line of all three; or the first camera, which runs freely and whose exposure output is wired to the others'
input line."""

NUMBER_FIELDS = ("rate", "exposure", "gain")


@dataclass(frozen=True)
class CameraSettings:
    """How three Basler cameras take pictures. Nothing is left to automatics: what the pose network sees
    shall not change with what moves through the picture.

    Attributes:
        cameras: Serial number or user-defined name of each of :data:`dactyl_tl.contract.CAMERAS`.
        trigger: One of :data:`TRIGGERS`.
        rate: Pictures a second where we or the first camera set the pace, and the pace expected of a pulse
            from outside, Hz. Half a control period between two of them leaves half for age.
        exposure: s.
        gain: dB.
        white_balance: Ratios of red, green and blue.
        input_line: Where the pulse comes in.
        output_line: Where the first camera puts out its exposure.
        limits: What pictures may be used.
        emulated: Folder of pictures that each emulated camera shows in turn; for practice without cameras.

    Raises:
        ConfigurationError: A value that cannot be used.
    """

    cameras: Mapping[str, str]
    trigger: str = SOFTWARE
    rate: float = 25.0
    exposure: float = 0.004
    gain: float = 0.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    input_line: str = "Line1"
    output_line: str = "Line2"
    limits: Limits = field(default_factory=Limits)
    emulated: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_names()
        if self.trigger not in TRIGGERS:
            raise ConfigurationError(f"trigger={self.trigger!r} is none of {', '.join(TRIGGERS)}")
        for name in NUMBER_FIELDS:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigurationError(f"{name}={value!r} must be a number")
        if not 1.0 <= self.rate <= 200.0:
            raise ConfigurationError(f"rate={self.rate} must be within 1 and 200 Hz")
        if not 0 < self.exposure < 1 / self.rate:
            raise ConfigurationError(
                f"exposure={self.exposure} s must be above 0 and below the {1 / self.rate} s of a picture"
            )
        if self.gain < 0:
            raise ConfigurationError(f"gain={self.gain} dB must not be negative")
        if len(self.white_balance) != 3 or not all(0 < each <= 16 for each in self.white_balance):
            raise ConfigurationError(
                f"white_balance={self.white_balance} must be three ratios above 0, at most 16"
            )
        if self.limits.tolerance >= 0.5 / self.rate:
            raise ConfigurationError(
                f"limits.tolerance={self.limits.tolerance} s must be below half the {1 / self.rate} s "
                f"between two pictures (rate={self.rate}), or frames of two instants could be matched"
            )

    def _check_names(self) -> None:
        for name, given in (("cameras", self.cameras), ("emulated", self.emulated)):
            if unknown := set(given) - set(CAMERAS):
                raise ConfigurationError(
                    f"{name} names {', '.join(sorted(unknown))}; choose from {', '.join(CAMERAS)}"
                )
            if wrong := [each for each in given.values() if not isinstance(each, str) or not each]:
                raise ConfigurationError(f"{name} has {wrong[0]!r} where a text is needed")
        if missing := [name for name in CAMERAS if name not in self.cameras]:
            raise ConfigurationError(f"cameras lacks the serial number or name of {', '.join(missing)}")
        if len(set(self.cameras.values())) < len(CAMERAS):
            raise ConfigurationError(f"cameras names one camera twice: {dict(self.cameras)}")


def settings_of(values: Mapping[str, Any]) -> CameraSettings:
    """Settings from plain values, as of a JSON file.

    Raises:
        ConfigurationError: Unknown entries, or values that cannot be used.
    """
    given = dict(_known(values, CameraSettings, "the cameras' settings"))
    if "limits" in given:
        given["limits"] = Limits(**_known(given["limits"], Limits, "limits"))
    if "white_balance" in given:
        given["white_balance"] = tuple(given["white_balance"])
    try:
        return CameraSettings(**given)
    except TypeError as error:
        raise ConfigurationError(f"the cameras' settings: {error}") from error


def read_settings(path: str | Path) -> CameraSettings:
    """Settings of a JSON file.

    Raises:
        ConfigurationError: It cannot be read, or used.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the cameras' settings cannot be read: {error}") from error
    return settings_of(values)


def write_settings(path: str | Path, settings: CameraSettings) -> None:
    """Write a JSON file that :func:`read_settings` reads."""
    Path(path).write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")


def _known(values: Any, kind: type[Any], what: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ConfigurationError(f"{what} must be a mapping, not {values!r}")
    choices = [each.name for each in fields(kind)]
    if unknown := sorted(set(values) - set(choices)):
        raise ConfigurationError(f"{what} has no {', '.join(unknown)}; choose from {', '.join(choices)}")
    return values
