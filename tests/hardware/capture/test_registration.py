"""Registration finds what was planted and refuses what would make a bad rig, from any source."""

import builtins
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dactyl_tl.contract import FINGERS
from dactyl_tl.errors import FAILED, UNUSABLE, ConfigurationError
from hardware.__main__ import main
from hardware.capture.frames import EndOfRecording
from hardware.capture.markers_command import FULL_NAMES
from hardware.capture.registration import (
    average,
    calibrate_base,
    collect,
    identify_fingertip,
    register_object,
)
from hardware.capture.replay import Recorder, Replay
from hardware.capture.rig import REFERENCE_LAYOUT, Rig, load_rig, save_rig
from hardware.capture.sources import open_source
from hardware.capture.tracker import Tracker
from hardware.errors import HardwareError
from hardware.twin.markers import OBJECT_MARKERS
from hardware.twin.mocap import MocapServer
from hardware.twin.mocap_faults import Faults
from tests.hardware.capture.lab import FINGERTIPS, IDS, LAB, OBJECT, RIG, Scene, pose, show, stream

NOISE = 0.0003
"""m, of every coordinate: three times a good system's."""

SHUFFLED = {finger: id_ for finger, id_ in zip(FINGERS, (3, 0, 4, 1, 2), strict=True)}
"""Which marker the operator put on which finger."""


def noisy(frames, seed=0, sigma=NOISE):
    rng = np.random.default_rng(seed)
    return [
        replace(
            frame,
            markers={
                id_: replace(each, position=each.position + rng.normal(0.0, sigma, 3))
                for id_, each in frame.markers.items()
            },
        )
        for frame in frames
    ]


def flexed(finger: str, time_s: float, amplitude: float = 0.02) -> np.ndarray:
    tips = FINGERTIPS.copy()
    tips[FINGERS.index(finger)] += amplitude * np.sin(25.0 * time_s) * np.array((0.0, 0.6, 0.8))
    return tips


def wiggle(finger: str, first: int = 0, count: int = 120, amplitude: float = 0.02):
    """Frames of one finger that moves alone, with the operator's ids."""
    frames = []
    for number in range(first, first + count):
        places = Scene(flexed(finger, number / 240.0, amplitude)).markers()
        relabelled = {SHUFFLED[name]: places[IDS[name]] for name in FINGERS}
        frames.append(show({**places, **relabelled}, number))
    return noisy(frames, seed=first)


def test_wiggled_fingers_are_found():
    known = {}
    for finger in FINGERS:
        id_, spread, second = identify_fingertip(wiggle(finger), finger, known, RIG.references)
        known[finger] = id_
        assert spread == pytest.approx(0.02 / np.sqrt(2.0), rel=0.1)
        assert second < 0.001
    assert known == SHUFFLED


def test_a_hand_that_rests_or_moves_all_over_tells_nothing():
    with pytest.raises(HardwareError, match="no marker moved by 10 mm"):
        identify_fingertip(wiggle("ff", amplitude=0.005), "ff", {})
    both = [
        replace(a, markers={**a.markers, SHUFFLED["mf"]: b.markers[SHUFFLED["mf"]]})
        for a, b in zip(wiggle("ff"), wiggle("mf"), strict=True)
    ]
    with pytest.raises(HardwareError, match="both moved"):
        identify_fingertip(both, "ff", {})
    with pytest.raises(HardwareError, match="for mf and for ff"):
        identify_fingertip(wiggle("ff"), "ff", {"mf": SHUFFLED["ff"]})
    with pytest.raises(HardwareError, match="none was seen"):
        identify_fingertip([], "ff", {})


def test_the_markers_of_other_things_are_no_fingertips():
    swinging = [
        replace(frame, markers={**frame.markers, 5: frame.markers[SHUFFLED["ff"]]}) for frame in wiggle("ff")
    ]
    assert identify_fingertip(swinging, "ff", {}, others=(5,))[0] == SHUFFLED["ff"]
    with pytest.raises(HardwareError, match="both moved"):
        identify_fingertip(swinging, "ff", {})


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_layout_is_recovered_and_tracks_the_object_elsewhere(seed):
    frames = noisy(stream(1200), seed)
    there = LAB.apply(OBJECT.position)
    known = pose((LAB.rotation * OBJECT.rotation).as_rotvec(), there)
    layout, still = register_object(frames, list(OBJECT_MARKERS), known)
    # The mean of 1200 frames is good to 0.3 / sqrt(1200) = 0.009 mm in each coordinate: five times that.
    for id_, at in layout.items():
        np.testing.assert_allclose(at, OBJECT_MARKERS[id_], atol=0.000045)
    assert np.mean(list(still.scatter.values())) == pytest.approx(NOISE * np.sqrt(3.0), rel=0.05)
    assert set(still.frames.values()) == {1200}
    # Held out: another pose, without noise.
    other = pose((-1.0, 0.4, 2.0), (0.02, -0.4, 0.03))
    frames = stream(5, Scene(object=other))
    reading = Tracker(replace(RIG, object_markers=layout)).update(frames, frames[-1].received_ns)
    assert np.linalg.norm(reading.object_position - other.position) < 0.00005
    turned = Rotation.from_quat(reading.object_orientation, scalar_first=True)
    assert np.rad2deg((turned * other.rotation.inv()).magnitude()) < 0.1


