"""The vendor's ROS interface to a Shadow Hand: topics, message types and names, whatever carries them.

Messages are plain dictionaries as in rosbridge's JSON. Names and rates are those of ROS 1 Noetic's
``sr_robot`` packages; where a lab's set-up differs, this file is where to change it.
"""

from __future__ import annotations

import math
import time
from typing import Any, Callable, Dict, Protocol, Sequence

from hardware.lowlevel.hand import HandError, Reading
from hardware.lowlevel.joints import ACTUATORS, DRIVEN, JOINTS, from_vendor, to_vendor

Message = Dict[str, Any]

JOINT_STATES = ("/joint_states", "sensor_msgs/JointState")
CALIBRATED = ("/calibrated", "std_msgs/Bool")
DIAGNOSTICS = ("/diagnostics", "diagnostic_msgs/DiagnosticArray")

TRAJECTORY = "trajectory_msgs/JointTrajectory"
FORCE = "std_msgs/Float64"

TEMPERATURE = "Temperature"
"""Key of a motor's temperature in its diagnostics, degrees Celsius."""

SIDES = ("rh", "lh")

STEP_NS = 5000000
"""Of a trajectory's one point after its message, ns: a control tick."""


class Carrier(Protocol):
    """What carries messages to and from the vendor's topics."""

    def subscribe(self, topic: str, kind: str, callback: Callable[[Message], None]) -> None:
        """Have ``callback`` called with each message of ``topic``, perhaps in another thread."""

    def advertise(self, topic: str, kind: str) -> Callable[[Message], None]:
        """What publishes on ``topic``."""

    def poll(self) -> None:
        """Call back for what has arrived, where that takes no thread of its own.

        Raises:
            HandError: the connection is lost.
        """

    def close(self) -> None:
        """Let go of the connection."""


def trajectory_topics(side: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The two trajectory controllers: topic, and the vendor's joints that it takes, without prefix."""
    vendor = [joint.vendor for joint in JOINTS]
    wrist = tuple(name for name in vendor if name.startswith("WR"))
    fingers = tuple(name for name in vendor if not name.startswith("WR"))
    return (
        (f"/{side}_trajectory_controller/command", fingers),
        (f"/{side}_wr_trajectory_controller/command", wrist),
    )


def force_topics(side: str) -> list[str]:
    """Where each of the 20 actuators' greatest force is set; a coupled pair is the vendor's J0."""
    topics = []
    for actuator, driven in zip(ACTUATORS, DRIVEN):
        name = JOINTS[driven[0]].vendor if len(driven) == 1 else actuator.name[:2] + "J0"
        topics.append(f"/sh_{side}_{name.lower()}_position_controller/max_force_factor")
    return topics


class VendorHand:
    """A Shadow Hand behind the vendor's topics.

    Args:
        name: of the way there.
        carrier: connected.
        side: ``rh`` or ``lh``.
    """

    def __init__(self, name: str, carrier: Carrier, side: str = "rh") -> None:
        self.name = name
        self.gains: Sequence[tuple[float, float, float]] | None = None
        self._carrier = carrier
        self._prefix = side + "_"
        self._stamp: Any = None
        self._measured: tuple[int, tuple[float, ...], tuple[float, ...]] | None = None
        self._calibrated = False
        self._temperature = math.nan
        carrier.subscribe(*JOINT_STATES, callback=self._joint_states)
        carrier.subscribe(*CALIBRATED, callback=self._calibration)
        carrier.subscribe(*DIAGNOSTICS, callback=self._diagnostics)
        self._trajectories = [
            (carrier.advertise(topic, TRAJECTORY), names) for topic, names in trajectory_topics(side)
        ]
        self._forces = [carrier.advertise(topic, FORCE) for topic in force_topics(side)]

    def read(self) -> Reading | None:
        """The latest reading; None until all joints were heard of."""
        self._carrier.poll()
        if self._measured is None:
            return None
        return Reading(*self._measured, calibrated=self._calibrated, temperature=self._temperature)

    def write(self, numbers: Sequence[float]) -> None:
        """Send 20 targets, rad, as two trajectories of one point."""
        angles = to_vendor(numbers)
        for publish, names in self._trajectories:
            point = {
                "positions": [angles[name] for name in names],
                "velocities": [],
                "accelerations": [],
                "effort": [],
                "time_from_start": {"secs": 0, "nsecs": STEP_NS},
            }
            publish(
                {
                    "header": {"stamp": {"secs": 0, "nsecs": 0}, "frame_id": ""},  # zero: from now on
                    "joint_names": [self._prefix + name for name in names],
                    "points": [point],
                }
            )

    def limit(self, force: float) -> None:
        """Set every actuator's greatest force, 0..1."""
        for publish in self._forces:
            publish({"data": force})

    def close(self) -> None:
        """Let go of the connection."""
        self._carrier.close()

    def _joint_states(self, message: Message) -> None:
        try:
            angles = from_vendor(self._own(message["name"], message["position"]))
        except KeyError:
            return  # of other joints alone, as of an arm
        # A stream that repeats itself is a frozen one: its old measurement goes on ageing.
        stamp = message["header"]["stamp"]
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            velocities = from_vendor(self._own(message["name"], message["velocity"]))
        except KeyError:
            raise HandError("/joint_states has no velocities") from None
        self._measured = (time.monotonic_ns(), tuple(angles), tuple(velocities))

    def _own(self, names: Sequence[str], values: Sequence[float | None]) -> dict[str, float]:
        """Of this side's joints, by name without prefix; another hand may be in the same message."""
        size = len(self._prefix)
        return {
            name[size:]: _number(value) for name, value in zip(names, values) if name.startswith(self._prefix)
        }

    def _calibration(self, message: Message) -> None:
        self._calibrated = bool(message["data"])

    def _diagnostics(self, message: Message) -> None:
        told = [
            _number(entry["value"])
            for status in message["status"]
            for entry in status["values"]
            if entry["key"] == TEMPERATURE
        ]
        known = [value for value in told if not math.isnan(value)]  # one hides the others from max()
        if told:
            self._temperature = max(known, default=math.nan)


def _number(value: Any) -> float:
    """What a message says for a number; NaN where it says none, which JSON has to call null."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
