"""``doctor`` on a simulated laboratory, and on one that is not there."""

import json
import os

import pytest

from hardware.__main__ import main
from hardware.capture.rig import Rig, save_rig
from hardware.configuration import laboratory_settings
from hardware.doctor import examine
from hardware.twin.laboratory import Ports
from tests.processes import assert_none_left, descendants

TIMING = {"real time", "round trip", "conditions"}
"""Findings that depend on what else this machine does."""


def test_on_the_simulated_laboratory_everything_is_well():
    before = descendants(os.getpid())
    findings = {each.what: each for each in examine(laboratory_settings([]), ["block_none"], "block")}
    assert list(findings) == [
        "disk", "policy block_none", "estimator block", "controller", "joint table", "real time",
        "round trip", "conditions", "joints", "temperature", "well", "motion capture",
    ]  # fmt: skip
    for what, finding in findings.items():
        assert finding.good or what in TIMING, finding
        assert "\n" not in finding.said
    assert findings["policy block_none"].said == "loads; absolute targets"
    assert findings["controller"].said == "backend twin, disarmed"
    assert findings["joints"].said == "all 24 measured, within the vendor's limits"
    assert findings["temperature"].said == "the hottest motor has 35 degrees"
    assert "ticks" in findings["real time"].said
    assert "median" in findings["round trip"].said or not findings["round trip"].good
    assert "frames a second, base fits to 0." in findings["motion capture"].said
    assert_none_left(descendants(os.getpid()) - before)


@pytest.fixture
def rig(tmp_path):
    path = tmp_path / "rig.json"
    save_rig(Rig(), str(path))
    return path


def test_on_a_laboratory_that_is_not_there_it_says_what_to_do(rig, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("hardware.client.CONNECTING", 300_000_000)
    ports = Ports.free()
    (tmp_path / "mine.key_secret").write_text("not a key")
    (tmp_path / "mine.key_secret").chmod(0o644)
    code = main(
        ["doctor", "hardware=shadow_ros", f"hardware.requests={ports.address('requests')}",
         f"hardware.conditions={ports.address('conditions')}", f"hardware.rig={rig}",
         f"hardware.keys={tmp_path / 'mine.key_secret'}", f"hardware.controller_key={tmp_path / 'its.key'}",
         f"hardware.dead_man={tmp_path / 'pedal'}", f"hardware.cameras={tmp_path / 'cameras.json'}",
         "--policy", "nobody", "--pose", "nothing"]
    )  # fmt: skip
    assert code == 1
    lines = capsys.readouterr().out.splitlines()
    failed = {line[6:22].strip(): line[23:] for line in lines if line.startswith("FAIL")}
    assert set(failed) >= {"policy nobody", "estimator nothi", "keys", "pedal", "cameras", "laboratory"} - {
        "estimator nothi"
    }
    assert "chmod 600" in failed["keys"]
    assert "cannot be read" in failed["pedal"]
    assert "cameras.json" in failed["cameras"]
    assert lines[-1].endswith("to mend before the hand is armed.")
    assert any(line.startswith("ok    rig") and "calibrate base" in line for line in lines)
    assert any(line.startswith("ok    disk") for line in lines)


def test_a_controller_and_a_capture_system_that_are_not_there(rig, capsys, monkeypatch):
    monkeypatch.setattr("hardware.client.CONNECTING", 300_000_000)
    ports = Ports.free()
    code = main(
        ["doctor", "hardware=shadow_ros", f"hardware.requests={ports.address('requests')}",
         f"hardware.conditions={ports.address('conditions')}", f"hardware.rig={rig}"]
    )  # fmt: skip
    assert code == 1
    said = capsys.readouterr().out
    assert f"no controller publishes at {ports.address('conditions')}: does it run" in said
    assert "motion capture" in said
    assert "joint table" not in said, "nothing is asked of a controller that is not there"
    assert "2 to mend" in said


@pytest.mark.parametrize(
    ("address", "said"),
    [("tcp://192.0.2.9:5751", "keygen"), ("tcp://127.0.0.1:none", "no address of a controller")],
)
def test_an_address_that_cannot_be_used_is_a_finding(rig, capsys, address, said):
    code = main(["doctor", "hardware=shadow_ros", f"hardware.requests={address}", f"hardware.rig={rig}"])
    assert code == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL"))
    assert line.startswith("FAIL  laboratory")
    assert said in line


def test_a_rig_that_is_none_is_a_finding(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hardware.client.CONNECTING", 300_000_000)
    (tmp_path / "rig.json").write_text(json.dumps({"legs": 4}))
    ports = Ports.free()
    code = main(
        ["doctor", "hardware=shadow_ros", f"hardware.rig={tmp_path / 'rig.json'}",
         f"hardware.conditions={ports.address('conditions')}"]
    )  # fmt: skip
    assert code == 1
    assert any(line.startswith("FAIL  rig") for line in capsys.readouterr().out.splitlines())


def test_a_wrong_setting_is_one_line_and_another_exit_code(capsys):
    assert main(["doctor", "hardware=moon"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: hardware is 'moon'; choose from shadow_ros, shadow_rosbridge, twin\n"
