"""The simulated laboratory's processes: started, heard of, ended; what does not start says why."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hardware.capture.frames import Source
from hardware.capture.sources import open_source
from hardware.capture.tracker import Tracker
from hardware.errors import HardwareError
from hardware.lowlevel.wire import State
from hardware.twin.delays import Delayed
from hardware.twin.laboratory import Laboratory, Ports
from hardware.twin.markers import twin_rig
from tests.processes import alive, assert_none_left, command, descendants, wait

ROOT = Path(__file__).parents[3]


def test_ports_are_free_and_all_different():
    ports = Ports.free()
    numbers = [getattr(ports, name) for name in Ports.__dataclass_fields__]
    assert len(set(numbers)) == len(numbers)
    for number in numbers:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", number))
    assert ports.address("topics") == f"tcp://127.0.0.1:{ports.topics}"


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    laboratory = Laboratory(Ports.free(), tmp_path_factory.mktemp("laboratory"))
    yield laboratory
    laboratory.close()


def test_everything_is_heard_of(laboratory):
    assert set(laboratory.processes) == {"hand", "mocap", "controller"}
    assert all(process.poll() is None for process in laboratory.processes.values())
    client = laboratory.client()
    client.connect()
    client.await_well()
    assert client.condition().state == State.DISARMED
    assert client.info().backend.rstrip(b"\0") == b"twin"
    client.close()


def test_motion_capture_shows_what_the_simulation_has(laboratory):
    operator = laboratory.operator()
    source: Source = open_source(laboratory.capture)
    tracker = Tracker(twin_rig())
    try:
        for seed in (3, 4):
            operator.prepare(seed)
            tracker.reset()
            source.poll()

            def seen() -> bool:
                reading = tracker.update(source.poll(), time.monotonic_ns())
                if reading.lost or reading.object_position is None:
                    return False
                truth = operator.ask(do="state")["object_position"]
                return bool(abs(reading.object_position - truth).max() < 0.002)

            wait(seen, 30.0)
    finally:
        source.close()
        operator.close()


def test_the_operators_socket_refuses_what_it_does_not_know(laboratory):
    operator = laboratory.operator()
    with pytest.raises(HardwareError, match=r"cannot do 'dance'; choose from place, release, faults, state"):
        operator.ask(do="dance")
    with pytest.raises(HardwareError, match=r"unknown faults \['rain'\]; choose from"):
        operator.ask(do="faults", faults={"rain": True})
    assert len(operator.ask(do="state")["qpos"]) == 31
    operator.close()


def test_a_process_can_be_started_again(laboratory):
    laboratory.processes["controller"].kill()
    laboratory.processes["controller"].wait()
    wait(lambda: not laboratory._answers("controller"), 30.0)
    laboratory.start("controller")
    client = laboratory.client()
    client.connect()
    assert client.condition().state == State.DISARMED
    client.close()


def test_what_does_not_start_is_told_with_its_last_words_and_nothing_is_left(tmp_path):
    before = descendants(os.getpid())
    with pytest.raises(HardwareError, match=r"the hand process ended at once: .*moon"):
        Laboratory(Ports.free(), tmp_path, task="moon")
    assert_none_left(descendants(os.getpid()) - before)


def test_the_command_runs_until_it_is_asked_to_end(tmp_path):
    """Its ports are fixed, so that other programs know them: skipped where one is taken."""
    for name in Ports.__dataclass_fields__:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", getattr(Ports(), name)))
            except OSError:
                pytest.skip(f"port {getattr(Ports(), name)} is taken on this machine")
    log = tmp_path / "said"
    with log.open("wb") as output:
        program = subprocess.Popen(
            [sys.executable, "-u", "-m", "hardware", "twin", "--logs", str(tmp_path / "logs")],
            cwd=ROOT, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        wait(lambda: "logs" in log.read_text() or program.poll() is not None, 90.0)
        assert program.poll() is None, log.read_text()
        said = log.read_text()
        for words in ("tcp://127.0.0.1:5751", "phasespace://", "until Ctrl-C"):
            assert words in said
        children = descendants(program.pid)
        assert len(children) >= 3
        hand = next(pid for pid in children if "hardware.twin.hand" in command(pid))
        os.kill(hand, signal.SIGKILL)
        assert program.wait(60) == 3
        assert "error: the hand process has ended" in log.read_text()
        assert_none_left({pid for pid in children if alive(pid)}, 30.0)
    finally:
        if program.poll() is None:
            program.terminate()
            program.wait(30)


def test_what_is_delayed_comes_in_order_and_not_too_early(monkeypatch):
    now = [0]
    monkeypatch.setattr("hardware.twin.delays.time.monotonic_ns", lambda: now[0])
    queue: Delayed[str] = Delayed()
    queue.put("slow", 0.5)
    queue.put("quick", 0.0)
    assert list(queue.take()) == [], "nothing overtakes"
    now[0] = 499_999_999
    assert list(queue.take()) == []
    now[0] = 500_000_000
    assert list(queue.take()) == ["slow", "quick"]
    assert list(queue.take()) == []
