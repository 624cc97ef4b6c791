"""Every fault of the simulated system over real sockets, through the adapter that a real one would have."""

import json
import socket
import threading
import time

import mujoco
import numpy as np
import pytest

from dactyl_tl.contract import FINGERS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.objects import OBJECT_BODY
from dactyl_tl.simulation.scene import build_scene
from hardware.capture.phasespace import PhaseSpace
from hardware.capture.tracker import Reading, Tracker
from hardware.capture.tracks import Limits
from hardware.errors import HardwareError
from hardware.twin import owl
from hardware.twin.markers import OBJECT_MARKERS, marker_positions, twin_rig
from hardware.twin.mocap import LAB, MocapServer
from hardware.twin.mocap_faults import Faults, changed, control, set_faults

DEADLINE = 60.0
"""s that a slow machine is given."""

PATIENT = Limits(hold_ns=2_000_000_000)
"""Where it matters what was known before the fault: a machine that stops for a second forgets nothing."""


@pytest.fixture(scope="module")
def simulation():
    model = build_scene("block", hand="calibrated").model
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return data


@pytest.fixture(scope="module")
def places(simulation):
    return marker_positions(simulation, OBJECT_BODY)


@pytest.fixture
def server(places):
    with MocapServer(lambda: places, places) as server:
        yield server


@pytest.fixture
def source(server):
    source = PhaseSpace(server.host, sdk="hardware.twin.owl", patience=DEADLINE)
    yield source
    source.close()


class Watch:
    """A tracker that is fed from a source until something shows."""

    def __init__(self, source, limits=None):
        self.source = source
        self.tracker = Tracker(twin_rig(), limits)
        self.frames = []

    def until(self, condition) -> Reading:
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            self.frames = self.source.poll()
            reading = self.tracker.update(self.frames, time.monotonic_ns())
            if condition(reading):
                return reading
            time.sleep(0.01)
        raise AssertionError(f"not seen within {DEADLINE} s; the last reading is {reading}")


@pytest.fixture
def watch(source):
    watch = Watch(source)
    watch.until(sound)
    return watch


def sound(reading: Reading) -> bool:
    return reading.lost == () and reading.held == ()


def held_or_lost(*names):
    return lambda reading: set(names) == set(reading.held) | set(reading.lost)


def fails(source, match):
    with pytest.raises(HardwareError, match=match):
        poll_until_it_fails(source)
    with pytest.raises(HardwareError):
        source.poll()


def poll_until_it_fails(source):
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        source.poll()
        time.sleep(0.01)


def test_fingertips_and_object_of_the_simulation_come_back_through_the_wire(watch, simulation):
    reading = watch.until(sound)
    truth = np.array([simulation.site(f"marker:{finger}").xpos for finger in FINGERS]) - MOUNT_POSITION
    np.testing.assert_allclose(reading.fingertips, truth, atol=1e-9)
    body = simulation.body(OBJECT_BODY)
    np.testing.assert_allclose(reading.object_position, body.xpos - MOUNT_POSITION, atol=1e-9)
    np.testing.assert_allclose(np.abs(reading.object_orientation @ body.xquat), 1.0, atol=1e-9)


def test_frames_hold_metres_in_the_systems_frame_and_count_up(watch, places):
    watch.until(lambda reading: len(watch.frames) > 1)
    first, second = watch.frames[:2]
    assert second.sequence > first.sequence
    assert second.device_time > first.device_time
    assert second.received_ns >= first.received_ns
    assert set(first.markers) == set(places)
    np.testing.assert_allclose(first.markers[8].position, LAB.apply(places[8]), atol=1e-9)
    assert first.markers[8].quality > 0.0


def test_frequency_is_the_systems(places):
    with MocapServer(lambda: places, places) as server:
        source = PhaseSpace(server.host, sdk="hardware.twin.owl", frequency=60.0, patience=DEADLINE)
        frames = []
        while len(frames) < 30:
            frames += source.poll()
            time.sleep(0.01)
        source.close()
    steps = np.diff([frame.device_time for frame in frames])
    assert np.median(steps[1:]) == pytest.approx(1.0 / 60.0, rel=0.2)


