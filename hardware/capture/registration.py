"""Which marker is what, where the object's markers sit on it and where the hand's base is, from frames.

Pure functions of frames; each refuses what would make a bad rig and says what to check.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dactyl_tl.errors import ConfigurationError
from hardware.capture.frames import EndOfRecording, Frame, Source
from hardware.capture.rig import Rig
from hardware.capture.rigid import Pose, check_layout, fit, rms
from hardware.capture.tracks import Limits
from hardware.errors import HardwareError

FEWEST_FRAMES = 30
"""Frames in which a marker must be seen to be averaged."""

STILL = 0.001
"""m: greatest rms distance from its mean of a marker that stands still."""

WIGGLE, LEAD = 0.01, 2.0
"""m, rms: what the marker of a wiggled finger moves at least, and how many times as far as any other."""

BASE_LIMIT = 0.003
"""m: greatest rms distance of the reference markers from their layout."""

CONFUSION = 0.006
"""m: what wrong labels on the object must leave as rms residual at least: twice the tracker's limit."""

PAUSE = 0.005
"""s between two polls."""


@dataclass(frozen=True)
class Still:
    """Markers that stand still.

    Attributes:
        positions: id -> mean position (3,) m.
        scatter: id -> rms distance from it, m.
        frames: id -> number of frames in which it was seen.
    """

    positions: Mapping[int, np.ndarray]
    scatter: Mapping[int, float]
    frames: Mapping[int, int]


def collect(source: Source, seconds: float) -> list[Frame]:
    """Frames of the next ``seconds`` s of the system's time; fewer where a recording ends.

    Raises:
        ConfigurationError: ``seconds`` is no time.
        HardwareError: the connection is lost, there is not one frame, or ten times as long is not enough.
    """
    if not (math.isfinite(seconds) and seconds > 0.0):
        raise ConfigurationError(f"seconds={seconds:g}: more than 0 are needed")
    frames: list[Frame] = []
    until = time.monotonic() + 10.0 * seconds
    while not frames or frames[-1].device_time - frames[0].device_time < seconds:
        try:
            arrived = source.poll()
        except EndOfRecording:
            if not frames:
                raise
            break
        frames.extend(arrived)
        if time.monotonic() > until:
            raise HardwareError(
                f"{source.name}: {len(frames)} frames, less than {seconds:g} s of them, came in "
                f"{10.0 * seconds:g} s; does it stream?"
            )
        if not arrived:
            time.sleep(PAUSE)
    return [frame for frame in frames if frame.device_time - frames[0].device_time <= seconds]


def average(frames: Iterable[Frame], ids: Iterable[int]) -> Still:
    """Where markers stand.

    Raises:
        HardwareError: one is seen too rarely or moves; names it.
    """
    frames = list(frames)
    positions, scatter, counts = {}, {}, {}
    for id_ in ids:
        seen = _trajectory(frames, id_)
        if len(seen) < FEWEST_FRAMES or 2 * len(seen) < len(frames):
            raise HardwareError(
                f"marker {id_} was seen in {len(seen)} of {len(frames)} frames; at least {FEWEST_FRAMES} and "
                "half of them are needed: check its id, its light or foil, and what stands before it"
            )
        positions[id_] = seen.mean(axis=0)
        scatter[id_] = rms(np.linalg.norm(seen - positions[id_], axis=1))
        counts[id_] = len(seen)
        if scatter[id_] > STILL:
            raise HardwareError(
                f"marker {id_} moved: rms {1000 * scatter[id_]:.2f} mm, at most {1000 * STILL:g} mm is "
                "still; see that nothing moves, and recalibrate the cameras if nothing did"
            )
    return Still(positions, scatter, counts)