def test_what_moves_or_is_hardly_seen_is_not_averaged():
    drifting = [
        show(Scene(object=pose((0, 0, 0), (0.0, -0.38, 0.00005 * n))).markers(), n) for n in range(200)
    ]
    with pytest.raises(HardwareError, match="marker 8 moved"):
        average(drifting, [0, 8])
    hidden = stream(40) + stream(100, first=40, lost=(9,))
    with pytest.raises(HardwareError, match="marker 9 was seen in 40 of 140"):
        average(hidden, [8, 9])
    with pytest.raises(HardwareError, match="marker 77 was seen in 0"):
        average(stream(100), [77])


def test_a_symmetric_object_is_not_registered():
    square = {20: (0.02, 0.02, 0.0), 21: (-0.02, 0.02, 0.0), 22: (-0.02, -0.02, 0.0), 23: (0.02, -0.02, 0.0)}
    places = {id_: OBJECT.apply(np.array(at)) for id_, at in square.items()}
    with pytest.raises(ConfigurationError, match="look alike"):
        register_object([show(places, number) for number in range(60)], list(square), OBJECT)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_base_is_recovered(seed):
    base = calibrate_base(noisy(stream(1200), seed), RIG)
    assert base.frames == 1200
    assert np.linalg.norm(base.pose.apply(FINGERTIPS) - LAB.apply(FINGERTIPS), axis=1).max() < 0.0002
    np.testing.assert_allclose(base.positions, LAB.apply(np.array(REFERENCE_LAYOUT)), atol=0.000045)
    assert base.residuals.max() < 0.00005


def test_references_in_a_wrong_order_or_place_are_refused():
    a, b, c = RIG.references
    with pytest.raises(HardwareError, match="do not fit their layout"):
        calibrate_base(stream(100), replace(RIG, references=(b, a, c)))
    layout = np.array(REFERENCE_LAYOUT)
    layout[1] += (0.0, 0.02, 0.0)
    with pytest.raises(HardwareError, match="measure where"):
        calibrate_base(stream(100), replace(RIG, reference_layout=layout))
    # First and last exchanged fit perfectly: the layout's triangle has two equal sides.
    with pytest.raises(HardwareError, match=r"marker 0 of ff is \d+ mm from the middle"):
        calibrate_base(stream(100), replace(RIG, references=(c, b, a)))


@pytest.fixture
def session(tmp_path):
    """A recording of an operator's session: each finger for half a second, then the object for one."""
    path = tmp_path / "session.jsonl"
    with Recorder(path, "a test") as recorder:
        frames = [
            frame for i, finger in enumerate(FINGERS) for frame in wiggle(finger, first=121 * i, count=121)
        ]
        for frame in [*frames, *noisy(stream(241, first=605), seed=99)]:
            recorder.write(frame)
    return path


OBJECT_POSE = [str(number) for number in (*OBJECT.position, *OBJECT.quaternion)]


def test_the_commands_make_a_rig_from_a_recording(session, tmp_path, capsys):
    rig_file = str(tmp_path / "rig.json")
    source = f"replay://{session}?paced=0"
    markers = [
        "calibrate",
        "markers",
        "--source",
        source,
        "--rig",
        rig_file,
        "--seconds",
        "0.5",
        "--no-prompt",
    ]
    ids = [str(id_) for id_ in OBJECT_MARKERS]
    assert main([*markers, "--references", "5", "6", "7", "--object", *ids, "--pose", *OBJECT_POSE]) == 0
    told = capsys.readouterr().out
    assert "ff: marker 3, moved 14" in told
    assert "wrong labels would show as 11." in told
    rig = load_rig(rig_file)
    assert rig.fingertips == SHUFFLED
    for id_, at in rig.object_markers.items():
        # 121 frames: base and object are good to some hundredths of a millimetre, 0.2 m from the references.
        np.testing.assert_allclose(at, OBJECT_MARKERS[id_], atol=0.0005)
    assert 0.0004 < rig.figures["object_scatter"] < 0.0006
    assert rig.reference_positions is None
    assert main(["calibrate", "base", "--source", source, "--rig", rig_file, "--seconds", "2"]) == 0
    told = capsys.readouterr().out
    assert "worst marker" in told
    assert "before" not in told
    rig = load_rig(rig_file)
    np.testing.assert_allclose(rig.reference_positions, LAB.apply(np.array(REFERENCE_LAYOUT)), atol=0.0001)
    assert rig.figures["base_residual"] < 0.0001
    assert main(["calibrate", "base", "--source", source, "--rig", rig_file, "--seconds", "2"]) == 0
    assert "0.00 mm rms from where it was calibrated before" in capsys.readouterr().out


