"""The three ways to the vendor's topics, each over its real sockets, to a real twin hand."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq

from hardware.client import HandClient, Link, Refused
from hardware.lowlevel.carriers import SEPARATOR, RosbridgeCarrier, TwinCarrier
from hardware.lowlevel.hand import HandError
from hardware.lowlevel.joints import ACTUATORS, positions
from hardware.lowlevel.vendor import CALIBRATED, DIAGNOSTICS, FORCE, JOINT_STATES, VendorHand
from hardware.lowlevel.wire import Mode, Reason, State
from hardware.operators import TwinOperator
from hardware.packing import pack
from hardware.twin.laboratory import Ports
from hardware.twin.rosbridge import RosbridgeServer
from tests.hardware.lowlevel.loops import MS, wait_for
from tests.hardware.lowlevel.test_packing import SYSTEM, imports
from tests.hardware.lowlevel.vendors import Process, VendorSide, joint_states
from tests.processes import free_port

ROOT = Path(__file__).parents[3]
MESSAGES = ("rospy", "rosmaster", "zmq", "sensor_msgs", "trajectory_msgs", "diagnostic_msgs", "std_msgs")


class Twin:
    """A twin hand's process, without the rest of a laboratory."""

    def __init__(self, log: Path) -> None:
        self.ports = Ports.free()
        self._log = log.open("wb")
        sockets = [
            part for name in ("topics", "commands", "state", "operator")
            for part in (f"--{name}", self.ports.address(name))
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hardware.twin.hand", "--with-parent", str(os.getpid()), *sockets,
             "--rosbridge", str(self.ports.rosbridge)],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, cwd=ROOT,
        )  # fmt: skip
        self.operator = TwinOperator(self.ports.address("operator"))

    def place(self) -> None:
        """Without faults, and without the operator's hands."""
        self.operator.ask(do="faults", faults={})
        self.operator.ask(do="place", seed=1)
        self.operator.ask(do="release")

    def close(self) -> None:
        self.operator.close()
        self.process.terminate()
        self.process.wait()
        self._log.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    twin = Twin(tmp_path_factory.mktemp("twin") / "log")
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert twin.process.poll() is None
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", twin.ports.rosbridge)) == 0:
                    break
            time.sleep(0.1)
        yield twin
    finally:
        twin.close()


@pytest.fixture
def twin(running):
    running.place()
    return running


def free_link() -> Link:
    ports = Ports.free()
    return Link(ports.address("requests"), ports.address("conditions"))


def drive(client: HandClient, twin: Twin) -> None:
    """Arm, bend a finger, see it bend in the simulation, and let go."""

    def armed() -> bool:
        try:
            client.arm(8.0, 0.9)
        except Refused as refusal:
            reason = refusal.report.reason
        else:
            return True
        assert reason in (Reason.NOT_CALIBRATED, Reason.SENSORS_SILENT)
        time.sleep(0.05)
        return False

    wait_for(armed, "a hand that is well")
    finger = next(index for index, actuator in enumerate(ACTUATORS) if actuator.name == "MFJ2")
    before = positions(client.condition().angles)[finger]
    direction = -1.0 if before > 0.8 else 1.0
    action = [direction if index == finger else 0.0 for index in range(20)]

    def bent() -> bool:
        try:
            client.command(action, Mode.RELATIVE, 0.0)
        except Refused:  # this machine was so busy that the hand holds
            client.arm(8.0, 0.9)
        client.stay(time.monotonic_ns() + 80 * MS)
        return abs(positions(client.condition().angles)[finger] - before) > 0.3

    wait_for(bent, "the finger to bend")
    condition = client.condition()
    seen = twin.operator.ask(do="state")
    assert set(seen["force"]) == {0.9}
    assert condition.angles == pytest.approx(seen["qpos"][:24], abs=0.5)
    assert abs(positions(seen["qpos"][:24])[finger] - before) > 0.25
    wait_for(lambda: client.live() or client.condition().temperature == 35.0, "a temperature")
    client.disarm()
    wait_for(lambda: set(twin.operator.ask(do="state")["force"]) == {0.0}, "no force")


# The twin's sockets


def test_the_twins_carrier_takes_what_is_a_message_and_leaves_out_the_rest():
    vendor = VendorSide()
    try:
        carrier = TwinCarrier(vendor.topics, vendor.commands)
        heard = []
        carrier.subscribe("/something", "std_msgs/Float64", heard.append)
        publish = carrier.advertise("/else", "std_msgs/Float64")

        def reached() -> bool:
            vendor.publish("/something", {"data": 1})
            carrier.poll()
            return bool(heard)

        wait_for(reached)
        del heard[:]
        vendor._topics.send(b"/something" + SEPARATOR + b"\xff no message")
        vendor._topics.send(b"/something" + SEPARATOR + b"{")
        vendor.publish("/somethingelse", {"data": 2})
        vendor.publish("/something", {"data": 3})
        wait_for(lambda: carrier.poll() or {"data": 3} in heard)
        assert all(message in ({"data": 1}, {"data": 3}) for message in heard)
        wait_for(lambda: publish({"data": 4}) or ("/else", {"data": 4}) in [each[1:] for each in vendor.told])
        carrier.close()
    finally:
        vendor.close()


