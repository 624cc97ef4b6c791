"""Opens any source of frames by its address."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from dactyl_tl.errors import ConfigurationError
from hardware.capture.frames import Source
from hardware.capture.optitrack import OptiTrack
from hardware.capture.phasespace import PhaseSpace
from hardware.capture.qualisys import PORT, Qualisys
from hardware.capture.replay import Replay
from hardware.capture.vicon import Vicon

ADDRESSES = """phasespace://HOST[?frequency=240][&sdk=owl]
optitrack://HOST[?local=ADDRESS][&multicast=GROUP][&up=y] (multicast= for unicast)
qualisys://HOST[:22223][?ids=FILE]
vicon://HOST[:801]?ids=FILE
replay://FILE[?paced=1][&looped=0]
FILE of ids: a JSON object, label (Vicon: subject/marker) -> id"""
"""For people."""


def open_source(address: str) -> Source:
    """Connect to a system, or open a recording.

    Args:
        address: see :data:`ADDRESSES`.

    Raises:
        ConfigurationError: no such kind of source, an unknown option or a bad value.
        HardwareError: it cannot be reached.
    """
    parts = urlsplit(address)
    kind = parts.scheme
    if kind not in OPENERS:
        raise ConfigurationError(f"source={address!r}: give one of\n{ADDRESSES}")
    opener, readers = OPENERS[kind]
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(given) - set(readers))
    if unknown:
        raise ConfigurationError(
            f"source={address!r}: unknown options {unknown}; {kind} has {sorted(readers)}"
        )
    options = {}
    for name, value in given.items():
        try:
            options[name] = readers[name](value)
        except ValueError as error:
            raise ConfigurationError(f"source={address!r}: {name}={value!r}: {error}") from None
    return opener(parts, options)


def read_ids(path: str) -> dict[str, int]:
    """Label -> id, from a JSON file.

    Raises:
        ConfigurationError: it cannot be read or is no such table.
    """
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"ids={path}: {error}") from None
    if not isinstance(table, dict) or not all(type(id_) is int for id_ in table.values()):
        raise ConfigurationError(f"ids={path}: a JSON object of label: id is needed, ids being whole numbers")
    return table


def _switch(value: str) -> bool:
    if value not in ("0", "1"):
        raise ConfigurationError("choose 0 or 1")
    return value == "1"


def _host(parts: SplitResult) -> str:
    if not parts.netloc:
        raise ConfigurationError(f"source={parts.geturl()!r}: the host is missing")
    return parts.netloc


def _phasespace(parts: SplitResult, options: Mapping[str, Any]) -> Source:
    return PhaseSpace(_host(parts), **options)


def _optitrack(parts: SplitResult, options: Mapping[str, Any]) -> Source:
    return OptiTrack(_host(parts), **options)


def _qualisys(parts: SplitResult, options: Mapping[str, Any]) -> Source:
    _host(parts)
    return Qualisys(parts.hostname or "", port=parts.port or PORT, **options)


def _vicon(parts: SplitResult, options: Mapping[str, Any]) -> Source:
    if "ids" not in options:
        raise ConfigurationError("vicon: ids=FILE is needed, a JSON object of subject/marker: id")
    return Vicon(_host(parts), **options)


def _replay(parts: SplitResult, options: Mapping[str, Any]) -> Source:
    return Replay(parts.netloc + parts.path, **options)


Opener = Callable[[SplitResult, Mapping[str, Any]], Source]

OPENERS: Mapping[str, tuple[Opener, Mapping[str, Callable[[str], Any]]]] = {
    "phasespace": (_phasespace, {"frequency": float, "sdk": str, "patience": float}),
    "optitrack": (
        _optitrack,
        {
            "local": str,
            "multicast": str,
            "command_port": int,
            "data_port": int,
            "up": str,
            "patience": float,
        },
    ),
    "qualisys": (_qualisys, {"ids": read_ids, "patience": float}),
    "vicon": (_vicon, {"ids": read_ids, "patience": float}),
    "replay": (_replay, {"paced": _switch, "looped": _switch}),
}
"""Kind of source -> what opens it, and how its options are read."""
