"""The driver with pylon's emulated cameras really running: known pictures, triggers, faults.

What they cannot emulate is a clock of their own; for the trigger line one is put before them.
"""

import subprocess
import sys
import threading
import time
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dactyl_tl.contract import CAMERAS
from hardware.cameras import basler
from hardware.cameras.basler import BaslerCameras
from hardware.cameras.devices import attach
from hardware.cameras.intake import Limits
from hardware.cameras.settings import CameraSettings
from hardware.errors import HardwareError

pytest.importorskip("pypylon", reason="pypylon is not installed (pip install pypylon)")

LEFT, FRONT, RIGHT = CAMERAS
SERIALS = {LEFT: "0815-0002", FRONT: "0815-0000", RIGHT: "0815-0001"}
PATIENT = Limits(age=20.0)
"""For a machine that is slow; what is too old is tested for itself."""
COUNT = 20
"""Pictures that each camera shows in turn."""


@pytest.fixture(scope="session")
def folders(tmp_path_factory, tagged):
    """Of each camera, with tagged pictures."""
    root = tmp_path_factory.mktemp("pictures")
    found = {}
    for camera in CAMERAS:
        folder = root / camera.rpartition(":")[2]
        folder.mkdir()
        for number in range(COUNT):
            Image.fromarray(tagged(camera, number)).save(folder / f"{number:03d}.bmp")
        found[camera] = str(folder)
    return found


@pytest.fixture
def devices(monkeypatch):
    """Pylon's cameras as the driver opens them, in our order; the list is filled then."""
    opened = []

    def attach_and_keep(camera):
        opened.append(attach(camera))
        return opened[-1]

    monkeypatch.setattr(basler, "attach", attach_and_keep)
    return opened


@pytest.fixture
def run(folders):
    """``run(**settings)``: cameras that are open, and closed in the end."""
    opened = []

    def start(**settings) -> BaslerCameras:
        cameras = BaslerCameras(
            CameraSettings(SERIALS, **{"emulated": folders, "limits": PATIENT, **settings})
        )
        opened.append(cameras)
        cameras.open()
        return cameras

    yield start
    for cameras in opened:
        cameras.close()


@pytest.fixture
def take(until):
    """``take(cameras, count)``: that many new triples."""

    def gather(cameras, count: int):
        triples = []

        def more():
            triple = cameras.latest(time.monotonic_ns()).triple
            if triple is not None and (not triples or triple is not triples[-1]):
                triples.append(triple)
            return len(triples) > count

        until(more)
        return triples[1:]  # the first may have been there before

    return gather


def tags(triple, read_tag):
    return [read_tag(frame.picture) for frame in triple.frames]


def test_every_triple_shows_one_instant_of_each_camera_in_our_order(run, take, read_tag):
    triples = take(run(), 30)
    numbers = []
    for triple in triples:
        cameras, shown = zip(*tags(triple, read_tag), strict=True)
        assert cameras == (0, 1, 2)
        assert len(set(shown)) == 1, f"instants {shown} are mixed"
        assert triple.spread_ns <= 2_000_000
        numbers.append(shown[0])
    assert len(set(numbers)) > 10


def test_colours_and_rows_arrive_as_they_are(run, take, tagged, read_tag):
    triple = take(run(), 1)[0]
    for frame in triple.frames:
        assert np.array_equal(frame.picture, tagged(frame.camera, read_tag(frame.picture)[1]))


def test_a_picture_was_taken_before_it_came_and_after_it_was_last_asked_for(run, take):
    begun = time.monotonic_ns()
    for triple in take(run(), 5):
        assert begun < triple.time_ns < time.monotonic_ns()


def test_the_rate_is_kept_and_two_pictures_are_never_close_together(run, take):
    times = [triple.time_ns for triple in take(run(rate=10.0), 8)]
    assert min(np.diff(times)) > 0.04e9
    assert times[-1] - times[0] > 6 * 0.1e9, "seven periods, of which the first may begin a period late"


def test_failed_buffers_are_counted_and_no_instants_are_mixed_after_them(run, take, devices, until, read_tag):
    cameras = run()
    take(cameras, 2)
    devices[1].ForceFailedBufferCount.Value = 3
    devices[1].ForceFailedBuffer.Execute()
    until(lambda: cameras.report().dropped[FRONT].get("failed", 0) == 3)
    for triple in take(cameras, COUNT):
        assert len({number for _, number in tags(triple, read_tag)}) == 1
    report = cameras.report()
    assert report.dropped[FRONT]["failed"] == 3
    assert "failed" not in report.dropped[LEFT]


