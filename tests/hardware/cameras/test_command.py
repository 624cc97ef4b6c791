"""``python -m hardware cameras``, as a person runs it."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dactyl_tl.contract import CAMERAS
from hardware.__main__ import main
from hardware.cameras.devices import connected
from hardware.cameras.frames import Triple
from hardware.cameras.settings import CameraSettings, read_settings, write_settings
from hardware.cameras.sheet import contact_sheet

SERIALS = ("0815-0000", "0815-0001", "0815-0002")


@pytest.fixture
def command(capsys):
    """``command(*arguments)``: exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["cameras", *arguments])
        return code, *capsys.readouterr()

    return run


def test_the_sheet_shows_each_picture_and_what_the_network_sees_of_it(frame):
    triple = Triple(tuple(frame(camera, 0.5 * number, 7) for number, camera in enumerate(CAMERAS)))
    sheet = contact_sheet(triple)
    for number, shown in enumerate(triple.frames):
        left = 8 + number * 648
        part = sheet[30:510, left : left + 640]
        inside = np.s_[1:-1, 81:559]  # of the outline of what the network sees
        assert np.array_equal(part[inside], shown.picture[inside])
        assert np.array_equal(part[:, :80], shown.picture[:, :80])
    crop = sheet[30 + 480 + 8 + 30 :, 8:208]
    assert np.array_equal(crop[:200], np.asarray(_square(triple.frames[0].picture)))


def _square(picture):
    return Image.fromarray(picture[:, 80:560]).resize((200, 200), Image.Resampling.BOX)


class TestWithEmulatedCameras:
    @pytest.fixture(autouse=True)
    def _pylon(self):
        pytest.importorskip("pypylon", reason="pypylon is not installed (pip install pypylon)")

    def test_what_is_connected_is_tried_and_written_down(self, tmp_path, command):
        sheet, settings = tmp_path / "sheet.png", tmp_path / "cameras.json"
        code, told, errors = command(
            "--triples", "5", "--sheet", str(sheet), "--write-settings", str(settings)
        )
        assert code == 0, errors
        for serial in SERIALS:
            assert f"Emulation {serial}" in told
        assert "which is a guess" in told
        assert "5 triples," in told
        assert Image.open(sheet).size == (3 * 648 + 8, 756 + 8)
        assert read_settings(settings).cameras == dict(zip(CAMERAS, SERIALS, strict=True))
        code, told, errors = command("--triples", "2", "--sheet", str(sheet), "--settings", str(settings))
        assert code == 0, errors
        assert "guess" not in told

    def test_an_estimator_is_tried_on_the_pictures(self, tmp_path, command):
        code, told, errors = command(
            "--triples", "2", "--sheet", str(tmp_path / "s.png"), "--estimator", "block"
        )
        assert code == 0, errors
        assert "object at [" in told

    def test_a_person_runs_it_as_a_module(self, tmp_path):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "hardware",
                "cameras",
                "--triples",
                "2",
                "--sheet",
                str(tmp_path / "s.png"),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "s.png").is_file()

    @pytest.mark.parametrize("count", [0, 2])
    def test_too_few_cameras_are_an_error(self, command, monkeypatch, count):
        found = connected()[:count]
        monkeypatch.setattr("hardware.cameras.command.connected", lambda: found)
        code, _, errors = command()
        assert code == 3
        assert errors.startswith(f"error: {count} cameras are connected")

    def test_cameras_that_stay_silent_are_an_error_that_says_which(
        self, command, monkeypatch, tmp_path, texture
    ):
        """The left one repeats its only picture."""
        monkeypatch.setattr("hardware.cameras.command.SILENCE_SECONDS", 1.0)
        (tmp_path / "left").mkdir()
        Image.fromarray(texture).save(tmp_path / "left" / "only.bmp")
        settings = CameraSettings(
            dict(zip(CAMERAS, SERIALS, strict=True)), emulated={CAMERAS[0]: str(tmp_path / "left")}
        )
        write_settings(tmp_path / "cameras.json", settings)
        code, _, errors = command("--settings", str(tmp_path / "cameras.json"))
        assert code == 3
        assert "no pictures for 1 s: camera:left has shown nothing new for" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--triples", "1"], "--triples=1"),
        (["--estimator", "nobody"], "nobody holds no pose estimator"),
        (["--settings", "/nowhere.json"], "cannot be read"),
        (["--twin", "tcp://10.0.0.1:1"], "must be on this machine"),
    ],
)
def test_settings_that_cannot_be_used(command, arguments, words):
    code, _, errors = command(*arguments)
    assert code == 2
    assert errors.startswith("error: ")
    assert words in errors
