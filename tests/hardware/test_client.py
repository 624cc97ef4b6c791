"""The control loop's end of the wire: silence, refusals, sessions, the dead man, keys."""

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq

from dactyl_tl.errors import ConfigurationError
from hardware.__main__ import main
from hardware.client import SILENT, HandClient, Link, Refused
from hardware.errors import HardwareError
from hardware.lowlevel.joints import table_hash
from hardware.lowlevel.safety import HOLD_AFTER
from hardware.lowlevel.sockets import KeyFileError, Keys
from hardware.lowlevel.wire import Header, Info, Mode, Reason, Report, State, Verdict, encode
from hardware.twin.laboratory import Ports
from tests.hardware.lowlevel.loops import MS, Loop, NotingHand, Peer, wait_for
from tests.hardware.lowlevel.vendors import Process

ROOT = Path(__file__).parents[2]
STILL = (0.0,) * 20


@pytest.fixture
def loop():
    loop = Loop(NotingHand())
    yield loop
    loop.close()


def free_link() -> Link:
    ports = Ports.free()
    return Link(ports.address("requests"), ports.address("conditions"))


# Nothing there


def test_nothing_there_is_told_with_the_address(monkeypatch):
    monkeypatch.setattr("hardware.client.CONNECTING", 300 * MS)
    link = free_link()
    client = HandClient(link)
    try:
        with pytest.raises(HardwareError, match=f"no controller publishes at {link.conditions}: does it run"):
            client.connect()
        with pytest.raises(HardwareError, match=f"{link.conditions} has been silent for"):
            client.condition()
        with pytest.raises(HardwareError, match="silent"):
            client.info()
    finally:
        client.close()


def test_a_controller_that_falls_silent_is_noticed_and_heard_again(loop):
    peer = Peer(loop.link)
    client = HandClient(loop.link)
    try:
        client.connect()
        loop.close()

        def silent() -> bool:
            try:
                client.condition()
            except HardwareError as error:
                return "silent" in str(error)
            return False

        began = time.monotonic_ns()
        wait_for(silent)
        assert time.monotonic_ns() - began >= 0.9 * SILENT
    finally:
        client.close()
        peer.close()


def test_a_pause_of_this_program_is_no_silence_of_the_controller(loop):
    with loop.client() as client:
        for _ in range(3):
            tick = client.condition().tick
            time.sleep(2.5 * SILENT * 1e-9)
            assert client.condition().tick > tick


def test_what_publishes_something_else_is_told_so():
    """As a controller that was packed from other sources."""
    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        other.linger = 0
        other.bind("tcp://127.0.0.1:*")
        client = HandClient(Link("tcp://127.0.0.1:1", other.last_endpoint.decode()))

        def told() -> bool:
            other.send(b"DTL1\x07" + bytes(200))
            try:
                client.condition()
            except HardwareError as error:
                return "does not understand (a message of version 7; this is version 1)" in str(error)
            return False

        wait_for(told)
        client.close()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:nowhere", "tcp://127.0.0.1:", "ipc://"])
def test_an_address_that_is_none_is_a_setting_that_cannot_be_used(address):
    with pytest.raises(ConfigurationError, match=r"is no address of a controller .* tcp://HOST:PORT"):
        HandClient(Link(address, "tcp://127.0.0.1:5752"))


def test_off_loopback_keys_are_asked_for():
    with pytest.raises(KeyFileError, match="keygen"):
        HandClient(Link("tcp://192.0.2.7:5751", "tcp://192.0.2.7:5752"))


# Refusals and sessions


def test_a_refusal_says_what_why_and_where_the_hand_is(loop):
    with loop.client() as client:
        with pytest.raises(Refused) as refusal:
            client.command(STILL, Mode.RELATIVE, 0.3)
        assert str(refusal.value) == (
            "the controller refused Command: out of session; the hand is in disarmed (none)"
        )
        with pytest.raises(Refused, match=r"refused Arm: out of range; the hand is in disarmed"):
            client.arm(1001.0, 1.0)
        with pytest.raises(Refused, match=r"refused Clear: not now"):
            client.clear()
        client.stop()
        with pytest.raises(Refused, match=r"refused Arm: not now; the hand is in fault \(stopped\)") as told:
            client.arm(1.0, 1.0)
        assert told.value.report.verdict == Verdict.NOT_NOW
        assert isinstance(told.value, HardwareError)


def test_sessions_follow_each_other_and_exclude_others(loop):
    with loop.client() as ours, loop.client() as theirs:
        ours.arm(2.0, 1.0)
        with pytest.raises(Refused, match="out of session"):
            theirs.arm(2.0, 1.0)
        with pytest.raises(Refused, match="out of session"):
            theirs.disarm()
        ours.command(STILL, Mode.RELATIVE, 0.3)
        ours.disarm()
        assert ours.condition().state == State.DISARMED
        theirs.arm(2.0, 1.0)
        with pytest.raises(Refused):
            ours.command(STILL, Mode.RELATIVE, 0.3)
        theirs.disarm()
        for _ in range(3):  # each with a session of its own
            ours.arm(2.0, 1.0)
            assert ours.command(STILL, Mode.RELATIVE, 0.3).report.state == State.RUNNING
            ours.disarm()
        ours.disarm()  # of a hand that is disarmed is nothing


def test_a_hand_let_go_right_after_it_was_armed_is_let_go(loop):
    """A condition from before the answer would show it disarmed, and nobody would let it go."""
    with loop.client() as client:
        for _ in range(5):
            client.arm(2.0, 1.0)
            client.disarm()
            assert client.condition().state == State.DISARMED
            assert client.condition().reason == Reason.REQUESTED


