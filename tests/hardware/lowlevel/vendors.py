"""The vendor's side of the twin's sockets, and controllers as processes beside it."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import zmq

from hardware.client import HandClient, Link
from hardware.lowlevel.carriers import SEPARATOR
from hardware.lowlevel.joints import JOINTS
from hardware.lowlevel.vendor import CALIBRATED, JOINT_STATES, force_topics
from tests.hardware.lowlevel.loops import wait_for
from tests.processes import descendants

ROOT = Path(__file__).parents[3]
FORCES = set(force_topics("rh"))


def joint_states(angles=(0.0,) * 24, stamp: int = 1, side: str = "rh") -> dict:
    """A message of ``/joint_states`` as the driver sends it: angles (24,) rad in our sign and order."""
    return {
        "header": {"seq": stamp, "stamp": {"secs": stamp, "nsecs": 0}, "frame_id": ""},
        "name": [f"{side}_{joint.vendor}" for joint in JOINTS],
        "position": [joint.sign * angle for joint, angle in zip(JOINTS, angles, strict=True)],
        "velocity": [0.0] * len(JOINTS),
        "effort": [0.0] * len(JOINTS),
    }


class VendorSide:
    """Publishes joint states of a hand that stands still, and notes all that it is told.

    Attributes:
        told: (monotonic ns, topic, message), in the order of arrival.
    """

    def __init__(self) -> None:
        self.told: list[tuple[int, str, dict]] = []
        self.angles = [0.05] * 24
        self._context = zmq.Context()
        self._topics = self._context.socket(zmq.PUB)
        self._commands = self._context.socket(zmq.SUB)
        self._commands.rcvhwm = 0
        self._commands.subscribe(b"")
        for socket in (self._topics, self._commands):
            socket.linger = 0
            socket.bind("tcp://127.0.0.1:*")
        self.topics = self._topics.last_endpoint.decode()
        self.commands = self._commands.last_endpoint.decode()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        count, due = 0, time.monotonic()
        while not self._ending.is_set():
            count += 1
            self.publish(JOINT_STATES[0], joint_states(self.angles, count))
            if count % 20 == 1:
                self.publish(CALIBRATED[0], {"data": True})
            due += 0.008
            while (left := due - time.monotonic()) > 0:
                if self._commands.poll(max(1, int(1000 * left))):
                    topic, _, text = self._commands.recv().partition(SEPARATOR)
                    self.told.append((time.monotonic_ns(), topic.decode(), json.loads(text)))

    def publish(self, topic: str, message) -> None:
        self._topics.send(topic.encode() + SEPARATOR + json.dumps(message).encode())

    def forces(self, after: int = 0) -> list[float]:
        """Of the first actuator, from a number of messages on."""
        return [message["data"] for _, topic, message in self.told[after:] if topic == min(FORCES)]

    def present_forces(self) -> dict[str, float]:
        return {topic: message["data"] for _, topic, message in list(self.told) if topic in FORCES}

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._context.destroy(linger=0)


class Process:
    """A controller's process.

    Attributes:
        link: the way to it.
    """

    def __init__(self, *arguments: str, link: Link, log: Path, command=None, **how) -> None:
        self.link, self.log = link, log
        self._clients: list[HandClient] = []
        self._program = command or [sys.executable, "-m", "hardware.lowlevel.command"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*self._program, *arguments, "--requests", link.requests, "--conditions", link.conditions],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=how.pop("cwd", ROOT), **how,
            )  # fmt: skip

    def said(self) -> str:
        return self.log.read_text()

    def children(self) -> set[int]:
        return descendants(self.process.pid)

    def client(self) -> HandClient:
        """A client of a controller that is heard of."""
        client = HandClient(self.link)
        self._clients.append(client)
        client.connect()
        return client

    def wait(self) -> int:
        wait_for(lambda: self.process.poll() is not None, "the controller's end")
        return self.process.returncode

    def close(self) -> None:
        for client in self._clients:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
