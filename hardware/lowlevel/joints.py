"""The hand's joints and actuators: names, signs, couplings and limits, ours beside the vendor's.

Ours are those of policies and of the simulation, where J0 is the distal joint; the vendor counts from 1.
Angles in the tables are degrees, as in the vendor's manual; everything else is in radians.
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple, Sequence


class Joint(NamedTuple):
    """One of the 24 hinges.

    Attributes:
        name: ours.
        vendor: the vendor's, as in ``/joint_states`` without the prefix of the side (``rh_``, ``lh_``).
        sign: vendor angle = sign * our angle.
        certain: whether ``sign`` follows from the limits; if not, jog the joint and look.
        vendor_degrees: least and greatest angle by the vendor's manual, in the vendor's sign.
    """

    name: str
    vendor: str
    sign: int
    certain: bool
    vendor_degrees: tuple[float, float]


class Actuator(NamedTuple):
    """One of the 20 position servos, named after the joint that it drives.

    Attributes:
        joints: what it drives: one joint, or the two of a coupled pair, whose angles add up.
        trained_degrees: range of targets in training; half of it is one unit of action.
    """

    name: str
    joints: tuple[str, ...]
    trained_degrees: tuple[float, float]


JOINTS = (
    Joint("WRJ1", "WRJ2", 1, True, (-28, 10)),
    Joint("WRJ0", "WRJ1", 1, True, (-40, 28)),
    Joint("FFJ3", "FFJ4", 1, False, (-20, 20)),
    Joint("FFJ2", "FFJ3", 1, True, (-15, 90)),
    Joint("FFJ1", "FFJ2", 1, True, (0, 90)),
    Joint("FFJ0", "FFJ1", 1, True, (0, 90)),
    Joint("MFJ3", "MFJ4", 1, False, (-20, 20)),
    Joint("MFJ2", "MFJ3", 1, True, (-15, 90)),
    Joint("MFJ1", "MFJ2", 1, True, (0, 90)),
    Joint("MFJ0", "MFJ1", 1, True, (0, 90)),
    Joint("RFJ3", "RFJ4", 1, False, (-20, 20)),
    Joint("RFJ2", "RFJ3", 1, True, (-15, 90)),
    Joint("RFJ1", "RFJ2", 1, True, (0, 90)),
    Joint("RFJ0", "RFJ1", 1, True, (0, 90)),
    Joint("LFJ4", "LFJ5", 1, True, (0, 45)),
    Joint("LFJ3", "LFJ4", 1, False, (-20, 20)),
    Joint("LFJ2", "LFJ3", 1, True, (-15, 90)),
    Joint("LFJ1", "LFJ2", 1, True, (0, 90)),
    Joint("LFJ0", "LFJ1", 1, True, (0, 90)),
    Joint("THJ4", "THJ5", 1, False, (-60, 60)),
    Joint("THJ3", "THJ4", 1, True, (0, 70)),
    Joint("THJ2", "THJ3", 1, False, (-12, 12)),
    Joint("THJ1", "THJ2", 1, False, (-40, 40)),
    Joint("THJ0", "THJ1", -1, True, (-15, 90)),
)
"""In the order of measured angles."""

ACTUATORS = (
    Actuator("WRJ1", ("WRJ1",), (-28, 8)),
    Actuator("WRJ0", ("WRJ0",), (-40, 28)),
    Actuator("FFJ3", ("FFJ3",), (-20, 20)),
    Actuator("FFJ2", ("FFJ2",), (0, 90)),
    Actuator("FFJ1", ("FFJ1", "FFJ0"), (0, 180)),
    Actuator("MFJ3", ("MFJ3",), (-20, 20)),
    Actuator("MFJ2", ("MFJ2",), (0, 90)),
    Actuator("MFJ1", ("MFJ1", "MFJ0"), (0, 180)),
    Actuator("RFJ3", ("RFJ3",), (-20, 20)),
    Actuator("RFJ2", ("RFJ2",), (0, 90)),
    Actuator("RFJ1", ("RFJ1", "RFJ0"), (0, 180)),
    Actuator("LFJ4", ("LFJ4",), (0, 45)),
    Actuator("LFJ3", ("LFJ3",), (-20, 20)),
    Actuator("LFJ2", ("LFJ2",), (0, 90)),
    Actuator("LFJ1", ("LFJ1", "LFJ0"), (0, 180)),
    Actuator("THJ4", ("THJ4",), (-60, 60)),
    Actuator("THJ3", ("THJ3",), (0, 70)),
    Actuator("THJ2", ("THJ2",), (-12, 12)),
    Actuator("THJ1", ("THJ1",), (-30, 30)),
    Actuator("THJ0", ("THJ0",), (-90, 0)),
)
"""In the order of actions and targets."""

NUM_JOINTS = len(JOINTS)
NUM_ACTUATORS = len(ACTUATORS)

_INDEX = {joint.name: index for index, joint in enumerate(JOINTS)}
DRIVEN = tuple(tuple(_INDEX[name] for name in actuator.joints) for actuator in ACTUATORS)
"""Indices of the joints that each actuator drives."""


def vendor_range(joint: Joint) -> tuple[float, float]:
    """The vendor's limits in our sign, rad."""
    low, high = sorted(joint.sign * limit for limit in joint.vendor_degrees)
    return math.radians(low), math.radians(high)


