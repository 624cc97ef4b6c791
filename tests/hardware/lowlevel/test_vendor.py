"""The vendor's topics, names and messages, without what carries them."""

import math
import time

import pytest

from hardware.lowlevel.hand import HandError
from hardware.lowlevel.joints import ACTUATORS, JOINTS
from hardware.lowlevel.vendor import SIDES, VendorHand, force_topics, trajectory_topics
from tests.hardware.lowlevel.vendors import joint_states

ACTUATOR = {actuator.name: index for index, actuator in enumerate(ACTUATORS)}
JOINT = {joint.name: index for index, joint in enumerate(JOINTS)}


class Memory:
    """Carries messages within this program: the third kind of carrier."""

    def __init__(self) -> None:
        self.callbacks, self.kinds, self.published, self.waiting = {}, {}, [], []
        self.closed = False

    def subscribe(self, topic, kind, callback):
        self.callbacks[topic], self.kinds[topic] = callback, kind

    def advertise(self, topic, kind):
        self.kinds[topic] = kind
        return lambda message: self.published.append((topic, message))

    def deliver(self, topic, message):
        self.waiting.append((topic, message))

    def poll(self):
        waiting, self.waiting = self.waiting, []
        for topic, message in waiting:
            self.callbacks[topic](message)

    def close(self):
        self.closed = True


@pytest.fixture
def carrier():
    return Memory()


@pytest.fixture
def hand(carrier):
    return VendorHand("memory", carrier)


def diagnostics(*temperatures, key="Temperature"):
    return {
        "status": [
            {"name": f"motor {n}", "level": 0, "values": [{"key": key, "value": value}]}
            for n, value in enumerate(temperatures)
        ]
    }


# Names


@pytest.mark.parametrize("side", SIDES)
def test_topics_and_kinds_are_the_vendors(side):
    carrier = Memory()
    VendorHand("memory", carrier, side)
    fingers = ("ff", "mf", "rf", "lf")
    forces = [f"{finger}j{n}" for finger in fingers for n in (0, 3, 4)]
    forces += ["lfj5", "wrj1", "wrj2", *(f"thj{n}" for n in range(1, 6))]
    assert {topic: kind for topic, kind in carrier.kinds.items() if kind != "std_msgs/Float64"} == {
        "/joint_states": "sensor_msgs/JointState",
        "/calibrated": "std_msgs/Bool",
        "/diagnostics": "diagnostic_msgs/DiagnosticArray",
        f"/{side}_trajectory_controller/command": "trajectory_msgs/JointTrajectory",
        f"/{side}_wr_trajectory_controller/command": "trajectory_msgs/JointTrajectory",
    }
    assert {topic for topic, kind in carrier.kinds.items() if kind == "std_msgs/Float64"} == {
        f"/sh_{side}_{name}_position_controller/max_force_factor" for name in forces
    }
    assert len(force_topics(side)) == len(forces) == 20


def test_trajectory_controllers_take_22_finger_joints_and_2_of_the_wrist():
    (_, fingers), (_, wrist) = trajectory_topics("rh")
    assert len(fingers) == 22
    assert set(wrist) == {"WRJ1", "WRJ2"}
    expected = {f"{finger}J{n}" for finger in ("FF", "MF", "RF", "LF") for n in (1, 2, 3, 4)}
    expected |= {"LFJ5", *(f"THJ{n}" for n in range(1, 6))}
    assert set(fingers) == expected


def test_force_topics_are_in_the_order_of_the_actuators():
    topics = force_topics("rh")
    assert topics[ACTUATOR["FFJ1"]] == "/sh_rh_ffj0_position_controller/max_force_factor"
    assert topics[ACTUATOR["WRJ0"]] == "/sh_rh_wrj1_position_controller/max_force_factor"
    assert topics[ACTUATOR["THJ0"]] == "/sh_rh_thj1_position_controller/max_force_factor"


# What is sent


def test_targets_become_two_trajectories_of_one_point(hand, carrier):
    targets = [0.0] * 20
    for name, target in {"WRJ1": 0.1, "WRJ0": -0.2, "FFJ3": 0.3, "FFJ1": 1.2, "THJ0": -0.7}.items():
        targets[ACTUATOR[name]] = target
    hand.write(targets)
    sent = dict(carrier.published)
    assert list(sent) == ["/rh_trajectory_controller/command", "/rh_wr_trajectory_controller/command"]
    angles = {}
    for message in sent.values():
        (point,) = message["points"]
        assert len(point["positions"]) == len(message["joint_names"])
        assert message["header"]["stamp"] == {"secs": 0, "nsecs": 0}
        assert point["time_from_start"] == {"secs": 0, "nsecs": 5_000_000}
        assert point["velocities"] == point["accelerations"] == point["effort"] == []
        angles.update(zip(message["joint_names"], point["positions"], strict=True))
    expected = {"rh_WRJ2": 0.1, "rh_WRJ1": -0.2, "rh_FFJ4": 0.3, "rh_FFJ2": 0.6, "rh_FFJ1": 0.6,
                "rh_THJ1": 0.7}  # fmt: skip
    assert {name: angle for name, angle in angles.items() if angle} == pytest.approx(expected)
    assert len(angles) == 24


def test_force_goes_to_every_actuator(hand, carrier):
    hand.limit(0.25)
    assert dict(carrier.published) == {topic: {"data": 0.25} for topic in force_topics("rh")}


# What is read


