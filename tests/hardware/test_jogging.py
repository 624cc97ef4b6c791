"""``jog``: what a person is told to expect is what the model does, and a jog on the simulated hand."""

import argparse
from contextlib import contextmanager

import mujoco
import numpy as np
import pytest

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.simulation.scene import build_scene
from hardware.capture.rig import FINGERTIP_IDS
from hardware.jogging import NAMES, chosen, configure, expected_motion, jog, run
from hardware.lowlevel.hand import DryHand
from hardware.lowlevel.joints import ACTUATORS, JOINTS
from hardware.twin.markers import marker_positions
from tests.hardware.lowlevel.loops import Loop

JOINT = {joint.name: index for index, joint in enumerate(JOINTS)}

THUMBS_SIDE = np.array([-1.0, 0.0, 0.0])
PALM_FACES = np.array([0.0, 0.0, 1.0])
ALONG_FINGERS = np.array([0.0, -1.0, 0.0])

MEANINGS = {
    "towards the thumb's side": THUMBS_SIDE,
    "towards the palm": PALM_FACES,
    "into the palm": PALM_FACES,
    "to where the palm faces": PALM_FACES,
    "curls at its two outer joints": PALM_FACES,
    "towards the back of the hand": -PALM_FACES,
    "outwards, away from the fingers": (THUMBS_SIDE - ALONG_FINGERS) / np.sqrt(2.0),
    "straightens": THUMBS_SIDE,  # a bent tip lies towards the fingers
}
"""Words of an expected motion -> where the fingertip goes, in the hand-base frame."""

BENT = {"THJ4": {"THJ0": -0.8}, "THJ0": {"THJ0": -0.8}}
"""Where the joints stand to begin with, where not at zero: a straight thumb's tip hardly moves."""


@pytest.fixture(scope="module")
def model():
    return build_scene("block", hand="calibrated").model


def tip(model, finger: str, angles) -> np.ndarray:
    data = mujoco.MjData(model)
    data.qpos[: len(JOINTS)] = angles
    mujoco.mj_kinematics(model, data)
    return marker_positions(data, "")[FINGERTIP_IDS[finger]]


@pytest.mark.parametrize("index", range(20), ids=NAMES)
def test_what_is_expected_of_a_positive_motion_is_what_the_model_does(model, index):
    name = NAMES[index]
    finger = "mf" if name.startswith("WR") else name[:2].lower()
    angles = np.zeros(len(JOINTS))
    for joint, angle in BENT.get(name, {}).items():
        angles[JOINT[joint]] = angle
    before = tip(model, finger, angles)
    for joint in ACTUATORS[index].joints:
        angles[JOINT[joint]] += np.radians(8.0) / len(ACTUATORS[index].joints)
    moved = tip(model, finger, angles) - before
    said = expected_motion(index)
    meant = [direction for words, direction in MEANINGS.items() if words in said]
    assert len(meant) >= 1, said
    for direction in meant:
        assert moved @ direction > 0.8 * np.linalg.norm(moved) > 0.0008, (said, moved)


SUBJECTS = {
    "WR": "the hand", "FF": "the first finger", "MF": "the middle finger", "RF": "the ring finger",
    "LF": "the little finger", "TH": "the thumb",
}  # fmt: skip


@pytest.mark.parametrize("index", range(20), ids=NAMES)
def test_the_right_finger_is_named(index):
    assert expected_motion(index).startswith(SUBJECTS[NAMES[index][:2]])


def test_actuators_are_chosen_by_name_all_or_those_in_doubt():
    assert chosen("FFJ2") == [NAMES.index("FFJ2")]
    assert chosen("all") == list(range(20))
    doubted = {NAMES[index] for index in chosen("uncertain")}
    assert doubted == {"FFJ3", "MFJ3", "RFJ3", "LFJ3", "THJ4", "THJ2", "THJ1"}


@pytest.mark.parametrize("degrees", [6.0, -4.0, 30.0])
def test_a_jog_goes_there_and_back_within_the_range(degrees):
    """WRJ1 ends at 8 degrees."""
    loop = Loop(DryHand())
    try:
        with loop.client() as client:
            client.arm(0.4, 1.0)
            asked, moved = jog(client, 0, degrees)
            assert asked == pytest.approx(min(degrees, 8.0))
            assert moved == pytest.approx(asked, abs=0.3)
            assert client.jog(0, 0.0).report.goals[0] == pytest.approx(0.0)
            client.disarm()
    finally:
        loop.close()


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("degrees", ["0", "21", "-25", "nan"])
def test_a_jog_too_far_is_refused(degrees):
    with pytest.raises(ConfigurationError, match=r"--degrees is .*; it must be up to 20, either way"):
        run(parsed("FFJ2", f"--degrees={degrees}"))


def test_a_jog_on_the_simulated_hand(capsys):
    """What the sensors tell and what a person says are compared; the person finds nothing but the truth."""
    asked = []

    def person(question: str) -> str:
        asked.append(question)
        return "y"

    assert run(parsed("THJ3", "--degrees=10", "--force=1"), person) == 0
    said = capsys.readouterr().out
    assert "THJ3 by +10 degrees: the thumb rises out of the palm's plane" in said
    assert "the sensors disagree" not in said
    assert len(asked) == 1
    assert asked[0].strip() == "Is that what you saw? [y/n]"


def test_what_a_person_did_not_see_is_named(capsys, monkeypatch):
    """On a dry hand, whose sensors always agree."""
    loop = Loop(DryHand())

    @contextmanager
    def here(_):
        with loop.client() as client:
            yield client, None

    monkeypatch.setattr("hardware.jogging.open_session", here)
    answers = iter(["y", "n"])
    monkeypatch.setattr("hardware.jogging.chosen", lambda _: [2, 3])
    try:
        assert run(parsed("uncertain", "--degrees=3"), lambda _: next(answers)) == 1
    finally:
        loop.close()
    said = capsys.readouterr().out
    assert "Not as they should be: FFJ2. Signs stand in hardware/lowlevel/joints.py." in said