def identify_fingertip(
    frames: Sequence[Frame], finger: str, known: Mapping[str, int], others: Iterable[int] = ()
) -> tuple[int, float, float]:
    """The marker that moves most while an operator wiggles one finger.

    Args:
        frames: of that time.
        finger: its name.
        known: finger -> id of those identified already.
        others: ids that are known to be something else.

    Returns:
        Its id, its rms distance from its mean, m, and that of the next one.

    Raises:
        HardwareError: none moves far, two do, or the one that does is another finger's.
    """
    others = set(others)
    spread = {}
    for id_ in sorted({id_ for frame in frames for id_ in frame.markers} - others):
        seen = _trajectory(frames, id_)
        if len(seen) >= FEWEST_FRAMES:
            spread[id_] = rms(np.linalg.norm(seen - seen.mean(axis=0), axis=1))
    ranked = sorted(spread, key=lambda id_: -spread[id_])
    if not ranked or spread[ranked[0]] < WIGGLE:
        most = f"the most is {1000 * spread[ranked[0]]:.1f} mm" if ranked else "none was seen"
        raise HardwareError(
            f"{finger}: no marker moved by {1000 * WIGGLE:g} mm rms ({most}); wiggle it wider, and check "
            "that its marker is lit and seen"
        )
    second = spread[ranked[1]] if len(ranked) > 1 else 0.0
    if spread[ranked[0]] < LEAD * second:
        raise HardwareError(
            f"{finger}: markers {ranked[0]} and {ranked[1]} both moved (rms {1000 * spread[ranked[0]]:.1f} "
            f"and {1000 * second:.1f} mm); move this finger alone, and keep the arm still"
        )
    for other, taken in known.items():
        if taken == ranked[0]:
            raise HardwareError(f"marker {taken} moved most for {other} and for {finger}; wiggle each alone")
    return ranked[0], spread[ranked[0]], second


def register_object(
    frames: Sequence[Frame], ids: Sequence[int], pose: Pose
) -> tuple[dict[int, np.ndarray], Still]:
    """Where the object's markers sit on it.

    Args:
        frames: of a time in which it stood still.
        ids: of its markers.
        pose: the object's, in the frame of the positions in ``frames``.

    Returns:
        Id -> position (3,) m in the object's frame, and what was measured.

    Raises:
        HardwareError: a marker is hardly seen or moves.
        ConfigurationError: the layout is too symmetric, see :func:`hardware.capture.rigid.check_layout`.
    """
    still = average(frames, ids)
    layout = {id_: pose.into(still.positions[id_]) for id_ in ids}
    check_layout(np.array(list(layout.values())), CONFUSION)
    return layout, still


@dataclass(frozen=True)
class Base:
    """The hand's base, measured.

    Attributes:
        pose: the hand-base frame in the system's.
        positions: (3, 3) m, mean positions of the reference markers in the system's frame.
        residuals: (3,) m, what each keeps from its place in the layout.
        scatter: (3,) m, rms distance of each from its mean.
        frames: averaged over.
    """

    pose: Pose
    positions: np.ndarray
    residuals: np.ndarray
    scatter: np.ndarray
    frames: int


def calibrate_base(frames: Sequence[Frame], rig: Rig) -> Base:
    """The hand-base frame by the reference markers, averaged.

    The markers' distances cannot show everything: a layout with two equal sides, as the default one, fits as
    well turned over. So fingertips that are seen must then lie within the fingers' reach.

    Args:
        frames: of a time in which the hand's base stood still.
        rig: with the reference markers' ids and layout, and the fingertips' ids.

    Raises:
        HardwareError: a reference marker is hardly seen or moves, they do not fit the layout, or a fingertip
            is out of reach.
    """
    references, layout = rig.references, rig.reference_layout
    still = average(frames, references)
    positions = np.array([still.positions[id_] for id_ in references])
    pose, residuals = fit(layout, positions)
    if rms(residuals) > BASE_LIMIT:
        worst = references[int(np.argmax(residuals))]
        raise HardwareError(
            f"the reference markers do not fit their layout: rms {1000 * rms(residuals):.1f} mm, at most "
            f"{1000 * BASE_LIMIT:g} mm; worst is marker {worst}. Check the order of their ids, measure where "
            "they sit on the forearm and set reference_layout in the rig"
        )
    limits = Limits()
    for finger, id_ in rig.fingertips.items():
        seen = _trajectory(frames, id_)
        if len(seen) == 0:
            continue
        distance = float(np.linalg.norm(pose.into(seen.mean(axis=0)) - limits.reach_centre))
        if distance > limits.reach:
            raise HardwareError(
                f"marker {id_} of {finger} is {1000 * distance:.0f} mm from the middle of the fingers' "
                f"reach, at most {1000 * limits.reach:.0f} mm: check the order of the reference markers' ids "
                f"{list(references)}, and the fingertips' ids"
            )
    scatter = np.array([still.scatter[id_] for id_ in references])
    return Base(pose, positions, residuals, scatter, min(still.frames.values()))


def _trajectory(frames: Iterable[Frame], id_: int) -> np.ndarray:
    seen = [
        frame.markers[id_].position for frame in frames if id_ in frame.markers and frame.markers[id_].valid
    ]
    return np.array(seen).reshape(-1, 3)
