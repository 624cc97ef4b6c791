"""Supervisor and controller as processes, before a vendor's side that notes what the hand is sent."""

import os
import signal
import socket
import sys

import pytest

from hardware.client import Link, Refused
from hardware.errors import HardwareError
from hardware.lowlevel.command import FAILED
from hardware.lowlevel.lifeline import SILENCE
from hardware.lowlevel.safety import RAMP
from hardware.lowlevel.supervisor import INSISTENCE, UNUSABLE
from hardware.lowlevel.wire import Mode, State
from hardware.twin.laboratory import Ports
from tests.hardware.lowlevel.loops import MS, wait_for
from tests.hardware.lowlevel.vendors import FORCES, Process, VendorSide
from tests.processes import alive, assert_none_left

STILL = (0.0,) * 20
FORCE = 0.8


def free_link() -> Link:
    ports = Ports.free()
    return Link(ports.address("requests"), ports.address("conditions"))


@pytest.fixture
def vendor():
    vendor = VendorSide()
    yield vendor
    vendor.close()


@pytest.fixture
def start(vendor, tmp_path):
    started = []

    def begin(*arguments: str, **how) -> Process:
        process = Process(
            "--backend", "twin", "--topics", vendor.topics, "--commands", vendor.commands, *arguments,
            link=how.pop("link", None) or free_link(), log=tmp_path / f"{len(started)}.log", **how,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        children = process.children()
        process.close()
        assert_none_left(children)


def arm(client) -> None:
    """As soon as the controller knows that the hand is well."""

    def armed() -> bool:
        try:
            client.arm(2.0, FORCE)
        except Refused:
            return False
        return True

    wait_for(armed, "the hand to be well")


def arm_and_wait_for_force(client, vendor) -> None:
    arm(client)

    def there() -> bool:
        client.live()
        return vendor.present_forces() == dict.fromkeys(FORCES, FORCE)

    wait_for(there, "force")


def told_after(vendor, when: int):
    return [entry for entry in list(vendor.told) if entry[0] > when]


def fading(vendor, when: int) -> list[float]:
    """The first actuator's forces after an instant, each value once."""
    forces = [message["data"] for _, topic, message in told_after(vendor, when) if topic == min(FORCES)]
    return [force for index, force in enumerate(forces) if not index or force != forces[index - 1]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_lost_controller_means_no_force_and_a_new_one_that_is_disarmed(vendor, start, number):
    process = start()
    client = process.client()
    arm_and_wait_for_force(client, vendor)
    client.command(STILL, Mode.RELATIVE, 0.0)
    (controller,) = process.children()
    mark = vendor.told[-1][0]
    os.kill(controller, number)
    wait_for(lambda: vendor.forces()[-INSISTENCE:] == [0.0] * INSISTENCE, "the force to be gone")
    values = fading(vendor, mark)
    assert values == sorted(values, reverse=True), "it never rises"
    assert values[-1] == 0.0
    assert len(values) >= 5, "it fades"
    assert vendor.present_forces() == dict.fromkeys(FORCES, 0.0)
    limits = [when for when, topic, message in told_after(vendor, mark) if topic == min(FORCES)]
    first_lower = next(
        when for when, topic, message in told_after(vendor, mark)
        if topic == min(FORCES) and message["data"] < FORCE
    )  # fmt: skip
    assert first_lower - mark <= SILENCE + 2_000 * MS
    assert limits[-1] - first_lower >= 0.8 * RAMP

    wait_for(lambda: process.children() - {controller}, "another controller")
    assert not alive(controller)
    again = process.client()
    assert again.condition().state == State.DISARMED
    with pytest.raises((Refused, HardwareError)):
        client.command(STILL, Mode.RELATIVE, 0.0)
    trajectories = [topic for _, topic, _ in told_after(vendor, limits[-1]) if topic not in FORCES]
    assert not trajectories, "nobody moves the hand"
    assert set(fading(vendor, limits[-1])) <= {0.0}
    arm_and_wait_for_force(again, vendor)
    assert "the controller is lost" in process.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_both_end_in_order_and_leave_no_force(vendor, start, number):
    process = start(start_new_session=True)
    client = process.client()
    arm_and_wait_for_force(client, vendor)
    children = process.children()
    assert len(children) == 1
    mark = vendor.told[-1][0]
    if number == signal.SIGINT:  # a terminal's goes to both
        os.killpg(process.process.pid, number)
    else:
        process.process.send_signal(number)
    assert process.wait() == 0
    assert_none_left(children)
    values = fading(vendor, mark)
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0.0
    assert len(values) > 20, "the controller's own ramp, tick by tick"
    said = process.said()
    assert "controller: ended: ending" in said
    assert "lost" not in said
    assert "Traceback" not in said


def test_a_killed_supervisor_means_that_the_controller_lets_go_and_ends(vendor, start):
    process = start()
    client = process.client()
    arm_and_wait_for_force(client, vendor)
    children = process.children()
    mark = vendor.told[-1][0]
    process.process.kill()
    assert_none_left(children, 30.0)
    values = fading(vendor, mark)
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0.0
    assert len(values) > 20
    assert "controller: ended: supervisor lost" in process.said()


def test_a_disarmed_controller_ends_too_without_its_supervisor(start):
    process = start()
    process.client().close()
    children = process.children()
    process.process.kill()
    assert_none_left(children, 30.0)


PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([*sys.argv[1:], "--with-parent", str(os.getpid())])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_both_end_when_the_process_that_started_them_is_killed(vendor, start):
    process = start(command=[sys.executable, "-c", PARENT, sys.executable, "-m", "hardware.lowlevel.command"])
    client = process.client()
    arm_and_wait_for_force(client, vendor)
    children = process.children()
    assert len(children) == 2
    process.process.kill()
    assert_none_left(children, 30.0)
    assert vendor.present_forces() == dict.fromkeys(FORCES, 0.0)
    assert "controller: ended: ending" in process.said()


def test_a_process_whose_parent_is_gone_already_ends(start):
    process = start("--with-parent", "1")
    assert process.wait() in (0, -signal.SIGTERM)


@pytest.mark.parametrize("alone", [(), ("--alone",)], ids=["supervised", "alone"])
def test_an_address_that_is_taken_ends_it_with_one_line(start, alone):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        process = start(*alone, link=Link(address, free_link().conditions))
        assert process.wait() == UNUSABLE
    (line,) = process.said().splitlines()
    assert line.startswith("error: ")
    assert address in line
    assert "in use" in line


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://0.0.0.0:5751", "keygen"),
        ("tcp://127.0.0.1:nowhere", "tcp://127.0.0.1:nowhere"),
        ("carrier-pigeon://here", "keygen"),
    ],
)
def test_an_address_that_cannot_be_used_ends_it_with_one_line(start, address, words):
    process = start(link=Link(address, free_link().conditions))
    assert process.wait() == UNUSABLE
    (line,) = process.said().splitlines()
    assert line.startswith("error: ")
    assert words in line


def test_keys_without_an_allow_list_are_refused(start):
    process = start("--keys", "here.key_secret")
    assert process.wait() == UNUSABLE
    assert process.said() == "error: --keys and --allowed go together\n"


def test_a_hand_that_cannot_be_reached_ends_it_with_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = Process("--backend", "rosbridge", "--port", str(port), link=free_link(), log=tmp_path / "log")
    try:
        assert process.wait() == FAILED
        (line,) = process.said().splitlines()
        assert line == f"error: no rosbridge server answers at 127.0.0.1:{port}"
    finally:
        process.close()


def test_alone_it_drives_the_hand_and_ends_when_asked_to(vendor, start):
    process = start("--alone")
    client = process.client()
    arm_and_wait_for_force(client, vendor)
    assert process.children() == set()
    process.process.terminate()
    assert process.wait() == 0
    assert vendor.present_forces() == dict.fromkeys(FORCES, 0.0)