def test_nothing_is_known_before_the_first_message(hand, carrier):
    assert hand.read() is None
    carrier.deliver("/calibrated", {"data": True})
    assert hand.read() is None


def test_angles_come_back_in_our_order_and_sign(hand, carrier):
    angles = [0.01 * (index + 1) for index in range(24)]
    message = joint_states(angles)
    message["velocity"] = [10.0 * value for value in message["position"]]
    assert message["position"][JOINT["THJ0"]] < 0, "the vendor's sign"
    before = time.monotonic_ns()
    carrier.deliver("/joint_states", message)
    reading = hand.read()
    assert before <= reading.measured_ns <= time.monotonic_ns()
    assert reading.angles == pytest.approx(angles)
    assert reading.velocities == pytest.approx([10.0 * angle for angle in angles])
    assert not reading.calibrated
    assert math.isnan(reading.temperature)


def test_the_order_of_names_is_of_no_matter_and_other_joints_are_left_out(hand, carrier):
    message = joint_states([0.01 * index for index in range(24)])
    for name in ("name", "position", "velocity"):
        message[name] = message[name][::-1]
    message["name"] = ["ra_elbow_joint", *message["name"], "a"]
    message["position"] = [9.0, *message["position"], 9.0]
    message["velocity"] = [9.0, *message["velocity"], 9.0]
    carrier.deliver("/joint_states", message)
    assert hand.read().angles == pytest.approx([0.01 * index for index in range(24)])


@pytest.mark.parametrize(("side", "expected"), [("rh", 0.1), ("lh", 0.2)])
def test_two_hands_in_one_message_are_not_confused(side, expected):
    carrier = Memory()
    hand = VendorHand("memory", carrier, side)
    right, left = joint_states([0.1] * 24), joint_states([0.2] * 24, side="lh")
    both = {name: right[name] + left[name] for name in ("name", "position", "velocity", "effort")}
    for message in (right | both, right | {name: values[::-1] for name, values in both.items()}):
        message["header"]["stamp"]["secs"] += 1
        carrier.deliver("/joint_states", message)
        assert hand.read().angles == (expected,) * 24
    other = left if side == "rh" else right
    measured = hand.read().measured_ns
    carrier.deliver("/joint_states", joint_states([0.3] * 24, 9, "lh" if side == "rh" else "rh"))
    carrier.deliver("/joint_states", other | {"header": {"stamp": {"secs": 8, "nsecs": 0}}})
    assert hand.read().angles == (expected,) * 24
    assert hand.read().measured_ns == measured


def test_a_stream_that_repeats_itself_ages(hand, carrier):
    carrier.deliver("/joint_states", joint_states([0.1] * 24, 5))
    first = hand.read()
    carrier.deliver("/joint_states", joint_states([0.2] * 24, 5))
    assert hand.read() == first
    carrier.deliver("/joint_states", joint_states([0.2] * 24, 6))
    assert hand.read().measured_ns > first.measured_ns
    assert hand.read().angles == (0.2,) * 24


def test_a_stream_that_repeats_itself_ages_although_an_arm_speaks_between(hand, carrier):
    frozen = joint_states([0.1] * 24, 5)
    arm = {"header": {"stamp": {"secs": 5, "nsecs": 0}}, "name": ["ra_elbow"], "position": [1.0]}
    carrier.deliver("/joint_states", frozen)
    first = hand.read()
    for second in range(6, 9):
        arm["header"]["stamp"]["secs"] = second
        carrier.deliver("/joint_states", dict(arm, velocity=[]))
        carrier.deliver("/joint_states", frozen)
        assert hand.read() == first


@pytest.mark.parametrize("none", [None, math.nan])
def test_what_is_no_number_is_nan(hand, carrier, none):
    message = joint_states([0.1] * 24)
    message["position"][3] = none
    carrier.deliver("/joint_states", message)
    angles = hand.read().angles
    assert math.isnan(angles[3])
    assert [angle for angle in angles if not math.isnan(angle)] == [0.1] * 23


def test_joint_states_without_velocities_are_an_error_that_says_so(hand, carrier):
    carrier.deliver("/joint_states", joint_states() | {"velocity": []})
    with pytest.raises(HandError, match="no velocities"):
        hand.read()


def test_calibration_follows_what_is_told_last(hand, carrier):
    carrier.deliver("/joint_states", joint_states())
    for told in (True, False, True):
        carrier.deliver("/calibrated", {"data": told})
        assert hand.read().calibrated is told


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (("31.5", "44.25", "30"), 44.25),
        (("31.5", "nan", "40"), 40.0),
        (("n/a", "", "40"), 40.0),
        (("nan", "unknown"), math.nan),
        (("inf",), math.inf),
    ],
)
def test_the_hottest_motor_counts(hand, carrier, told, expected):
    carrier.deliver("/joint_states", joint_states())
    carrier.deliver("/diagnostics", diagnostics("20.0"))
    carrier.deliver("/diagnostics", diagnostics(*told))
    assert hand.read().temperature == pytest.approx(expected, nan_ok=True)


def test_diagnostics_without_temperatures_change_nothing(hand, carrier):
    carrier.deliver("/joint_states", joint_states())
    carrier.deliver("/diagnostics", diagnostics("33.0"))
    carrier.deliver("/diagnostics", diagnostics("90.0", key="CPU load"))
    carrier.deliver("/diagnostics", {"status": []})
    assert hand.read().temperature == 33.0


def test_closing_the_hand_closes_what_carries_its_messages(hand, carrier):
    hand.close()
    assert carrier.closed
