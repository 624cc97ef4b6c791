"""The twin hand: a process that behaves like a Shadow Hand behind the vendor's topics, in real time.

    python -m hardware.twin.hand

It publishes joint states at 125 Hz, whether it is calibrated, and diagnostics at 2 Hz, and obeys
trajectories and force factors, as the vendor's drivers do: it has no command time-out and no limit of
speed, and holds its last target for ever. Frames are ``topic NUL JSON``, or rosbridge's protocol where
``--rosbridge`` names a port. Three more sockets are the laboratory's: the state for motion capture and
cameras, and an operator who puts the object on the hand and breaks things.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq

from dactyl_tl.contract import NUM_ACTUATORS
from hardware.lowlevel import vendor
from hardware.lowlevel.carriers import SEPARATOR
from hardware.lowlevel.joints import ACTUATORS, DRIVEN, JOINTS
from hardware.lowlevel.realtime import Ticker, end_with_parent, schedule, settle, unscheduled
from hardware.twin.body import STEP_NS, Body
from hardware.twin.delays import Delayed

if TYPE_CHECKING:
    from hardware.twin.rosbridge import RosbridgeServer

DIAGNOSTICS_EVERY = 62
"""Joint states between two diagnostics: 2 Hz."""

CALIBRATED_EVERY = 125
"""Joint states between two statements whether it is calibrated: 1 Hz."""

PEERS_PRIORITY = 30
"""Of SCHED_FIFO, for simulated peers: below the controller's, above the control loop's."""

MOST_STEPS = 10
"""Made up for at once, when the machine was busy elsewhere."""

WARM = 35.0
"""Temperature of the motors, degrees Celsius."""


@dataclass(frozen=True)
class Faults:
    """What is wrong with the hand.

    Attributes:
        delay: of joint states, s.
        command_delay: of what it is told, s.
        loss: share of joint states that get lost.
        freeze: joint states repeat themselves, stamp and all.
        silence: no joint states.
        nan: a joint's angle is not a number.
        garbage: frames of joint states are no JSON.
        deaf: nothing that it is told arrives.
        uncalibrated: the drivers say so.
        temperature: of the hottest motor, degrees Celsius.
    """

    delay: float = 0.0
    command_delay: float = 0.0
    loss: float = 0.0
    freeze: bool = False
    silence: bool = False
    nan: bool = False
    garbage: bool = False
    deaf: bool = False
    uncalibrated: bool = False
    temperature: float = WARM


@dataclass(frozen=True)
class Addresses:
    """Where a twin hand is found; ZeroMQ addresses.

    Attributes:
        topics, commands: the vendor's: it publishes at one and listens at the other.
        state: publishes what motion capture and cameras look at, JSON, every step.
        operator: answers requests: ``place``, ``release``, ``faults``, ``state``.
    """

    topics: str = "tcp://127.0.0.1:5761"
    commands: str = "tcp://127.0.0.1:5762"
    state: str = "tcp://127.0.0.1:5763"
    operator: str = "tcp://127.0.0.1:5764"


class TwinHand:
    """The vendor's side of a simulated hand.

    Args:
        body: what moves.
        addresses: to bind.
        bridge: the same topics for rosbridge's clients.
        side: ``rh`` or ``lh``, the prefix of the vendor's names.
    """

    def __init__(
        self, body: Body, addresses: Addresses, bridge: RosbridgeServer | None = None, side: str = "rh"
    ) -> None:
        self.body = body
        self.faults = Faults()
        self.ended = False
        self._bridge = bridge
        self._prefix = f"{side}_"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._topics = self._bound(zmq.PUB, addresses.topics)
        self._commands = self._bound(zmq.SUB, addresses.commands)
        self._commands.subscribe(b"")
        self._state = self._bound(zmq.PUB, addresses.state)
        self._operator = self._bound(zmq.REP, addresses.operator)
        self._outgoing: Delayed[tuple[str, vendor.Message]] = Delayed()
        self._incoming: Delayed[bytes] = Delayed()
        self._random = np.random.default_rng(0)
        self._targets = np.full(NUM_ACTUATORS, np.nan)
        self._angles = dict.fromkeys((joint.vendor for joint in JOINTS), math.nan)
        self._forces = {topic: index for index, topic in enumerate(vendor.force_topics(side))}
        self._trajectories = {topic for topic, _ in vendor.trajectory_topics(side)}
        self._told = 0
        self._due = time.monotonic_ns()
        self._last: vendor.Message | None = None

    def run(self) -> None:
        """Live until :attr:`ended`."""
        ticker = Ticker(STEP_NS)
        self._due = time.monotonic_ns()
        poller = zmq.Poller()
        for waited_for in (self._commands, self._operator, ticker.fileno()):
            poller.register(waited_for, zmq.POLLIN)
        settle()
        while not self.ended:
            ready = dict(poller.poll())
            if self._commands in ready:
                self._incoming.put(self._commands.recv(), self.faults.command_delay)
            for frame in self._incoming.take():
                self._obey(frame)
            while self._bridge and not self._bridge.arrived.empty():
                self.hear(*self._bridge.arrived.get())
            if self._operator in ready:
                self._operator.send(json.dumps(self._serve(json.loads(self._operator.recv()))).encode())
            passed, _ = ticker.take()
            self._due += passed * STEP_NS
            for _ in range(min(passed, MOST_STEPS)):
                self.body.step(self._servo_targets())
            if passed:
                self._tell()
        ticker.close()
        self._context.destroy(linger=0)

    def _bound(self, kind: int, address: str) -> zmq.Socket[bytes]:
        bound = self._context.socket(kind)
        bound.linger = 0
        bound.bind(address)
        return bound

    # What it is told

    def _obey(self, frame: bytes) -> None:
        name, _, text = frame.partition(SEPARATOR)
        self.hear(name.decode(), json.loads(text))

    def hear(self, topic: str, message: Mapping[str, Any]) -> None:
        """Take what was published on one of the vendor's topics."""
        if self.faults.deaf:
            return
        if topic in self._forces:
            self.body.force[self._forces[topic]] = min(max(message["data"], 0.0), 1.0)
        elif topic in self._trajectories:
            names = [name.removeprefix(self._prefix) for name in message["joint_names"]]
            self._angles.update(zip(names, message["points"][-1]["positions"], strict=True))

    def _servo_targets(self) -> np.ndarray:
        """Of the 20 servos, rad; where nothing was said, where they are."""
        wanted = np.array([joint.sign * self._angles[joint.vendor] for joint in JOINTS])
        targets = np.array([wanted[list(driven)].sum() for driven in DRIVEN])
        here = np.array([self.body.angles[list(driven)].sum() for driven in DRIVEN])
        return np.where(np.isnan(targets), here, targets)

    def _serve(self, request: Mapping[str, Any]) -> dict[str, Any]:
        what = request.get("do")
        if what == "place":
            with unscheduled():  # it takes seconds
                self.body.place(int(request["seed"]))
        elif what == "release":
            self.body.release()
        elif what == "faults":
            known = {each.name for each in fields(Faults)}
            given = request.get("faults", {})
            if not set(given) <= known:
                return {"error": f"unknown faults {sorted(set(given) - known)}; choose from {sorted(known)}"}
            self.faults = replace(Faults(), **given)
        elif what != "state":
            return {"error": f"cannot do {what!r}; choose from place, release, faults, state"}
        return {**self._seen(), "force": self.body.force.tolist()}

    # What it tells

    def _tell(self) -> None:
        self._told += 1
        self._state.send(json.dumps(self._seen()).encode())
        if self._last is None or not self.faults.freeze:
            self._last = self._joint_states()
        if not self.faults.silence and self._random.random() >= self.faults.loss:
            self._outgoing.put((vendor.JOINT_STATES[0], self._last), self.faults.delay)
        if self._told % CALIBRATED_EVERY == 1:
            self._outgoing.put((vendor.CALIBRATED[0], {"data": not self.faults.uncalibrated}), 0.0)
        if self._told % DIAGNOSTICS_EVERY == 1:
            self._outgoing.put((vendor.DIAGNOSTICS[0], self._diagnostics()), 0.0)
        for topic, message in self._outgoing.take():
            text = b"\xff no message" if self.faults.garbage else json.dumps(message).encode()
            self._topics.send(topic.encode() + SEPARATOR + text)
            if self._bridge and not self.faults.garbage:
                self._bridge.publish(topic, message)

    def _seen(self) -> dict[str, Any]:
        return {
            "time_ns": self._due,
            "qpos": self.body.data.qpos.tolist(),
            "markers": self.body.markers(),
            "object_position": self.body.object_position,
        }

    def _joint_states(self) -> vendor.Message:
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        angles = [None if self.faults.nan and not index else float(angle) for index, angle in self._signed()]
        speeds = [
            float(joint.sign * speed) for joint, speed in zip(JOINTS, self.body.velocities, strict=True)
        ]
        return {
            "header": {"stamp": {"secs": seconds, "nsecs": nanoseconds}, "frame_id": ""},
            "name": [self._prefix + joint.vendor for joint in JOINTS],
            "position": angles,
            "velocity": speeds,
            "effort": [],
        }

    def _signed(self) -> list[tuple[int, float]]:
        pairs = zip(JOINTS, self.body.angles, strict=True)
        return [(index, joint.sign * angle) for index, (joint, angle) in enumerate(pairs)]

    def _diagnostics(self) -> vendor.Message:
        motors = [
            {
                "name": f"{self._prefix}{actuator.name}",
                "level": 0,
                "values": [{"key": vendor.TEMPERATURE, "value": str(self.faults.temperature)}],
            }
            for actuator in ACTUATORS
        ]
        return {"status": motors}


