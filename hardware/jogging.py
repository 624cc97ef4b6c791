"""``python -m hardware jog ACTUATOR``: moves one joint a little, to see that its sign is right."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

from dactyl_tl.errors import ConfigurationError
from hardware.client import HandClient
from hardware.configuration import add_laboratory, laboratory_settings
from hardware.lowlevel.joints import ACTUATORS, JOINTS, positions
from hardware.lowlevel.safety import FARTHEST
from hardware.session import open_session

NAMES = tuple(actuator.name for actuator in ACTUATORS)

SPEED = 0.2
"""rad/s."""

STEP = 0.02
"""rad, of every request."""

SETTLING = 0.5
"""s at either end."""

MOVED = 0.3
"""Share of what was asked for that counts as having moved."""


def jog(client: HandClient, actuator: int, degrees: float) -> tuple[float, float]:
    """Move an armed hand's actuator there and back.

    Args:
        client: Of an armed hand.
        actuator: Its index.
        degrees: How far, at most as far as its range allows.

    Returns:
        How far the target went, and how far the joints were measured to move; degrees.
    """
    start = client.jog(actuator, 0.0).report.goals[actuator]
    before = positions(client.condition().angles)[actuator]
    goal = _move(client, actuator, start + math.radians(degrees))
    moved = positions(client.condition().angles)[actuator] - before
    _move(client, actuator, start)
    return math.degrees(goal - start), math.degrees(moved)


def _move(client: HandClient, actuator: int, target: float) -> float:
    at = client.jog(actuator, 0.0).report.goals[actuator]
    steps = max(1, math.ceil(abs(target - at) / STEP))
    for step in range(1, steps + 1):
        wanted = at + (target - at) * step / steps
        here = client.jog(actuator, 0.0).report.goals[actuator]
        left = wanted - here  # more than a step where the range has ended
        client.jog(actuator, min(max(left, -FARTHEST), FARTHEST))
        client.stay(time.monotonic_ns() + round(STEP / SPEED * 1e9))
    client.stay(time.monotonic_ns() + round(SETTLING * 1e9))
    return client.jog(actuator, 0.0).report.goals[actuator]


def expected_motion(actuator: int) -> str:
    """What a person should see of a positive motion."""
    name = NAMES[actuator]
    finger, joint = name[:2], name[2:]
    if name in EXPECTED:
        return EXPECTED[name]
    return f"the {FINGERS[finger]} finger {EXPECTED_OF_FINGERS[joint]}"


FINGERS = {"FF": "first", "MF": "middle", "RF": "ring", "LF": "little"}
EXPECTED_OF_FINGERS = {
    "J3": "leans towards the thumb's side",
    "J2": "bends at the knuckle, towards the palm",
    "J1": "curls at its two outer joints",
}
EXPECTED = {
    "WRJ1": "the hand leans sideways at the wrist, towards the thumb's side",
    "WRJ0": "the hand bends at the wrist, towards the palm",
    "LFJ4": "the little finger's root moves into the palm",
    "THJ4": "the thumb turns about its root: bent, its tip swings towards the back of the hand",
    "THJ3": "the thumb rises out of the palm's plane, to where the palm faces",
    "THJ2": "the thumb's middle part leans to where the palm faces",
    "THJ1": "the thumb leans outwards, away from the fingers",
    "THJ0": "the thumb's outer joint straightens",
}
"""Motions of a positive target of ours, held to the model by a test."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("actuator", choices=(*NAMES, "all", "uncertain"), help="which; our names")
    parser.add_argument("--degrees", type=float, default=8.0, help="how far (%(default)s)")
    parser.add_argument("--force", type=float, default=0.5, help="the servos' greatest, 0..1 (%(default)s)")
    add_laboratory(parser)


def run(arguments: argparse.Namespace, ask: Callable[[str], str] = input) -> int:
    """Jog, and compare with what a person sees; 1 if something is not as it should be."""
    if not 0.0 < abs(arguments.degrees) <= 20.0:
        raise ConfigurationError(f"--degrees is {arguments.degrees:g}; it must be up to 20, either way")
    settings = laboratory_settings(arguments.overrides)
    wrong = []
    with open_session(settings) as (client, _):
        for index in chosen(arguments.actuator):
            print(f"{NAMES[index]} by {arguments.degrees:+g} degrees: {expected_motion(index)}.", flush=True)
            client.arm(SPEED * 2, arguments.force)
            asked, moved = jog(client, index, arguments.degrees)
            client.disarm()
            good = moved * asked > 0 and abs(moved) >= MOVED * abs(asked)
            verdict = "" if good else "  <- the sensors disagree"
            print(f"  target moved {asked:+.1f}, joints {moved:+.1f} degrees{verdict}")
            seen = ask("  Is that what you saw? [y/n] ").strip().lower() == "y"
            if not (good and seen):
                wrong.append(NAMES[index])
    if wrong:
        print(f"Not as they should be: {', '.join(wrong)}. Signs stand in hardware/lowlevel/joints.py.")
    return 1 if wrong else 0


def chosen(name: str) -> list[int]:
    """Indices of an actuator, of all, or of those whose sign does not follow from their limits."""
    if name == "all":
        return list(range(len(NAMES)))
    if name == "uncertain":
        doubted = {joint.name for joint in JOINTS if not joint.certain}
        return [index for index, actuator in enumerate(ACTUATORS) if doubted & set(actuator.joints)]
    return [NAMES.index(name)]