def test_the_twin_speaks_as_the_vendor_does(twin):
    told = {}
    with zmq.Context() as context, context.socket(zmq.SUB) as listener:
        listener.linger = 0
        listener.subscribe(b"")
        listener.connect(twin.ports.address("topics"))
        stamps = []
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and (len(told) < 3 or len(stamps) < 50):
            assert listener.poll(30_000)
            topic, _, text = listener.recv().partition(SEPARATOR)
            told[topic.decode()] = json.loads(text)
            if topic.decode() == JOINT_STATES[0]:
                stamps.append(told[JOINT_STATES[0]]["header"]["stamp"])
    assert set(told) == {JOINT_STATES[0], CALIBRATED[0], DIAGNOSTICS[0]}
    expected = joint_states()
    assert told[JOINT_STATES[0]]["name"] == expected["name"]
    assert len(told[JOINT_STATES[0]]["velocity"]) == 24
    assert told[CALIBRATED[0]] == {"data": True}
    temperatures = [entry["value"] for status in told[DIAGNOSTICS[0]]["status"] for entry in status["values"]]
    assert temperatures == ["35.0"] * 20
    times = [stamp["secs"] * 1_000_000_000 + stamp["nsecs"] for stamp in stamps]
    assert times == sorted(set(times))


def test_a_controller_drives_the_twin_through_its_sockets(twin, tmp_path):
    process = Process(
        "--backend", "twin", "--topics", twin.ports.address("topics"), "--commands",
        twin.ports.address("commands"), link=free_link(), log=tmp_path / "log",
    )  # fmt: skip
    try:
        client = process.client()
        drive(client, twin)
        client.close()
    finally:
        process.close()


# rosbridge


@pytest.fixture
def server():
    server = RosbridgeServer(0)
    yield server
    server.close()


@pytest.fixture
def carrier(server):
    carrier = RosbridgeCarrier("127.0.0.1", server.port)
    yield carrier
    carrier.close()


def test_rosbridges_connection_has_no_delay(carrier):
    """Nagle's algorithm would hold a target back until the one before is acknowledged."""
    with socket.socket() as plain:
        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    connection = carrier._ros.factory._proto.transport.get_extra_info("socket")
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_rosbridge_carries_both_ways_in_order(server, carrier):
    heard = []
    carrier.subscribe("/numbers", "std_msgs/Float64", heard.append)
    publish = carrier.advertise("/answers", FORCE)
    wait_for(lambda: any("/numbers" in client.topics for client in list(server.clients)))
    server.publish("/other", {"data": 0.5})
    for number in range(50):
        server.publish("/numbers", {"data": number})
        publish({"data": 0.01 * number})
    wait_for(lambda: carrier.poll() or len(heard) == 50)
    assert [message["data"] for message in heard] == list(range(50))
    arrived = []

    def all_here() -> bool:
        while not server.arrived.empty():
            arrived.append(server.arrived.get())
        return len(arrived) == 50

    wait_for(all_here)
    assert arrived == [("/answers", {"data": 0.01 * number}) for number in range(50)]


def test_null_and_not_a_number_come_through_rosbridge_as_nan(server, carrier):
    hand = VendorHand("rosbridge", carrier)
    wait_for(lambda: any(JOINT_STATES[0] in client.topics for client in list(server.clients)))
    message = joint_states([0.1] * 24)
    message["position"][0], message["velocity"][1] = None, float("nan")  # rosbridge's, and Python's JSON
    server.publish(JOINT_STATES[0], message)
    wait_for(hand.read)
    reading = hand.read()
    assert reading.angles[0] != reading.angles[0]
    assert reading.velocities[1] != reading.velocities[1]
    assert reading.angles[1:] == (0.1,) * 23


def test_a_lost_rosbridge_is_an_error_and_nothing_is_sent_later():
    server = RosbridgeServer(0)
    carrier = RosbridgeCarrier("127.0.0.1", server.port)
    publish = carrier.advertise("/answers", FORCE)
    carrier.poll()
    port = server.port
    server.close()

    def lost() -> bool:
        try:
            carrier.poll()
        except HandError as error:
            return "lost" in str(error)
        return False

    wait_for(lost)
    publish({"data": 0.5})
    again = RosbridgeServer(port)
    try:
        deadline = time.monotonic() + 4.0  # roslibpy would connect again after one or two seconds
        while time.monotonic() < deadline:
            time.sleep(0.05)
            assert not again.clients
            assert again.arrived.empty()
        assert lost()
        fresh = RosbridgeCarrier("127.0.0.1", port)
        fresh.poll()
        fresh.close()
    finally:
        again.close()
        carrier.close()


