"""``python -m hardware calibrate markers``: which marker is which fingertip, and the object's markers."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dactyl_tl.contract import FINGERS
from dactyl_tl.errors import ConfigurationError
from hardware.capture.frames import Source
from hardware.capture.registration import calibrate_base, collect, identify_fingertip, register_object
from hardware.capture.rig import Rig, load_rig, save_rig
from hardware.capture.rigid import Pose, least_confusion, rms
from hardware.capture.sources import ADDRESSES, open_source

FULL_NAMES = dict(zip(FINGERS, ("first", "middle", "ring", "little finger", "thumb"), strict=True))


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"sources:\n{ADDRESSES}"
    parser.add_argument("--source", required=True, help="motion capture, see below")
    parser.add_argument("--rig", default="rig.json", help="file to write; what is in it already stays")
    parser.add_argument("--seconds", type=float, default=5.0, help="to record for each step")
    parser.add_argument(
        "--references", type=int, nargs=3, help="ids of the reference markers, in their order"
    )
    parser.add_argument("--no-fingertips", action="store_true", help="keep the fingertips' ids")
    parser.add_argument(
        "--object", type=int, nargs="+", default=[], metavar="ID", help="the object's markers"
    )
    parser.add_argument(
        "--pose",
        type=float,
        nargs=7,
        default=(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
        metavar=("X", "Y", "Z", "QW", "QX", "QY", "QZ"),
        help="the object's pose while it is recorded: m, and a quaternion",
    )
    parser.add_argument(
        "--frame",
        choices=("base", "capture"),
        default="base",
        help="of --pose: the hand base's or the system's",
    )
    parser.add_argument("--no-prompt", action="store_true", help="do not wait for Enter before each step")


def run(arguments: argparse.Namespace) -> int:
    """Record, tell residuals, write the rig."""
    rig = load_rig(arguments.rig) if Path(arguments.rig).exists() else Rig()
    if arguments.references:
        rig = replace(rig, references=tuple(arguments.references), reference_positions=None)
    pose = object_pose(arguments.pose)
    with contextlib.closing(open_source(arguments.source)) as source:
        if not arguments.no_fingertips:
            rig = fingertips(source, rig, arguments)
        if arguments.object:
            rig = place_object(source, rig, arguments, pose)
    save_rig(rig, arguments.rig)
    print(f"wrote {arguments.rig}; next: python -m hardware calibrate base")
    return 0


def object_pose(numbers: Sequence[float]) -> Pose:
    """x, y, z, m, and a quaternion wxyz.

    Raises:
        ConfigurationError: not finite, or the quaternion is not of unit norm.
    """
    norm = math.hypot(*numbers[3:])
    if not all(map(math.isfinite, numbers)) or abs(norm - 1.0) > 1e-3:
        raise ConfigurationError(f"pose={list(numbers)}: x y z and a quaternion w x y z of norm 1 are needed")
    return Pose(Rotation.from_quat(numbers[3:], scalar_first=True), numbers[:3])


def fingertips(source: Source, rig: Rig, arguments: argparse.Namespace) -> Rig:
    """Ask for one finger after another to be wiggled."""
    others = {*rig.references, *arguments.object}
    ids: dict[str, int] = {}
    for finger in FINGERS:
        prompt(source, f"Wiggle the {FULL_NAMES[finger]} alone, {arguments.seconds:g} s", arguments)
        frames = collect(source, arguments.seconds)
        id_, spread, second = identify_fingertip(frames, finger, ids, others)
        ids[finger] = id_
        print(f"{finger}: marker {id_}, moved {1000 * spread:.1f} mm rms, the next {1000 * second:.1f} mm")
    return replace(rig, fingertips=ids)


def place_object(source: Source, rig: Rig, arguments: argparse.Namespace, pose: Pose) -> Rig:
    """Measure the object's markers in the pose that it was put in."""
    prompt(source, f"Put the object in its pose and step back, {arguments.seconds:g} s", arguments)
    frames = collect(source, arguments.seconds)
    if arguments.frame == "base":
        base = calibrate_base(frames, rig)
        pose = Pose(base.pose.rotation * pose.rotation, base.pose.apply(pose.position))
        print(f"base: {1000 * rms(base.residuals):.2f} mm rms from the reference markers' layout")
    layout, still = register_object(frames, arguments.object, pose)
    for id_, at in layout.items():
        place = np.round(1000 * at, 1)
        print(f"object: marker {id_} at {place} mm, scatter {1000 * still.scatter[id_]:.2f} mm rms")
    worst = max(still.scatter, key=lambda id_: still.scatter[id_])
    scatter = rms(np.array(list(still.scatter.values())))
    confusion, _ = least_confusion(np.array(list(layout.values())))
    print(
        f"object: scatter {1000 * scatter:.2f} mm rms, worst marker {worst} "
        f"({1000 * still.scatter[worst]:.2f} mm); wrong labels would show as {1000 * confusion:.1f} mm rms"
    )
    figures = {**rig.figures, "object_scatter": scatter, "object_confusion": confusion}
    return replace(rig, object_markers=layout, figures=figures)


def prompt(source: Source, request: str, arguments: argparse.Namespace) -> None:
    """Ask for something, and throw away the frames that came before it was there."""
    if arguments.no_prompt:
        print(request)
        return
    input(f"{request}: Enter ")
    source.poll()