def test_the_commands_keep_what_they_are_not_asked_for(session, tmp_path):
    rig_file = tmp_path / "rig.json"
    save_rig(replace(RIG, fingertips=SHUFFLED), rig_file)
    source = f"replay://{session}?paced=0"
    assert main(["calibrate", "base", "--source", source, "--rig", str(rig_file), "--seconds", "1"]) == 0
    rig = load_rig(rig_file)
    assert rig.fingertips == SHUFFLED
    np.testing.assert_array_equal(rig.object_layout, RIG.object_layout)


def test_a_refused_calibration_writes_nothing(session, tmp_path, capsys):
    rig_file = tmp_path / "rig.json"
    source = f"replay://{session}?paced=0"
    base = ["calibrate", "base", "--rig", str(rig_file)]
    assert main([*base, "--source", source]) == UNUSABLE
    assert "calibrate markers" in capsys.readouterr().err
    save_rig(Rig(references=(6, 5, 7)), rig_file)
    before = rig_file.read_bytes()
    assert main([*base, "--source", source, "--seconds", "1"]) == FAILED
    assert "order of their ids" in capsys.readouterr().err
    assert rig_file.read_bytes() == before
    markers = ["calibrate", "markers", "--rig", str(rig_file), "--source", source, "--no-prompt"]
    assert main([*markers, "--seconds", "3"]) == FAILED  # all fingers in one recording
    assert main([*markers, "--pose", "0", "0", "0", "1", "1", "0", "0"]) == UNUSABLE
    assert rig_file.read_bytes() == before


def test_the_command_asks_an_operator_and_calibrates_from_the_simulated_system(tmp_path, monkeypatch, capsys):
    wiggled = [None]
    began = time.monotonic()

    def positions():
        tips = FINGERTIPS if wiggled[0] is None else flexed(wiggled[0], time.monotonic() - began)
        places = Scene(tips, lab=pose((0, 0, 0), (0, 0, 0))).markers()
        return {**places, **{SHUFFLED[name]: places[IDS[name]] for name in FINGERS}}

    def operator(request):
        wiggled[0] = next(
            (finger for finger, name in FULL_NAMES.items() if f"the {name} alone" in request), None
        )
        return ""

    monkeypatch.setattr(builtins, "input", operator)
    rig_file = str(tmp_path / "rig.json")
    with MocapServer(positions, positions()) as server:
        server.faults = Faults(noise=NOISE)
        source = f"phasespace://{server.host}?sdk=hardware.twin.owl&patience=60"
        common = ["--source", source, "--rig", rig_file, "--seconds", "1"]
        ids = [str(id_) for id_ in OBJECT_MARKERS]
        assert main(["calibrate", "markers", *common, "--object", *ids, "--pose", *OBJECT_POSE]) == 0
        assert main(["calibrate", "base", *common]) == 0
    rig = load_rig(rig_file)
    assert rig.fingertips == SHUFFLED
    for id_, at in rig.object_markers.items():
        np.testing.assert_allclose(at, OBJECT_MARKERS[id_], atol=0.0005)
    assert rig.figures["base_residual"] < 0.0003


def test_collecting_ends_with_the_recording_or_when_nothing_comes(session):
    frames = collect(Replay(session, paced=False), 0.25)
    assert frames[-1].device_time - frames[0].device_time == pytest.approx(0.25, abs=0.005)
    replay = Replay(session, paced=False)
    assert len(collect(replay, 1000.0)) == 846
    with pytest.raises(EndOfRecording):
        collect(replay, 1.0)

    with pytest.raises(ConfigurationError, match="more than 0"):
        collect(Replay(session), float("nan"))

    class Silent:
        name = "silence"

        def poll(self):
            return []

        def close(self):
            pass

    with pytest.raises(HardwareError, match="does it stream"):
        collect(Silent(), 0.01)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("kinect://host", "give one of"),
        ("rig.json", "give one of"),
        ("phasespace://", "host is missing"),
        ("phasespace://host?speed=1", "unknown options"),
        ("phasespace://host?frequency=2000", "up to 960 Hz"),
        ("phasespace://host?frequency=nan", "up to 960 Hz"),
        ("phasespace://host?frequency=fast", "frequency='fast'"),
        ("replay:///absent.jsonl", "cannot read the recording"),
        ("replay:///absent.jsonl?paced=yes", "choose 0 or 1"),
        ("vicon://host", "ids=FILE is needed"),
        ("vicon://host?ids=/absent.json", "absent.json"),
        ("optitrack://host?up=x", "choose y or z"),
    ],
)
def test_addresses_that_cannot_be_used(address, reason):
    with pytest.raises(ConfigurationError, match=reason):
        open_source(address)


def test_ids_are_read_from_a_file(tmp_path):
    path = tmp_path / "ids.json"
    path.write_text('{"hand/ff": 0, "hand/th": "4"}')
    with pytest.raises(ConfigurationError, match="whole numbers"):
        open_source(f"vicon://host?ids={path}")
    path.write_text('{"hand/ff": 0}')
    with pytest.raises(HardwareError, match="DataStream SDK"):
        open_source(f"vicon://host?ids={path}")
