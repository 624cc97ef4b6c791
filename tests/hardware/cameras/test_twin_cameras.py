"""The simulated hand's cameras: a publisher of states, a process that draws them, a reader of frames."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zmq

from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators.bundles import load_estimator
from dactyl_tl.rendering.offscreen import RendererError, check_renderer
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.scene import build_scene
from hardware.cameras.intake import Limits
from hardware.cameras.seeing import estimator_pictures
from hardware.errors import HardwareError
from hardware.twin.camera_renderer import NOISE, Sensor, write_pictures
from hardware.twin.camera_wire import Fault
from hardware.twin.cameras import RendererProcess, TwinCameras

LEFT, FRONT, RIGHT = CAMERAS
PATIENT = Limits(age=20.0)
"""Drawing may take long here."""


@pytest.fixture(scope="module", autouse=True)
def drawing():
    try:
        check_renderer()
    except RendererError as error:
        pytest.skip(f"there is no working OpenGL: {error}")


class Publisher:
    """The twin's end: publishes a state again and again, as the simulated hand does."""

    def __init__(self, address: str) -> None:
        self.qpos = build_scene().model.qpos0.copy()
        self.garbage: bytes | None = None
        self.running = True
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with zmq.Context() as context, context.socket(zmq.PUB) as socket:
            socket.linger = 0
            socket.bind(self._address)
            while not self._stop.wait(0.008):
                if self.garbage is not None:
                    socket.send(self.garbage)
                elif self.running:
                    state = {"qpos": self.qpos.tolist(), "time_ns": time.monotonic_ns(), "goal": [1, 0, 0, 0]}
                    socket.send(json.dumps(state).encode())

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s")
    return {name: f"ipc://{folder}/{name}" for name in ("states", "pictures", "faults")}


@pytest.fixture(scope="module")
def publisher(addresses):
    publisher = Publisher(addresses["states"])
    yield publisher
    publisher.close()


@pytest.fixture(scope="module")
def running(addresses, publisher):
    with RendererProcess(**addresses) as process:
        yield process


@pytest.fixture
def renderer(running, publisher, until):
    """The renderer without faults, and started again if it was killed."""
    try:
        running.check()
    except HardwareError:
        running.start()
    publisher.running, publisher.garbage = True, None
    yield running
    running.inject(Fault("none"))


@pytest.fixture
def watch(addresses):
    """``watch(limits)``: cameras that are open."""
    opened = []

    def start(limits: Limits = PATIENT) -> TwinCameras:
        cameras = TwinCameras(addresses["pictures"], limits)
        opened.append(cameras)
        cameras.open()
        return cameras

    yield start
    for cameras in opened:
        cameras.close()


def newest(cameras):
    return cameras.latest(time.monotonic_ns()).triple


def newer(cameras, until, than_ns: int):
    """The first triple of states after a time."""

    def found():
        triple = newest(cameras)
        return triple if triple is not None and triple.time_ns > than_ns else None

    return until(found)


def test_the_state_that_was_published_is_drawn_from_all_three_cameras(renderer, publisher, watch, until):
    cameras, sensor = watch(), Sensor()
    for angle in (0.0, 0.6):
        publisher.qpos[5], publisher.qpos[24] = angle, 1.0 + 0.03 * angle
        triple = newer(cameras, until, time.monotonic_ns())
        assert triple.spread_ns == 0
        expected = sensor.see(publisher.qpos).astype(int)
        for number in range(3):
            difference = np.abs(triple.pictures[number] - expected[number])
            assert difference.max() <= 2 * NOISE
            others = np.abs(triple.pictures[number] - np.roll(expected, 1, axis=0)[number])
            assert (others > 50).mean() > 0.01, "the cameras' pictures can be told apart"
    sensor.close()
    publisher.qpos[5], publisher.qpos[24] = 0.0, 1.0


def test_two_pictures_of_one_state_differ_as_those_of_a_sensor_do():
    sensor = Sensor()
    qpos = build_scene().model.qpos0
    first, second = sensor.see(qpos).astype(int), sensor.see(qpos).astype(int)
    sensor.close()
    assert 0 < np.abs(first - second).max() <= 2 * NOISE
    assert abs((first - second).mean()) < 0.01


def test_an_estimator_sees_the_object_where_it_is(renderer, publisher, watch, until):
    cameras = watch()
    estimator = load_estimator("block")
    position, orientation = estimator(estimator_pictures(newer(cameras, until, time.monotonic_ns())))
    actual = publisher.qpos[24:27] - MOUNT_POSITION
    assert np.abs(position[0].numpy() - actual).max() < 0.02
    turned = 2 * np.degrees(np.arccos(min(1.0, abs(float(orientation[0] @ _tensor(publisher.qpos[27:]))))))
    assert turned < 30


def _tensor(values):
    import torch

    return torch.as_tensor(values, dtype=torch.float32)


def test_when_states_stay_away_so_do_pictures(renderer, publisher, watch, until):
    cameras = watch(Limits(age=1.0))
    until(lambda: newest(cameras))
    publisher.running = False
    reason = until(lambda: cameras.latest(time.monotonic_ns()).reason)
    for camera in CAMERAS:
        assert f"{camera} has shown nothing new for" in reason
    taken = cameras.report().taken
    publisher.running = True
    until(lambda: newest(cameras))
    assert taken[LEFT] < cameras.report().taken[LEFT]


