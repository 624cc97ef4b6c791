"""QTM's real-time protocol, as Qualisys documents it, over a real TCP connection."""

import socket
import struct
import threading
import time

import numpy as np
import pytest

from hardware.capture.qualisys import Qualisys, number_labels, parse_labels
from hardware.errors import HardwareError

DEADLINE = 60.0
ERROR, COMMAND, XML, DATA = 0, 1, 2, 3
LABELS = ("ff", "thumb tip", "block 1")
NAN = float("nan")


def packet(kind: int, body: bytes) -> bytes:
    return struct.pack("<II", 8 + len(body), kind) + body


def parameters(labels) -> bytes:
    each = "".join(f"<Label><Name>{name}</Name><RGBColor>1</RGBColor></Label>" for name in labels)
    return (
        "<QTM_Parameters_Ver_1.25><The_3D><AxisUpwards>+Z</AxisUpwards>"
        f"<Labels>{len(labels)}</Labels>{each}</The_3D></QTM_Parameters_Ver_1.25>"
    ).encode()


def data_packet(number: int, microseconds: int, markers) -> bytes:
    """``markers``: (x, y, z, residual) in millimetres."""
    body = struct.pack("<Ihh", len(markers), 0, 0) + b"".join(struct.pack("<4f", *each) for each in markers)
    component = struct.pack("<II", 8 + len(body), 9) + body  # 9: 3D with residuals
    return packet(DATA, struct.pack("<qII", microseconds, number, 1) + component)


class Qtm:
    """Answers the commands that the adapter gives; then sends what it is given."""

    def __init__(self, labels=LABELS, version_answer=b"Version set to 1.25"):
        self.labels = labels
        self.version_answer = version_answer
        self.commands = []
        self.streaming = threading.Event()
        self.stopped = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.client = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        self.client, _ = self.listener.accept()
        self.client.sendall(packet(COMMAND, b"QTM RT Interface connected\0"))
        received = b""
        while True:
            try:
                data = self.client.recv(1 << 16)
            except OSError:
                break
            if not data:
                break
            received += data
            while len(received) >= 8 and len(received) >= struct.unpack_from("<I", received)[0]:
                size = struct.unpack_from("<I", received)[0]
                self.answer(received[8:size].rstrip(b"\0").decode())
                received = received[size:]
        self.stopped.set()

    def answer(self, command: str):
        self.commands.append(command)
        if command.startswith("version"):
            self.client.sendall(packet(COMMAND, self.version_answer + b"\0"))
        elif command == "getparameters 3d":
            self.client.sendall(packet(XML, parameters(self.labels) + b"\0"))
        elif command.startswith("streamframes allframes"):
            self.send(1, 0, [(0.0, 0.0, 0.0, 0.0)] * len(self.labels))
            self.streaming.set()
        elif command == "streamframes stop":
            self.stopped.set()

    def send(self, number, microseconds, markers):
        self.client.sendall(data_packet(number, microseconds, markers))

    def close(self):
        self.listener.close()
        if self.client is not None:
            self.client.close()


@pytest.fixture
def qtm():
    qtm = Qtm()
    yield qtm
    qtm.close()


@pytest.fixture
def source(qtm):
    source = Qualisys("127.0.0.1", port=qtm.port, patience=DEADLINE)
    yield source
    source.close()


def wait_for(source, count):
    frames, deadline = [], time.monotonic() + DEADLINE
    while len(frames) < count and time.monotonic() < deadline:
        frames += source.poll()
        time.sleep(0.005)
    assert len(frames) == count
    return frames


def fails(source, match):
    with pytest.raises(HardwareError, match=match):
        poll_until_it_fails(source)


def poll_until_it_fails(source):
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        source.poll()
        time.sleep(0.005)


def test_markers_over_a_real_connection(qtm, source):
    assert source.labels == LABELS
    assert qtm.commands == ["version 1.25", "getparameters 3d", "streamframes allframes 3dres"]
    before = time.monotonic_ns()
    qtm.send(7, 2_500_000, [(1000.0, -250.0, 125.0, 0.5), (NAN, NAN, NAN, NAN), (1.0, 2.0, 3.0, 0.25)])
    qtm.send(8, 2_504_000, [(1.0, NAN, 1.0, 0.0)] * 3)
    frames = wait_for(source, 3)[1:]
    assert [frame.sequence for frame in frames] == [7, 8]
    assert [frame.device_time for frame in frames] == pytest.approx([2.5, 2.504], abs=1e-12)
    assert before <= frames[0].received_ns <= frames[1].received_ns <= time.monotonic_ns()
    np.testing.assert_allclose(frames[0].markers[0].position, (1.0, -0.25, 0.125))
    assert frames[0].markers[0].quality == pytest.approx(0.0005)
    assert [frames[0].markers[id_].valid for id_ in (0, 1, 2)] == [True, False, True]
    assert not any(each.valid for each in frames[1].markers.values())


def test_ids_by_label(qtm):
    source = Qualisys("127.0.0.1", port=qtm.port, ids={"block 1": 8, "ff": 0}, patience=DEADLINE)
    qtm.send(7, 4000, [(1.0, 0.0, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0), (3.0, 0.0, 0.0, 0.0)])
    markers = wait_for(source, 2)[1].markers
    assert {id_: each.position[0] for id_, each in markers.items()} == pytest.approx({0: 0.001, 8: 0.003})
    source.close()


def test_closing_ends_the_stream(qtm, source):
    source.close()
    assert qtm.stopped.wait(DEADLINE)
    assert qtm.commands[-1] == "streamframes stop"


def test_cut_connection(qtm, source):
    qtm.client.shutdown(socket.SHUT_RDWR)
    fails(source, "connection is lost")


@pytest.mark.parametrize("garbage", [struct.pack("<II", 12, 99) + b"oops", packet(DATA, b"short")])
def test_garbage_ends_the_connection_and_is_told(qtm, source, garbage):
    qtm.client.sendall(garbage)
    fails(source, "connection is lost")


def test_a_project_that_is_changed_is_told(qtm, source):
    qtm.send(9, 8000, [(1.0, 2.0, 3.0, 0.0)] * 4)
    fails(source, "project was changed")


def test_silence_is_a_lost_connection(qtm):
    source = Qualisys("127.0.0.1", port=qtm.port, patience=0.3)
    fails(source, "no frame for")
    source.close()


def test_what_cannot_be_opened_says_what_to_check(qtm):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(HardwareError, match="QTM is on"):
        Qualisys("127.0.0.1", port=port)
    with pytest.raises(HardwareError, match=r"no markers labelled \['absent'\]"):
        Qualisys("127.0.0.1", port=qtm.port, ids={"absent": 1})
    empty = Qtm(labels=())
    with pytest.raises(HardwareError, match="no labelled markers"):
        Qualisys("127.0.0.1", port=empty.port)
    empty.close()


def test_labels():
    assert parse_labels(parameters(LABELS)) == LABELS
    assert number_labels(LABELS, None) == (0, 1, 2)
    assert number_labels(LABELS, {"ff": 4}) == (4, None, None)
    with pytest.raises(HardwareError, match="cannot be read"):
        parse_labels(b"<unfinished")