@pytest.mark.parametrize("finger", ["ff", "th"])
def test_occlusion(watch, server, finger):
    id_ = watch.tracker.rig.fingertips[finger]
    set_faults(server.port, Faults(occluded=(id_,)))
    reading = watch.until(lambda reading: reading.lost == (finger,))
    assert reading.rejected == 0
    set_faults(server.port, Faults())
    watch.until(sound)


def test_coordinates_that_are_no_numbers(watch, server):
    set_faults(server.port, Faults(nan=(1, 9)))
    reading = watch.until(lambda reading: reading.lost == ("mf",))
    assert np.isfinite(reading.fingertips).all()
    assert np.isfinite(reading.object_position).all()


def test_swapped_ids(source, server):
    watch = Watch(source, PATIENT)
    watch.until(sound)
    set_faults(server.port, Faults(swapped=((0, 1), (8, 9))))
    reading = watch.until(lambda reading: reading.lost == ("ff", "mf"))
    np.testing.assert_allclose(reading.object_position, [0.0, -0.38, 0.05], atol=1e-6)
    set_faults(server.port, Faults())
    watch.until(sound)


def test_ghost_of_a_fingertip_and_of_nothing(source, server, places):
    watch = Watch(source, PATIENT)
    watch.until(sound)
    set_faults(server.port, Faults(ghosts={3: tuple(places[3] + (0.0, 0.0, 0.08)), 77: (1.0, 1.0, 1.0)}))
    reading = watch.until(lambda reading: "lf" in reading.lost)
    np.testing.assert_allclose(reading.fingertips[3], places[3] - MOUNT_POSITION, atol=1e-9)
    assert reading.rejected > 0


@pytest.mark.parametrize("faults", [Faults(stalled=True), Faults(frozen=True)])
def test_freeze(watch, server, faults):
    set_faults(server.port, faults)
    reading = watch.until(lambda reading: "stream" in reading.lost)
    assert reading.stream_age_ns > 50_000_000
    set_faults(server.port, Faults())
    watch.until(sound)


def test_silence_is_a_lost_connection(server):
    source = PhaseSpace(server.host, sdk="hardware.twin.owl", patience=0.5)
    server.faults = Faults(stalled=True)
    fails(source, "no frame for")
    source.close()


def test_delay(watch, server):
    set_faults(server.port, Faults(delay=0.2))
    reading = watch.until(
        lambda reading: (
            bool(watch.frames) and reading.lost == ("stream",) and reading.stream_age_ns > 150_000_000
        )
    )
    assert reading.stream_age_ns > 150_000_000


def test_loss_of_frames(watch, server):
    set_faults(server.port, Faults(loss=0.7))
    watch.source.poll()
    at = server.sent
    frames = []
    deadline = time.monotonic() + DEADLINE
    while server.sent < at + 300 and time.monotonic() < deadline:
        frames += watch.source.poll()
        time.sleep(0.01)
    sequence = [frame.sequence for frame in frames]
    assert sequence == sorted(set(sequence))
    assert 0.15 < len(frames) / (server.sent - at) < 0.5
    watch.until(sound)


def test_duplication(watch, server):
    set_faults(server.port, Faults(duplicated=2))
    watch.until(
        lambda reading: any(
            a.sequence == b.sequence for a, b in zip(watch.frames, watch.frames[1:], strict=False)
        )
    )
    assert watch.until(sound).rejected == 0


def test_noise(watch, server):
    set_faults(server.port, Faults(noise=0.0005))
    reading = watch.until(lambda reading: 0.0 < reading.object_residual < 0.003)
    assert reading.base_residual < 0.003
    set_faults(server.port, Faults(noise=0.01))
    watch.until(lambda reading: "base" in reading.lost)


