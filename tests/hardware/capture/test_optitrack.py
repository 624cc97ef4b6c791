"""NatNet packets, laid out as NaturalPoint documents them, over real UDP sockets."""

import socket
import struct
import threading
import time

import numpy as np
import pytest

from dactyl_tl.errors import ConfigurationError
from hardware.capture.optitrack import OptiTrack
from hardware.errors import HardwareError

DEADLINE = 60.0
OCCLUDED, SOLVED, FILLED, HAS_MODEL = 0x01, 0x02, 0x04, 0x08
BODY = 3  # a rigid body's id; its markers' are BODY << 16 | number


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def server_info(version) -> bytes:
    return message(1, b"Motive".ljust(256, b"\0") + bytes((3, 1, 0, 0)) + bytes((*version, 0, 0)))


def data_frame(version, number: int, time_s: float, markers, *, tracked: bool = True) -> bytes:
    """``markers``: (id, xyz, flags, residual)."""

    def section(*items: bytes) -> bytes:
        body = b"".join(items)
        return (
            struct.pack("<I", len(items))
            + (struct.pack("<I", len(body)) if version >= (4, 1) else b"")
            + body
        )

    rigid = struct.pack("<I8fH", BODY, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0, 0.0005, int(tracked))
    labelled = [struct.pack("<I4fHf", id_, *xyz, 0.014, flags, error) for id_, xyz, flags, error in markers]
    sections = [section(), section(struct.pack("<3f", 9.0, 9.0, 9.0)), section(rigid), section()]
    if version >= (4, 1):
        sections.append(section())  # assets
    sections += [section(*labelled), section(), section()]
    suffix = struct.pack("<IIdQQQH", 0, 0, time_s, 1, 2, 3, 0)
    return message(7, struct.pack("<I", number) + b"".join(sections) + suffix)


class Motive:
    """Answers a connection, remembers who asked, and sends what it is given."""

    def __init__(self, version, silent: bool = False):
        self.version = version
        self.silent = silent
        self.closing = False
        self.client = None
        self.kept_alive = threading.Event()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.closing:
            packet, sender = self.socket.recvfrom(1 << 16)
            kind = struct.unpack_from("<H", packet)[0] if packet else None
            if kind == 0 and not self.silent:
                self.client = sender
                self.socket.sendto(server_info(self.version), sender)
            elif kind == 10:
                self.kept_alive.set()

    def send(self, packet: bytes):
        self.socket.sendto(packet, self.client)

    def close(self):
        self.closing = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", ("127.0.0.1", self.port))
        self.thread.join()
        self.socket.close()


@pytest.fixture(params=[(3, 1), (4, 1)], ids=["natnet3.1", "natnet4.1"])
def motive(request):
    motive = Motive(request.param)
    yield motive
    motive.close()


@pytest.fixture
def source(motive):
    source = OptiTrack("127.0.0.1", multicast="", command_port=motive.port, patience=DEADLINE)
    yield source
    source.close()


def wait_for(source, count: int):
    frames, deadline = [], time.monotonic() + DEADLINE
    while len(frames) < count and time.monotonic() < deadline:
        frames += source.poll()
        time.sleep(0.005)
    assert len(frames) == count
    return frames


def test_markers_over_a_real_socket(motive, source):
    first, second = (BODY << 16) | 1, (BODY << 16) | 2
    seen = [(first, (0.5, 1.25, -0.75), SOLVED | HAS_MODEL, 0.0004), (second, (0.1, 0.2, 0.3), SOLVED, 0.001)]
    before = time.monotonic_ns()
    motive.send(data_frame(motive.version, 41, 12.5, seen))
    motive.send(data_frame(motive.version, 42, 12.504, seen[:1]))
    frames = wait_for(source, 2)
    assert [frame.sequence for frame in frames] == [41, 42]
    assert [frame.device_time for frame in frames] == [12.5, 12.504]
    assert before <= frames[0].received_ns <= frames[1].received_ns <= time.monotonic_ns()
    # Motive's y is up; here z is: a quarter turn about x, which keeps a right hand right.
    np.testing.assert_allclose(frames[0].markers[first].position, (0.5, 0.75, 1.25))
    assert frames[0].markers[first].valid
    assert frames[0].markers[first].quality == pytest.approx(0.0004)
    assert set(frames[1].markers) == {first}


