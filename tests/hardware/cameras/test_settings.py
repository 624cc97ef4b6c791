"""Settings are refused before any camera is asked."""

import json

import pytest

from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from hardware.cameras.intake import Limits
from hardware.cameras.settings import CameraSettings, read_settings, settings_of, write_settings

NAMES = {"camera:left": "24001", "camera:front": "24002", "camera:right": "24003"}


def test_a_file_comes_back_as_it_was(tmp_path):
    settings = CameraSettings(
        NAMES,
        trigger="first",
        rate=31.7,
        exposure=0.00213,
        gain=0.1,
        white_balance=(1.7, 1.0, 2.3),
        input_line="Line3",
        limits=Limits(age=0.1),
        emulated={"camera:left": "pictures"},
    )
    write_settings(tmp_path / "cameras.json", settings)
    assert read_settings(tmp_path / "cameras.json") == settings


def test_names_alone_suffice():
    settings = settings_of({"cameras": NAMES})
    assert settings.trigger == "software"
    assert settings.limits == Limits(tolerance=0.002, age=0.080)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cameras": {"camera:left": "1", "camera:front": "2"}}, "camera:right"),
        ({"cameras": {**NAMES, "camera:top": "4"}}, "camera:top"),
        ({"cameras": {**NAMES, "camera:left": 24001}}, "24001"),
        ({"cameras": {**NAMES, "camera:left": "24002"}}, "twice"),
        ({"trigger": "magic"}, "software, line, first"),
        ({"rate": 0.0}, "rate=0.0"),
        ({"rate": "fast"}, "rate='fast'"),
        ({"exposure": 0.05}, "exposure=0.05"),
        ({"gain": -1.0}, "gain=-1.0"),
        ({"white_balance": [1, 1]}, "white_balance"),
        ({"white_balance": [1, 0, 1]}, "white_balance"),
        ({"limits": {"tolerance": 0.02}}, "two instants"),
        ({"limits": {"tolerance": 0.002, "old": 1}}, "limits has no old"),
        ({"limits": 3}, "limits must be a mapping"),
        ({"emulated": {"left": "pictures"}}, "emulated names left"),
        ({"gian": 1.0}, "gian"),
    ],
)
def test_what_cannot_be_used_is_named(change, words):
    with pytest.raises(ConfigurationError, match=words):
        settings_of({"cameras": NAMES, **change})


@pytest.mark.parametrize("text", ["{", json.dumps([1, 2])])
def test_a_file_that_holds_no_settings(tmp_path, text):
    path = tmp_path / "cameras.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="cameras' settings"):
        read_settings(path)


def test_the_order_of_the_file_is_not_the_order_of_the_cameras():
    settings = settings_of({"cameras": dict(reversed(NAMES.items()))})
    assert [settings.cameras[name] for name in CAMERAS] == ["24001", "24002", "24003"]