def test_garbage_is_not_drawn_and_stops_nothing(renderer, publisher, watch, until):
    cameras = watch()
    until(lambda: newest(cameras))
    publisher.garbage = b'{"qpos": "all of them"}'
    time.sleep(0.2)
    publisher.garbage = None
    newer(cameras, until, time.monotonic_ns())


def test_a_delayed_camera_delays_the_triple_and_mixes_nothing(renderer, publisher, watch, until):
    cameras = watch()
    until(lambda: newest(cameras))
    renderer.inject(Fault("delay", RIGHT, 0.4))

    def late():
        now = time.monotonic_ns()
        triple = cameras.latest(now).triple
        return triple if triple is not None and now - triple.time_ns > 400_000_000 else None

    for _ in range(3):
        assert until(late).spread_ns == 0
    strict = watch(Limits(age=0.3))
    until(lambda: strict.report().taken[RIGHT] > 2)
    assert newest(strict) is None


@pytest.mark.parametrize(
    ("fault", "camera", "word"),
    [("loss", LEFT, ""), ("freeze", FRONT, "repeated"), ("dark", RIGHT, "dark")],
)
def test_a_camera_that_shows_nothing_is_silent(renderer, watch, until, fault, camera, word):
    cameras = watch(Limits(age=1.5))
    until(lambda: newest(cameras))
    renderer.inject(Fault(fault, camera))

    def named():
        reason = cameras.latest(time.monotonic_ns()).reason
        return reason if camera in reason and word in reason else ""

    assert f"{camera} has shown nothing new for" in until(named)
    renderer.inject(Fault("none"))
    until(lambda: newest(cameras))


def test_a_doubled_camera_is_used_once(renderer, watch, until):
    cameras = watch()
    until(lambda: newest(cameras))
    renderer.inject(Fault("duplicate", LEFT))
    until(lambda: cameras.report().dropped[LEFT].get("repeated", 0) >= 3)
    newer(cameras, until, time.monotonic_ns())
    assert cameras.report().dropped[FRONT].get("repeated", 0) == 0


def test_after_a_crash_the_renderer_may_start_again(renderer, watch, until):
    cameras = watch(Limits(age=1.5))
    until(lambda: newest(cameras))
    renderer.inject(Fault("crash"))

    def ended():
        try:
            renderer.check()
        except HardwareError as error:
            return str(error)
        return ""

    assert "-9" in until(ended)
    assert "nothing new" in until(lambda: cameras.latest(time.monotonic_ns()).reason)
    renderer.start()
    until(lambda: newest(cameras))
    assert cameras.report().dropped[LEFT] == {}, "its numbers go on"


def test_a_renderer_that_cannot_start_says_so(addresses, capfd):
    process = RendererProcess(**{**addresses, "pictures": "ipc:///nowhere/at/all"})
    with pytest.raises(HardwareError, match="did not start"):
        process.start()
    assert "error:" in capfd.readouterr().err
    with pytest.raises(HardwareError, match="not started"):
        process.check()


def test_a_renderer_ends_with_the_process_that_started_it(addresses, tmp_path, until):
    given = {name: f"ipc://{tmp_path}/{name}" for name in addresses}
    code = (
        "from hardware.twin.cameras import RendererProcess\n"
        f"process = RendererProcess(**{given!r})\n"
        "process.start()\n"
        "print(process._process.pid, flush=True)\n"
        "input()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    renderer = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()

    def gone():
        try:
            with open(f"/proc/{renderer}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] in "ZX"
        except FileNotFoundError:
            return True

    until(gone)


def test_what_is_not_open_cannot_be_looked_at(addresses):
    cameras = TwinCameras(addresses["pictures"])
    with pytest.raises(HardwareError, match="not open"):
        cameras.latest(0)
    cameras.close()


def test_something_else_that_publishes_there_is_an_error(tmp_path, until):
    address = f"ipc://{tmp_path}/other"
    cameras = TwinCameras(address)
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.linger = 0
        socket.bind(address)
        cameras.open()

        def failed():
            socket.send(b"hello")
            try:
                cameras.latest(0)
            except HardwareError as error:
                return str(error)
            return ""

        assert "no frame" in until(failed)
    cameras.close()


def test_frames_come_from_this_machine_only():
    with pytest.raises(ConfigurationError, match="must be on this machine"):
        TwinCameras("tcp://10.0.0.1:5555")


def test_pictures_for_emulated_cameras_are_written_for_each(tmp_path):
    from PIL import Image

    qpos = build_scene().model.qpos0
    folders = write_pictures(tmp_path, [qpos, qpos])
    assert list(folders) == list(CAMERAS)
    sensor = Sensor()
    for number, folder in enumerate(folders.values()):
        assert sorted(os.listdir(folder)) == ["0000.png", "0001.png"]
        written = np.asarray(Image.open(f"{folder}/0001.png")).astype(int)
        assert np.abs(written - sensor.see(qpos)[number]).max() <= 2 * NOISE
    sensor.close()