def main() -> int:
    """Run a twin hand until asked to end."""
    parser = argparse.ArgumentParser(prog="python -m hardware.twin.hand", description=__doc__)
    parser.add_argument("--task", default="block")
    parser.add_argument("--hand", default="gymnasium_robotics")
    parser.add_argument("--with-parent", type=int, help="end when that process, which started this, ends")
    parser.add_argument("--rosbridge", type=int, default=0, help="port of a rosbridge server; 0 for none")
    parser.add_argument("--actions", type=json.loads, default={}, help="of ActionConfig, as JSON")
    parser.add_argument("--initial-states", type=json.loads, default={}, help="of its config, as JSON")
    for each in fields(Addresses):
        parser.add_argument(f"--{each.name}", default=each.default)
    options = parser.parse_args()
    if options.with_parent is not None:
        end_with_parent(options.with_parent)
    body = Body(options.task, options.hand, options.actions, options.initial_states)
    addresses = Addresses(options.topics, options.commands, options.state, options.operator)
    schedule(PEERS_PRIORITY)  # a real hand does not wait for other programs either; nor do its threads
    bridge = _open_bridge(options.rosbridge) if options.rosbridge else None
    twin = TwinHand(body, addresses, bridge)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(twin, "ended", True))
    twin.run()
    if bridge:
        bridge.close()
    return 0


def _open_bridge(port: int) -> RosbridgeServer:
    try:
        from hardware.twin.rosbridge import RosbridgeServer
    except ImportError as error:
        sys.exit(f"rosbridge needs {error.name}: pip install 'dactyl_tl[hand]'")
    return RosbridgeServer(port)


if __name__ == "__main__":
    sys.exit(main())
