"""Which marker is what: the file that registration writes and the tracker loads (``rig.json``)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dactyl_tl.contract import FINGERS
from dactyl_tl.errors import ConfigurationError

VERSION = 1
"""Of the file's schema."""

NUM_REFERENCES = 3

REFERENCE_LAYOUT = ((-0.053, -0.210, 0.034), (-0.131, -0.210, 0.034), (-0.131, -0.132, 0.034))
"""Reference markers in the hand-base frame, m: the simulated hand's (``hardware.twin.markers``)."""

FINGERTIP_IDS = MappingProxyType({finger: index for index, finger in enumerate(FINGERS)})
REFERENCE_IDS = (5, 6, 7)
"""Ids where nothing else is registered."""


def _layout() -> np.ndarray:
    return np.array(REFERENCE_LAYOUT)


@dataclass(frozen=True)
class Rig:
    """The markers of one laboratory.

    Attributes:
        fingertips: finger -> id of its marker.
        references: ids of the three markers on the forearm, in the order of ``reference_layout``.
        reference_layout: (3, 3) m, in the hand-base frame.
        object_markers: id -> position (3,) m in the object's frame; empty where the object is not tracked.
        reference_positions: (3, 3) m, where the reference markers stood in the motion-capture system's frame
            when the base was calibrated; None before.
        figures: residuals of the calibrations, m, for people.
    """

    fingertips: Mapping[str, int] = field(default_factory=lambda: dict(FINGERTIP_IDS))
    references: tuple[int, ...] = REFERENCE_IDS
    reference_layout: np.ndarray = field(default_factory=_layout)
    object_markers: Mapping[int, np.ndarray] = field(default_factory=dict)
    reference_positions: np.ndarray | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.fingertips) != set(FINGERS):
            raise ConfigurationError(
                f"fingertips={sorted(self.fingertips)}: name each of {', '.join(FINGERS)}"
            )
        if len(self.references) != NUM_REFERENCES:
            raise ConfigurationError(f"references={self.references}: {NUM_REFERENCES} ids are needed")
        ids = [*self.fingertips.values(), *self.references, *self.object_markers]
        twice = sorted({id_ for id_ in ids if ids.count(id_) > 1})
        if twice:
            raise ConfigurationError(f"marker ids {twice} are given to two things; each marker has one place")
        _check_points("reference_layout", self.reference_layout)
        if self.reference_positions is not None:
            _check_points("reference_positions", self.reference_positions)
        if 0 < len(self.object_markers) < 4:
            raise ConfigurationError(
                f"object_markers: {len(self.object_markers)} given; at least 4 are needed"
            )
        for id_, position in self.object_markers.items():
            if np.shape(position) != (3,) or not np.isfinite(position).all():
                raise ConfigurationError(
                    f"object_markers[{id_}]={position!r}: 3 finite numbers are needed, m"
                )

    @property
    def object_layout(self) -> np.ndarray:
        """(k, 3) m, in the order of ``object_markers``."""
        return np.array(list(self.object_markers.values()), dtype=np.float64).reshape(-1, 3)


def _check_points(name: str, points: np.ndarray) -> None:
    if np.shape(points) != (NUM_REFERENCES, 3) or not np.isfinite(points).all():
        raise ConfigurationError(f"{name}={points!r}: {NUM_REFERENCES} x 3 finite numbers are needed, m")


def save_rig(rig: Rig, path: str | os.PathLike[str]) -> None:
    """Write a rig; the file holds the former one until it holds this one whole."""
    target = Path(path)
    positions = rig.reference_positions
    record = {
        "version": VERSION,
        "fingertips": dict(rig.fingertips),
        "references": list(rig.references),
        "reference_layout": np.asarray(rig.reference_layout).tolist(),
        "object_markers": {str(id_): np.asarray(at).tolist() for id_, at in rig.object_markers.items()},
        "reference_positions": None if positions is None else np.asarray(positions).tolist(),
        "figures": dict(rig.figures),
    }
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    with open(draft, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, target)


def load_rig(path: str | os.PathLike[str]) -> Rig:
    """Read what :func:`save_rig` wrote.

    Raises:
        ConfigurationError: there is no such file, or something in it cannot be used; names it.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}; make it with python -m hardware calibrate markers"
        ) from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON: {error}") from None
    if not isinstance(record, dict) or record.get("version") != VERSION:
        found = record.get("version") if isinstance(record, dict) else None
        raise ConfigurationError(f"{path}: version {found!r}, this program reads {VERSION}; calibrate anew")
    try:
        return _parse(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # ConfigurationError is a ValueError
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigurationError(f"{path}: {reason}") from None


def _parse(record: Mapping[str, Any]) -> Rig:
    positions = record["reference_positions"]
    return Rig(
        fingertips={str(finger): _id(id_) for finger, id_ in record["fingertips"].items()},
        references=tuple(_id(id_) for id_ in record["references"]),
        reference_layout=_points(record["reference_layout"]),
        object_markers={int(id_): _points(at) for id_, at in record["object_markers"].items()},
        reference_positions=None if positions is None else _points(positions),
        figures={str(name): float(value) for name, value in record["figures"].items()},
    )


def _id(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{value!r} is no marker id: a whole number is needed")
    return value


def _points(values: Sequence[Any]) -> np.ndarray:
    return np.array(values, dtype=np.float64)