def test_axes_stay_where_z_is_up(motive):
    source = OptiTrack("127.0.0.1", multicast="", command_port=motive.port, up="z", patience=DEADLINE)
    motive.send(data_frame(motive.version, 1, 0.0, [(7, (1.0, 2.0, 3.0), SOLVED, 0.0)]))
    np.testing.assert_array_equal(wait_for(source, 1)[0].markers[7].position, (1.0, 2.0, 3.0))
    source.close()


@pytest.mark.parametrize("flags", [OCCLUDED, OCCLUDED | SOLVED, FILLED | HAS_MODEL])
def test_what_motive_does_not_see_is_lost(motive, source, flags):
    motive.send(data_frame(motive.version, 1, 0.0, [(7, (1.0, 2.0, 3.0), flags, 0.0)]))
    assert not wait_for(source, 1)[0].markers[7].valid


def test_markers_of_a_rigid_body_that_is_not_tracked_are_lost(motive, source):
    mine, other = (BODY << 16) | 1, 7
    markers = [(mine, (1.0, 2.0, 3.0), SOLVED | HAS_MODEL, 0.0), (other, (1.0, 2.0, 3.0), SOLVED, 0.0)]
    motive.send(data_frame(motive.version, 1, 0.0, markers, tracked=False))
    frame = wait_for(source, 1)[0]
    assert not frame.markers[mine].valid
    assert frame.markers[other].valid


def test_coordinates_that_are_no_numbers_are_lost(motive, source):
    motive.send(data_frame(motive.version, 1, 0.0, [(7, (1.0, float("nan"), 3.0), SOLVED, 0.0)]))
    assert not wait_for(source, 1)[0].markers[7].valid


def test_damaged_packets_cost_themselves_alone(motive, source):
    whole = data_frame(motive.version, 2, 0.0, [(7, (1.0, 2.0, 3.0), SOLVED, 0.0)])
    for packet in (
        b"",
        b"\x07",
        b"\x07\x00",
        whole[:-9],
        whole[:30],
        message(7, b"\xff" * 40),
        b"\x63\x00\x00\x00",
    ):
        motive.send(packet)
    motive.send(whole)
    assert wait_for(source, 1)[0].sequence == 2
    assert source.damaged >= 4


def test_unicast_is_kept_alive(motive, source):
    assert motive.kept_alive.wait(DEADLINE)


def test_silence_is_a_lost_connection(motive):
    source = OptiTrack("127.0.0.1", multicast="", command_port=motive.port, patience=0.3)
    with pytest.raises(HardwareError, match="no frame for"):
        wait_for(source, 1)
    source.close()


def test_multicast():
    motive = Motive((3, 1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    group = "239.255.42.99"
    source = OptiTrack(
        "127.0.0.1",
        local="127.0.0.1",
        command_port=motive.port,
        data_port=port,
        multicast=group,
        patience=DEADLINE,
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sender.sendto(data_frame((3, 1), 5, 0.0, [(7, (1.0, 2.0, 3.0), SOLVED, 0.0)]), (group, port))
    assert wait_for(source, 1)[0].sequence == 5
    source.close()
    motive.close()


def test_nobody_there_and_an_old_motive_say_what_to_check(monkeypatch):
    motive = Motive((3, 1), silent=True)
    monkeypatch.setattr(OptiTrack._connect, "__defaults__", (2, 0.05))
    with pytest.raises(HardwareError, match="data streaming pane"):
        OptiTrack("127.0.0.1", multicast="", command_port=motive.port)
    motive.close()
    old = Motive((2, 9))
    with pytest.raises(HardwareError, match="or newer"):
        OptiTrack("127.0.0.1", multicast="", command_port=old.port)
    old.close()
    with pytest.raises(ConfigurationError, match="choose y or z"):
        OptiTrack("127.0.0.1", up="x")