def trained_range(actuator: Actuator) -> tuple[float, float]:
    """The range of targets in training, rad."""
    low, high = actuator.trained_degrees
    return math.radians(low), math.radians(high)


def vendor_reach(actuator: Actuator) -> tuple[float, float]:
    """Where an actuator can stand by the vendor's limits, rad; of a coupled pair, the sum of both joints."""
    ranges = [vendor_range(JOINTS[_INDEX[name]]) for name in actuator.joints]
    return sum(each[0] for each in ranges), sum(each[1] for each in ranges)


def safe_range(actuator: Actuator) -> tuple[float, float]:
    """Where training and vendor agree, rad: what a command may ask for."""
    (low, high), (least, greatest) = trained_range(actuator), vendor_reach(actuator)
    return max(low, least), min(high, greatest)


TRAINED = tuple(trained_range(actuator) for actuator in ACTUATORS)
REACH = tuple(vendor_reach(actuator) for actuator in ACTUATORS)
SAFE = tuple(safe_range(actuator) for actuator in ACTUATORS)
CENTRE = tuple(0.5 * (low + high) for low, high in TRAINED)
HALF_RANGE = tuple(0.5 * (high - low) for low, high in TRAINED)


def positions(angles: Sequence[float]) -> list[float]:
    """What the 20 actuators stand at where the 24 joints have ``angles``, rad."""
    return [sum(angles[index] for index in driven) for driven in DRIVEN]


def to_vendor(targets: Sequence[float]) -> dict[str, float]:
    """Vendor's joint names and angles for 20 targets, rad.

    A coupled pair's target is divided evenly, which keeps both joints within their limits; the vendor's
    controller adds them up again.

    Raises:
        ValueError: there are not 20.
    """
    if len(targets) != NUM_ACTUATORS:
        raise ValueError(f"{len(targets)} targets for {NUM_ACTUATORS} actuators")
    angles = {}
    for target, driven in zip(targets, DRIVEN):
        for index in driven:
            angles[JOINTS[index].vendor] = JOINTS[index].sign * target / len(driven)
    return angles


def from_vendor(angles: dict[str, float]) -> list[float]:
    """Our 24 angles of the vendor's, by name, rad.

    Raises:
        KeyError: a joint is missing; the message is its vendor's name.
    """
    return [joint.sign * angles[joint.vendor] for joint in JOINTS]


def table_hash() -> bytes:
    """32 bytes that differ where any name, sign, coupling or limit does."""
    return hashlib.sha256(repr((JOINTS, ACTUATORS)).encode()).digest()
