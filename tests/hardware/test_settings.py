"""A laboratory's settings: the files of ``conf/hardware``, and one line for every wrong value."""

import argparse
import math

import pytest
from omegaconf import OmegaConf

from dactyl_tl.config_files import config_directory
from dactyl_tl.errors import ConfigurationError
from hardware.configuration import add_laboratory, laboratories, laboratory_settings
from hardware.lowlevel.backends import BACKENDS
from hardware.lowlevel.sockets import Keys
from hardware.settings import HardwareSettings, read_hardware

FILES = sorted((config_directory() / "hardware").glob("*.yaml"))


def plain(name: str = "twin") -> dict:
    return OmegaConf.to_container(OmegaConf.load(config_directory() / "hardware" / f"{name}.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_is_a_laboratory(path):
    values = plain(path.stem)
    settings = read_hardware(values)
    assert settings.backend in BACKENDS
    for name, value in values.items():
        assert getattr(settings, name) == value
    assert set(values) == set(HardwareSettings.__dataclass_fields__)


def test_a_file_for_every_way_to_a_hand():
    assert laboratories() == [path.stem for path in FILES]
    assert {read_hardware(plain(name)).backend for name in laboratories()} == {"twin", "ros", "rosbridge"}
    real = [read_hardware(plain(name)) for name in laboratories() if name != "twin"]
    assert all(not each.launch and each.operator == "terminal" and each.force < 1.0 for each in real)


WRONG = [
    ("twin", "launch", "maybe", "hardware.launch is 'maybe'; it must be true or false"),
    ("twin", "launch", 1, "hardware.launch is 1; it must be true or false"),
    ("twin", "backend", "moon", "hardware.backend is 'moon'; choose from dry, dry_torques, twin, ros, rosb"),
    ("twin", "backend", "ros", "hardware.launch starts a twin, which hardware.backend=ros does not reach"),
    ("twin", "backend", None, "hardware.backend is None; it must be a word"),
    ("shadow_ros", "requests", None, "hardware.requests is not set"),
    ("shadow_ros", "requests", 5751, "hardware.requests is 5751; it must be a word or null"),
    ("shadow_ros", "conditions", None, "hardware.conditions is not set"),
    ("shadow_ros", "capture", None, "hardware.capture is not set"),
    ("shadow_ros", "rig", None, "hardware.rig is not set"),
    ("shadow_ros", "keys", "a.key_secret", "hardware.keys and hardware.controller_key go together"),
    ("shadow_ros", "controller_key", "a.key", "hardware.keys and hardware.controller_key go together"),
    ("twin", "velocity", 0.0, "hardware.velocity is 0; it must be positive and at most 1000 rad/s"),
    ("twin", "velocity", 1001, "hardware.velocity is 1001; it must be positive and at most 1000 rad/s"),
    ("twin", "velocity", math.nan, "hardware.velocity is nan; it must be positive and at most 1000 rad/s"),
    ("twin", "velocity", "fast", "hardware.velocity is 'fast'; it must be a number"),
    ("twin", "velocity", True, "hardware.velocity is True; it must be a number"),
    ("twin", "force", 0, "hardware.force is 0; it must be positive and at most 1"),
    ("twin", "force", 1.01, "hardware.force is 1.01; it must be positive and at most 1"),
    ("twin", "force", None, "hardware.force is None; it must be a number"),
    ("twin", "cameras", 3, "hardware.cameras is 3; it must be a word or null"),
    ("twin", "operator", "ghost", "hardware.operator is 'ghost'; choose from terminal, twin"),
    ("shadow_ros", "operator", "twin", "hardware.operator=twin needs hardware.launch=true"),
    ("twin", "start", "upright", "hardware.start is 'upright'; choose from flat"),
    ("twin", "start", [0.0] * 19, "hardware.start has 19 values; it must be flat or 20 angles in rad"),
    ("twin", "start", [0.0] * 19 + ["x"], "hardware.start has 20 values; it must be flat or 20 angles"),
    ("twin", "start", [0.0] * 19 + [math.inf], "hardware.start has 20 values; it must be flat or 20 angles"),
    ("twin", "start", 3, "hardware.start is 3; it must be flat, 20 angles in rad or null"),
    ("twin", "dead_man", True, "hardware.dead_man is True; it must be a word or null"),
    ("twin", "display", "no", "hardware.display is 'no'; it must be true or false"),
    ("twin", "display_host", None, "hardware.display_host is None; it must be a word"),
    ("twin", "display_port", 1.5, "hardware.display_port is 1.5; it must be a whole number"),
    ("twin", "display_port", 65536, "hardware.display_port is 65536; it must be 0 to 65535"),
    ("twin", "display_port", -1, "hardware.display_port is -1; it must be 0 to 65535"),
    ("twin", "pictures", None, "hardware.pictures is None; it must be true or false"),
]


@pytest.mark.parametrize(("file", "name", "value", "said"), WRONG)
def test_a_wrong_value_is_one_line_that_names_it_and_what_would_do(file, name, value, said):
    with pytest.raises(ConfigurationError) as refusal:
        read_hardware(plain(file) | {name: value})
    assert str(refusal.value).startswith(said)
    assert "\n" not in str(refusal.value)


def test_every_setting_has_a_wrong_value_above():
    assert {name for _, name, _, _ in WRONG} == set(HardwareSettings.__dataclass_fields__)


def test_unknown_and_missing_settings_are_named():
    with pytest.raises(ConfigurationError, match=r"unknown setting hardware\.colour; choose from launch, "):
        read_hardware(plain() | {"colour": "red"})
    values = plain()
    del values["force"]
    with pytest.raises(ConfigurationError, match=r"hardware\.force is missing"):
        read_hardware(values)


def test_numbers_and_poses_become_what_they_mean():
    settings = read_hardware(plain() | {"force": 1, "start": list(range(20))})
    assert (settings.force, type(settings.force)) == (1.0, float)
    assert settings.starting_pose == tuple(float(n) for n in range(20))
    assert read_hardware(plain() | {"start": "flat"}).starting_pose == (0.0,) * 20
    assert read_hardware(plain()).starting_pose is None


def test_keys_are_those_of_this_machine_and_the_controller():
    assert read_hardware(plain()).client_keys is None
    values = plain("shadow_ros") | {"keys": "us.key_secret", "controller_key": "it.key"}
    assert read_hardware(values).client_keys == Keys("us.key_secret", "it.key")


# On a command line


def test_a_command_line_names_a_laboratory_and_departs_from_it():
    assert laboratory_settings([]) == read_hardware(plain())
    found = laboratory_settings(["hardware.force=0.25", "hardware=shadow_ros", "hardware.rig=here.json"])
    assert found == read_hardware(plain("shadow_ros") | {"force": 0.25, "rig": "here.json"})
    pose = ",".join(["0.1"] * 20)
    assert laboratory_settings([f"hardware.start=[{pose}]"]).starting_pose == (0.1,) * 20
    assert laboratory_settings(["hardware.start=null"]).start is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["force=1"], "force=1 is no setting; write hardware=NAME or hardware.KEY=VALUE"),
        (["hardware"], "hardware is no setting"),
        (["hardware=moon"], "hardware is 'moon'; choose from shadow_ros, shadow_rosbridge, twin"),
        (["hardware.moon=1"], "unknown setting hardware.moon; choose from"),
        (["hardware.force=much"], "hardware.force is 'much'; it must be a number"),
        (["hardware.start=[1,2"], "start=[1,2 cannot be read: it is no YAML"),
    ],
)
def test_a_wrong_command_line_is_one_line(words, said):
    with pytest.raises(ConfigurationError) as refusal:
        laboratory_settings(words)
    assert str(refusal.value).startswith(said)
    assert "\n" not in str(refusal.value)


def test_the_help_names_the_laboratories():
    parser = argparse.ArgumentParser()
    add_laboratory(parser)
    assert "shadow_ros, shadow_rosbridge, twin (twin)" in " ".join(parser.format_help().split())
