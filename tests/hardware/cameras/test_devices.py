"""Which camera is which, and how one is set up, with pylon's emulated cameras."""

import subprocess
import sys

import pytest

from dactyl_tl.contract import CAMERAS
from hardware.cameras.devices import (
    EMULATED,
    Connected,
    attach,
    choose,
    configure,
    connected,
    has_clock,
    link,
)
from hardware.cameras.settings import CameraSettings
from hardware.errors import HardwareError

pytest.importorskip("pypylon", reason="pypylon is not installed (pip install pypylon)")

LEFT, FRONT, RIGHT = CAMERAS
SERIALS = {LEFT: "0815-0002", FRONT: "0815-0000", RIGHT: "0815-0001"}


def camera(serial: str, name: str = "") -> Connected:
    return Connected(serial, name, "acA640-750uc", "BaslerUsb", None)


FOUND = [camera("24001", "right"), camera("24002", "left"), camera("24003"), camera("24004", "spare")]


@pytest.fixture
def device():
    device = attach(connected()[0])
    yield device
    device.Close()


def test_pylon_is_imported_when_a_camera_is_asked_for():
    code = "import sys, hardware.cameras.basler, hardware.cameras.command\nsys.exit('pypylon' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_without_pypylon_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypylon", None)
    with pytest.raises(HardwareError, match="pip install pypylon"):
        connected()


def test_the_emulated_cameras_are_found():
    found = connected()
    assert [each.serial for each in found] == ["0815-0000", "0815-0001", "0815-0002"]
    assert {each.kind for each in found} == {EMULATED}


def test_cameras_are_chosen_by_serial_number_or_name_in_our_order():
    chosen = choose({RIGHT: "right", LEFT: "left", FRONT: "24003"}, FOUND)
    assert list(chosen) == list(CAMERAS)
    assert [each.serial for each in chosen.values()] == ["24002", "24003", "24001"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            {LEFT: "left", FRONT: "24009", RIGHT: "right"},
            r"camera:front \(24009\) is not connected.*24004 'spare'",
        ),
        ({LEFT: "left", FRONT: "24002", RIGHT: "right"}, "camera:front .* and camera:left are one camera"),
    ],
)
def test_a_camera_that_is_missing_or_named_twice(names, words):
    with pytest.raises(HardwareError, match=words):
        choose(names, FOUND)


def test_two_cameras_of_one_name_are_not_guessed_at():
    with pytest.raises(HardwareError, match=r"ambiguous: .*24003.*24005"):
        choose(
            {LEFT: "top", FRONT: "left", RIGHT: "right"},
            [*FOUND[:2], camera("24003", "top"), camera("24005", "top")],
        )


def test_what_another_use_has_left_is_put_right(device):
    device.PixelFormat.Value = "Mono8"
    device.GainAuto.Value = device.ExposureAuto.Value = "Continuous"
    device.Gamma.Value = 2.0
    settings = CameraSettings(SERIALS, exposure=0.00321, gain=1.5)
    missing = configure(device, LEFT, settings, EMULATED)
    assert device.PixelFormat.Value == "RGB8Packed"
    assert (device.Width.Value, device.Height.Value) == (640, 480)
    assert device.ExposureTime.Value == pytest.approx(3210)
    assert device.Gain.Value == pytest.approx(1.5, abs=0.01)
    assert device.ExposureAuto.Value == device.GainAuto.Value == "Off"
    assert (device.TriggerMode.Value, device.TriggerSource.Value) == ("On", "Software")
    assert missing == ["BalanceWhiteAuto", "BalanceRatioSelector", "BalanceRatio"]


def test_a_trigger_line_is_set_for_all_cameras(device):
    for name in CAMERAS:
        configure(device, name, CameraSettings(SERIALS, trigger="line", input_line="Line3"), EMULATED)
        assert (device.TriggerMode.Value, device.TriggerSource.Value) == ("On", "Line3")
        assert device.TriggerActivation.Value == "RisingEdge"


def test_the_first_camera_runs_freely_and_puts_out_its_exposure(device):
    settings = CameraSettings(SERIALS, trigger="first", rate=30.0, output_line="Line2")
    configure(device, LEFT, settings, EMULATED)
    assert device.TriggerMode.Value == "Off"
    assert device.AcquisitionFrameRateEnable.Value is True
    assert device.AcquisitionFrameRate.Value == pytest.approx(30.0)
    device.LineSelector.Value = "Line2"
    assert (device.LineMode.Value, device.LineSource.Value) == ("Output", "ExposureActive")
    configure(device, FRONT, settings, EMULATED)
    assert (device.TriggerMode.Value, device.TriggerSource.Value) == ("On", "Line1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gain": 100.0}, "camera:left: Gain=100.0: Value 100.0+ must be smaller than or equal 48"),
        ({"trigger": "line", "input_line": "Line9"}, "camera:left: TriggerSource=Line9"),
    ],
)
def test_a_value_that_a_camera_refuses_is_named_with_what_it_takes(device, change, words):
    with pytest.raises(HardwareError, match=words):
        configure(device, LEFT, CameraSettings(SERIALS, **change), EMULATED)


def test_a_real_camera_may_lack_nothing(device):
    with pytest.raises(HardwareError, match="camera:left has no setting BalanceWhiteAuto"):
        configure(device, LEFT, CameraSettings(SERIALS), "BaslerUsb")


def test_an_emulated_camera_has_neither_a_clock_nor_a_link(device):
    assert not has_clock(device)
    assert link(device) == "unknown"