def test_garbage_costs_frames_and_no_more(watch, server, source):
    set_faults(server.port, Faults(garbage=0.5))
    watch.until(lambda reading: source.damaged > 20)
    set_faults(server.port, Faults())
    assert watch.until(sound).rejected == 0


def test_cut_connection(watch, server, source):
    control(server.port, {"type": "cut"})
    fails(source, "connection is lost")
    again = PhaseSpace(server.host, sdk="hardware.twin.owl", patience=DEADLINE)
    Watch(again).until(sound)
    again.close()


def test_crash(watch, server, source):
    control(server.port, {"type": "crash"})
    fails(source, "connection is lost")
    with pytest.raises(HardwareError, match="check its address"):
        PhaseSpace(server.host, sdk="hardware.twin.owl")
    with pytest.raises(HardwareError, match="does not answer"):
        set_faults(server.port, Faults())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_whose_positions_fail_is_gone(places):
    broken = threading.Event()

    def positions():
        if broken.is_set():
            raise SystemExit
        return places

    with MocapServer(positions, places) as server:
        source = PhaseSpace(server.host, sdk="hardware.twin.owl", patience=DEADLINE)
        Watch(source).until(sound)
        broken.set()
        fails(source, "connection is lost")
        source.close()


def test_missing_sdk_says_what_to_install():
    with pytest.raises(HardwareError, match="libowl2"):
        PhaseSpace("127.0.0.1", sdk="no_such_module_of_phasespace")


def test_a_session_that_its_master_ends(watch, server, source):
    control(server.port, {"type": "end"})
    fails(source, "ended by its master")


def test_closing_twice_and_polling_after_is_clear(source):
    source.close()
    source.close()
    fails(source, "closed")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"type": "faults", "set": {"gremlins": 1}}, "unknown faults"),
        ({"type": "faults", "set": {"delay": "long"}}, "could not convert"),
        ({"type": "faults", "set": {"swapped": [1]}}, "faults"),
        ({"type": "explode"}, "unknown message"),
        ({}, "KeyError"),
    ],
)
def test_control_messages_that_mean_nothing_are_refused(server, message, reason):
    with pytest.raises(HardwareError, match=reason):
        control(server.port, message)
    assert server.faults == Faults()


def test_a_control_message_changes_what_it_names():
    faults = changed(Faults(noise=0.1), {"ghosts": {"7": [1, 2, 3]}, "occluded": [4]})
    assert faults == Faults(noise=0.1, ghosts={7: (1.0, 2.0, 3.0)}, occluded=(4,))
    with pytest.raises(ConfigurationError, match="choose of"):
        changed(faults, {"": 0})


def test_a_server_that_says_nothing_times_out():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        context = owl.Context()
        host = f"127.0.0.1:{listener.getsockname()[1] - owl.PORT}"
        with pytest.raises(owl.OWLError, match="did not answer"):
            context.open(host, "timeout=200000")
        assert not context.isOpen()


def test_owl_pops_the_oldest_event_first_and_waits_no_longer_than_told(server):
    context = owl.Context()
    context.open(server.host)
    assert context.nextEvent(1000) is None
    context.initialize()
    context.streaming(1)
    times = []
    while len(times) < 20:
        event = context.nextEvent(1_000_000)
        assert event is not None
        if event.type_id == owl.Type.FRAME:
            assert "markers" in event
            times.append(event.time)
    assert times == sorted(times)
    context.close()
    with pytest.raises(owl.OWLError):
        context.streaming(1)


def test_wire_is_json_lines(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b'{"type": "streaming", "value": 1}\n')
        lines = connection.makefile("rb")
        messages = [json.loads(next(lines)) for _ in range(4)]
    frame = next(message for message in messages if message["type"] == "frame")
    assert [each[0] for each in frame["markers"]] == [*range(8), *OBJECT_MARKERS]
