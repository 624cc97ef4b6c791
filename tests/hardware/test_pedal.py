"""The dead man's handle, over a FIFO of the kernel's event structs."""

import os
import struct
from contextlib import suppress

import pytest

from dactyl_tl.errors import ConfigurationError
from hardware.errors import HardwareError
from hardware.pedal import Pedal

SYNCHRONISE, KEY, RELATIVE = 0, 1, 2
DOWN, UP, REPEATED = 1, 0, 2
LEFT, RIGHT = 30, 48


def event(kind: int, code: int, value: int) -> bytes:
    """``struct input_event`` of linux/input.h on 64 bits."""
    packed = struct.pack("@qqHHi", 1, 2, kind, code, value)
    assert len(packed) == 24
    return packed


@pytest.fixture
def device(tmp_path):
    """A pedal and the end at which its events are written."""
    path = tmp_path / "event0"
    os.mkfifo(path)
    pedal = Pedal(str(path))
    writer = os.open(path, os.O_WRONLY)
    yield pedal, writer
    for close in (pedal.close, lambda: os.close(writer)):
        with suppress(OSError):
            close()


def send(device, *events) -> bool:
    pedal, writer = device
    os.write(writer, b"".join(event(*each) for each in events))
    return pedal()


def test_it_is_not_pressed_until_it_was_seen_to_go_down(device):
    pedal, _ = device
    assert pedal() is False
    assert send(device, (KEY, LEFT, REPEATED)) is False
    assert send(device, (KEY, LEFT, UP)) is False
    assert send(device, (KEY, LEFT, DOWN), (SYNCHRONISE, 0, 0)) is True
    assert pedal() is True
    assert send(device, (KEY, LEFT, REPEATED)) is True
    assert send(device, (KEY, LEFT, UP), (SYNCHRONISE, 0, 0)) is False
    assert pedal() is False


def test_what_happened_between_two_looks_ends_as_it_ended(device):
    assert send(device, (KEY, LEFT, DOWN), (KEY, LEFT, UP)) is False
    assert send(device, (KEY, LEFT, DOWN), (KEY, LEFT, UP), (KEY, LEFT, DOWN)) is True


def test_any_of_several_keys_holds(device):
    assert send(device, (KEY, LEFT, DOWN), (KEY, RIGHT, DOWN)) is True
    assert send(device, (KEY, LEFT, UP)) is True
    assert send(device, (KEY, RIGHT, UP)) is False


def test_other_events_are_of_no_matter(device):
    assert send(device, (RELATIVE, LEFT, DOWN), (SYNCHRONISE, 0, DOWN)) is False
    assert send(device, (KEY, LEFT, DOWN), (RELATIVE, LEFT, UP)) is True


def test_many_events_are_read_to_the_last(device):
    events = [(KEY, LEFT, DOWN), (KEY, LEFT, UP)] * 500
    assert send(device, *events) is False
    assert send(device, *events, (KEY, RIGHT, DOWN)) is True


def test_events_that_were_lost_may_hide_a_release(device):
    assert send(device, (KEY, LEFT, DOWN)) is True
    assert send(device, (SYNCHRONISE, 3, 0)) is False
    assert send(device, (KEY, LEFT, REPEATED)) is False
    assert send(device, (KEY, LEFT, DOWN)) is True


def test_a_pedal_that_is_unplugged_is_an_error(device):
    pedal, writer = device
    send(device, (KEY, LEFT, DOWN))
    os.close(writer)
    with pytest.raises(HardwareError, match=r"the pedal .*event0 is gone"):
        pedal()


def test_a_device_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"hardware\.dead_man=.*none cannot be read: No such file"):
        Pedal(str(tmp_path / "none"))