def test_a_hand_in_hold_can_be_armed_at_once(loop):
    with loop.client() as client:
        client.arm(2.0, 1.0)
        for _ in range(3):
            client.command(STILL, Mode.RELATIVE, 0.3)
            assert client.hold(Reason.TRACKING_LOST).report.state == State.HOLD
            assert client.arm(2.0, 1.0).report.state == State.ARMED


def test_a_late_answer_is_not_taken_for_another(loop):
    """An answer to a question that was given up comes before that to the next message."""
    with loop.client() as client:
        client.arm(2.0, 1.0)
        late = Info(table_hash(), b"late", 0, 0, 0, 0, 0, 0, 0, (0,) * 24)
        other = Report(0, 0, 0, 0, 999, 0, 0, (0.0,) * 20)
        given = [encode(Header(1, 1), late), encode(Header(1, 1), other)]
        real = client._requests

        class Late:
            """The real socket, before which late answers wait."""

            def __getattr__(self, name):
                return getattr(real, name)

            def poll(self, *arguments):
                return 1 if given else real.poll(*arguments)

            def recv(self):
                return given.pop(0) if given else real.recv()

        client._requests = Late()
        report = client.command(STILL, Mode.RELATIVE, 0.3).report
        assert report.state == State.RUNNING
        assert not given
        given.append(encode(Header(1, 1), other))
        assert client.info().backend.rstrip(b"\0") == b"dry"
        given.append(b"nothing that is known")
        with pytest.raises(HardwareError, match="answers with a frame of 21 bytes"):
            client.info()
        client._requests = real


# The dead man


def test_without_the_operator_the_hand_holds(loop):
    present = [True]
    with loop.client(present=lambda: present[0]) as client:
        watcher = Peer(loop.link, every=True)
        client.arm(2.0, 1.0)
        client.command(STILL, Mode.RELATIVE, 0.3)
        for _ in range(8):
            client.stay(time.monotonic_ns() + 40 * MS)
            try:
                client.command(STILL, Mode.RELATIVE, 0.3)
            except Refused:  # this machine was so busy that the hand holds
                client.arm(2.0, 1.0)
                client.command(STILL, Mode.RELATIVE, 0.3)
        present[0] = False
        released = client._header.sent_ns

        def held() -> bool:
            try:
                client.command(STILL, Mode.RELATIVE, 0.3)
            except Refused as refusal:
                return refusal.report.state == State.HOLD
            return False

        wait_for(held)
        heard = watcher.until(
            lambda condition: condition.state == State.HOLD and condition.reason == Reason.DEAD_MAN
        )
        assert heard[-1][0].sent_ns <= released + HOLD_AFTER + 100 * MS
        present[0] = True
        with pytest.raises(Refused, match="not now"):
            client.command(STILL, Mode.RELATIVE, 0.3)
        watcher.close()


def test_a_pedal_that_fails_is_an_error_of_the_next_message(loop):
    def gone() -> bool:
        raise HardwareError("the pedal is gone")

    with loop.client(present=gone) as client, pytest.raises(HardwareError, match="the pedal is gone"):
        client.arm(2.0, 1.0)


def test_staying_gives_signs_of_life(loop):
    with loop.client() as client:
        client.arm(2.0, 1.0)
        until = time.monotonic_ns() + 3 * HOLD_AFTER
        client.stay(until)
        assert time.monotonic_ns() >= until
        assert client.condition().state == State.ARMED


# Keys


@pytest.fixture
def keys(tmp_path):
    """As a lab makes them: keys by the command, public ones copied to the other side."""
    assert main(["keygen", str(tmp_path), "controller", "policy", "stranger"]) == 0
    (tmp_path / "allowed").mkdir()
    (tmp_path / "policy.key").rename(tmp_path / "allowed" / "policy.key")
    return tmp_path


@pytest.fixture
def guarded(keys, tmp_path):
    process = Process(
        "--backend", "dry", "--keys", str(keys / "controller.key_secret"), "--allowed",
        str(keys / "allowed"), link=free_link(), log=tmp_path / "log",
    )  # fmt: skip
    yield process
    process.close()


def test_a_hand_is_armed_over_curve_by_who_is_allowed_and_by_nobody_else(keys, guarded, monkeypatch):
    link = guarded.link
    ours = Keys(str(keys / "policy.key_secret"), str(keys / "controller.key"))
    client = HandClient(Link(link.requests, link.conditions, ours))
    client.connect()
    client.arm(2.0, 0.5)
    assert math.isclose(client.jog(3, 0.1).report.goals[3], 0.1)
    monkeypatch.setattr("hardware.client.CONNECTING", 700 * MS)
    stranger = Keys(str(keys / "stranger.key_secret"), str(keys / "controller.key"))
    deceived = Keys(str(keys / "policy.key_secret"), str(keys / "stranger.key"))
    for wrong in (None, stranger, deceived):
        other = HandClient(Link(link.requests, link.conditions, wrong))
        with pytest.raises(HardwareError, match="keys right"):
            other.connect()
        other.close()
        client.live()
    client.disarm()
    client.close()
    assert "CURVE" in guarded.said()


def test_the_command_line_makes_usable_keys(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hardware", "keygen", str(tmp_path / "keys"), "controller"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert (tmp_path / "keys" / "controller.key_secret").stat().st_mode & 0o777 == 0o600