def test_a_port_that_is_taken_is_told_by_the_twins_server():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        RosbridgeServer(taken.getsockname()[1])


def test_a_controller_drives_the_twin_through_rosbridge(twin, tmp_path):
    process = Process(
        "--backend", "rosbridge", "--port", str(twin.ports.rosbridge), link=free_link(), log=tmp_path / "log"
    )
    try:
        client = process.client()
        assert client.info().backend.rstrip(b"\0") == b"rosbridge"
        drive(client, twin)
        client.close()
    finally:
        process.close()


# ROS 1


MASTER = """
import sys
sys.argv = ["rosmaster", "--core", "-p", sys.argv[1]]
from rosmaster.main import rosmaster_main
rosmaster_main()
"""

RELAY = """
import sys, time
sys.path.insert(0, sys.argv[1])
from hardware.lowlevel.carriers import RosCarrier, TwinCarrier
from hardware.lowlevel.vendor import *
ros, twin = RosCarrier(), TwinCarrier(*sys.argv[2:4])
def to_ros(topic, kind):
    publish = ros.advertise(topic, kind)
    def real(message):  # ROS has NaN, JSON has not
        if "position" in message:
            message["position"] = [float("nan") if at is None else at for at in message["position"]]
        publish(message)
    return real
for topic, kind in (JOINT_STATES, CALIBRATED, DIAGNOSTICS):
    twin.subscribe(topic, kind, to_ros(topic, kind))
for topic in force_topics("rh"):
    ros.subscribe(topic, FORCE, twin.advertise(topic, ""))
for topic, _ in trajectory_topics("rh"):
    ros.subscribe(topic, TRAJECTORY, twin.advertise(topic, ""))
print("ready", flush=True)
while True:
    ros.poll()
    twin.poll()
    time.sleep(0.001)
"""

LACKING = [name for name in MESSAGES if not imports(SYSTEM, name)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("packed") / "controller.pyz")


@pytest.fixture
def ros(tmp_path):
    """A ROS master; the environment of its nodes."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "ROS_MASTER_URI": f"http://127.0.0.1:{port}",
        "ROS_IP": "127.0.0.1",
    }  # fmt: skip
    with (tmp_path / "master.log").open("wb") as log:
        master = subprocess.Popen(
            [SYSTEM, "-c", MASTER, str(port)], env=environment, stdout=log, stderr=log, cwd=tmp_path
        )
    try:

        def listens() -> bool:
            assert master.poll() is None, (tmp_path / "master.log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(listens, "the ROS master")
        yield environment
    finally:
        master.terminate()
        try:
            master.wait(10)
        except subprocess.TimeoutExpired:
            master.kill()
            master.wait()


needs_ros = pytest.mark.skipif(bool(LACKING), reason=f"{SYSTEM} has no {', '.join(LACKING)}")


@needs_ros
def test_the_packed_controller_drives_the_twin_through_ros(twin, ros, packed, tmp_path):
    relay = subprocess.Popen(
        [SYSTEM, "-c", RELAY, str(packed), twin.ports.address("topics"), twin.ports.address("commands")],
        env=ros, cwd=tmp_path, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert relay.stdout.readline() == b"ready\n"
        process = Process(
            "--backend", "ros", link=free_link(), log=tmp_path / "log", cwd=tmp_path, env=ros,
            command=[SYSTEM, str(packed)],
        )  # fmt: skip
        try:
            client = process.client()
            assert client.info().backend.rstrip(b"\0") == b"ros"
            drive(client, twin)
            twin.operator.ask(do="faults", faults={"nan": True})
            wait_for(lambda: client.condition().angles[0] != client.condition().angles[0], "NaN over ROS")
            twin.operator.ask(do="faults", faults={"temperature": 50.5})
            wait_for(lambda: client.condition().temperature == 50.5, "a temperature over ROS")
            assert client.condition().state == State.DISARMED
            client.close()
            process.process.terminate()
            assert process.wait() == 0
            assert "Traceback" not in process.said()
        finally:
            process.close()
    finally:
        relay.kill()
        relay.wait()
        relay.stdout.close()


@needs_ros
@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "nonsense"])
def test_without_a_ros_master_it_ends_with_one_line(packed, tmp_path, uri):
    done = subprocess.run(
        [SYSTEM, str(packed), "--backend", "ros"], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ROS_MASTER_URI": uri},
    )  # fmt: skip
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no ROS master answers")
    assert "ROS_MASTER_URI" in line