def test_a_frame_that_nobody_asked_for_dates_none_of_those_that_follow(run, take, devices, until):
    cameras = run()
    take(cameras, 2)
    before = cameras.report().dropped[RIGHT].get("unsure", 0)

    def disturbed():
        devices[2].TriggerSoftware.Execute()
        return cameras.report().dropped[RIGHT].get("unsure", 0) > before

    until(disturbed)
    for triple in take(cameras, 5):
        assert triple.spread_ns <= 2_000_000


class Lossy:
    """A camera between which and the host a frame gets lost without a trace, when asked to."""

    def __init__(self, device) -> None:
        self._device, self.lose, self.lost = device, False, None

    def __getattr__(self, name):
        return getattr(self._device, name)

    def RetrieveResult(self, *arguments):
        result = self._device.RetrieveResult(*arguments)
        if result.IsValid() and self.lose:
            self.lose, self.lost = False, result.Array
            return self._device.RetrieveResult(*arguments)
        return result


@pytest.mark.parametrize("noticed", ["by its absence", "by the number of the next"])
def test_after_a_frame_that_got_lost_its_camera_begins_anew(run, take, monkeypatch, until, read_tag, noticed):
    lossy = []

    def attach_lossy(camera):
        lossy.append(Lossy(attach(camera)))
        return lossy[-1]

    monkeypatch.setattr(basler, "attach", attach_lossy)
    monkeypatch.setattr(basler, "FRAME_SECONDS", 0.1 if noticed == "by its absence" else 1000.0)
    cameras = run()
    take(cameras, 2)
    lossy[0].lose = True
    until(lambda: lossy[0].lost is not None)
    if noticed != "by its absence":
        lossy[0].TriggerSoftware.Execute()  # another frame, which must not be taken for the lost one
    for triple in take(cameras, COUNT // 2):
        assert triple.spread_ns <= 2_000_000
        assert tags(triple, read_tag)[1][1] != read_tag(lossy[0].lost)[1], "the lost instant is in a triple"


def test_a_camera_that_stopped_delivering_is_started_again(run, take, devices):
    cameras = run()
    take(cameras, 2)
    devices[0].StopGrabbing()
    assert take(cameras, 5)


def test_no_alarm_is_set_which_would_end_a_process_that_deals_with_alarms(folders):
    """Pylon's waiting would; nothing is delivered here, so every wait would time out."""
    code = (
        "import signal, time\n"
        "from hardware.cameras import basler\n"
        "from hardware.cameras.settings import CameraSettings\n"
        f"cameras = basler.BaslerCameras(CameraSettings({SERIALS}, rate=1.0))\n"
        "cameras.open()\n"
        "signal.signal(signal.SIGALRM, signal.SIG_DFL)\n"
        "time.sleep(1.0)\n"
        "cameras.close()\n"
        "print('alive')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "alive\n", f"exit code {done.returncode}: {done.stderr}"


def test_a_camera_that_is_unplugged_is_an_error_until_it_is_opened_again(run, take, devices, until):
    cameras = run()
    take(cameras, 2)
    devices[1].FirePnPCallback.Execute()

    def failed():
        try:
            cameras.latest(time.monotonic_ns())
        except HardwareError as error:
            return str(error)
        return ""

    assert until(failed) == "camera:front was disconnected: plug it in and open the cameras again"
    with pytest.raises(HardwareError, match="camera:front"):
        cameras.latest(time.monotonic_ns())
    cameras.open()
    assert take(cameras, 2)


def test_a_camera_that_is_not_there_is_named(folders):
    cameras = BaslerCameras(CameraSettings({**SERIALS, FRONT: "24001"}))
    with pytest.raises(
        HardwareError, match=r"camera:front \(24001\) is not connected; pylon sees .*0815-0002"
    ):
        cameras.open()
    with pytest.raises(HardwareError, match="not open"):
        cameras.latest(time.monotonic_ns())


def test_a_camera_that_repeats_its_picture_is_silent(run, until, tmp_path, folders, tagged):
    Image.fromarray(tagged(LEFT, 0)).save(tmp_path / "only.bmp")
    cameras = run(emulated={**folders, LEFT: str(tmp_path)}, limits=Limits())
    until(lambda: cameras.report().dropped[LEFT].get("repeated", 0) > 5)
    triple, reason = cameras.latest(time.monotonic_ns())
    assert triple is None
    assert "camera:left has shown nothing new for" in reason
    assert "repeated" in reason
    assert cameras.report().triples <= 1


def test_a_covered_camera_is_silent(run, until, tmp_path, folders):
    random = np.random.default_rng(0)
    for number in range(2):
        picture = random.integers(0, 4, (480, 640, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number}.bmp")
    cameras = run(emulated={**folders, RIGHT: str(tmp_path)})
    until(lambda: cameras.report().dropped[RIGHT].get("dark", 0) > 3)
    triple, reason = cameras.latest(time.monotonic_ns())
    assert triple is None
    assert "camera:right has delivered nothing" in reason
    assert cameras.report().triples == 0


def test_an_old_triple_is_refused(run, take):
    cameras = run(limits=Limits())
    cameras.report()
    now = time.monotonic_ns()
    triple, reason = cameras.latest(now + 10**9)
    assert triple is None
    assert reason


@pytest.mark.parametrize("trigger", ["line", "first"])
def test_a_trigger_line_needs_clocks_which_emulated_cameras_lack(folders, trigger):
    cameras = BaslerCameras(CameraSettings(SERIALS, trigger=trigger))
    with pytest.raises(HardwareError, match=r"no clock that can be read.*trigger=software"):
        cameras.open()


def test_closing_and_opening_twice_is_fine(run, take):
    cameras = run()
    cameras.open()
    assert take(cameras, 2)
    cameras.close()
    cameras.close()
    with pytest.raises(HardwareError, match="not open"):
        cameras.latest(time.monotonic_ns())
    assert [
        thread.name for thread in threading.enumerate() if thread.name in (*CAMERAS, "camera trigger")
    ] == []


class Clocked:
    """An emulated camera with a clock of its own, whose frames are on their way for some time."""

    def __init__(self, device, offset_ns: int, drift: float, delay: float) -> None:
        self._device, self._offset, self._drift, self._delay = device, offset_ns, drift, delay
        self.TimestampLatch, self.TimestampLatchValue = self, self
        self._pulses: deque[int] = deque()
        self._under_way: deque[tuple[float, Stamped]] = deque()
        self.Value = 0

    def __getattr__(self, name):
        return getattr(self._device, name)

    def IsWritable(self) -> bool:
        return True

    def Execute(self) -> None:
        self.Value = self.now()

    def now(self) -> int:
        return self._offset + round((1 + self._drift) * time.monotonic_ns())

    def pulse(self) -> None:
        """What comes in on the line: the camera notes its own time."""
        self._pulses.append(self.now())
        self._device.TriggerSoftware.Execute()

    def RetrieveResult(self, *arguments):
        result = self._device.RetrieveResult(*arguments)
        if result.IsValid():
            stamped = Stamped(result, self._pulses.popleft())
            self._under_way.append((time.monotonic() + self._delay, stamped))
        if self._under_way and self._under_way[0][0] <= time.monotonic():
            return self._under_way.popleft()[1]
        return NOTHING


class Stamped:
    def __init__(self, result, stamp: int) -> None:
        self._result, self.TimeStamp = result, stamp

    def __getattr__(self, name):
        return getattr(self._result, name)


NOTHING = SimpleNamespace(IsValid=lambda: False)


def test_frames_of_a_trigger_line_come_together_by_clocks_that_disagree(run, monkeypatch, until, read_tag):
    """The front camera's frames arrive more than a period after the others': arrival says nothing."""
    clocked = []
    planted = iter([(10**12, 5e-5, 0.0), (-(10**11), -5e-5, 0.08), (7, 0.0, 0.0)])

    def attach_clocked(camera):
        clocked.append(Clocked(attach(camera), *next(planted)))
        return clocked[-1]

    monkeypatch.setattr(basler, "attach", attach_clocked)
    cameras = run(trigger="line", rate=20.0)
    pulses, seen = [], {}

    def enough():
        until(lambda: all(device.WaitForFrameTriggerReady(0, 0) for device in clocked))
        begun = time.monotonic_ns()
        for device in clocked:
            device.pulse()
        pulses.append((begun, time.monotonic_ns()))
        time.sleep(0.05)
        triple = cameras.latest(time.monotonic_ns()).triple
        if triple is not None:
            seen[triple.time_ns] = triple
        return len(seen) >= 15

    until(enough)
    for time_ns, triple in seen.items():
        assert len({number for _, number in tags(triple, read_tag)}) == 1
        off = min(max(begun - time_ns, time_ns - ended) for begun, ended in pulses)
        assert off < 5_000_000, "a triple's time is that of a pulse, by the host's clock"
