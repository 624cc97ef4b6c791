"""The pose script on a hand with dynamics, from its first target to a calibration."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.scene import build_scene
from hardware.calibration.joint_sensors_fit import Priors, fit_joint_sensors
from hardware.calibration.joint_sensors_kinematics import FingertipKinematics
from hardware.calibration.joint_sensors_poses import OPEN_HAND, pose_script, recorded_targets
from hardware.calibration.joint_sensors_recording import PERIOD, ROWS, SPEED, Sample, duration, record_poses
from hardware.calibration.joint_sensors_simulated import Planted, SimulatedHand
from hardware.calibration.recording import MOVING
from hardware.errors import HardwareError
from hardware.lowlevel.joints import JOINTS


class Dynamics:
    """A hand in MuJoCo, with wrong Hall sensors and motion capture, for which waiting is simulating."""

    def __init__(self) -> None:
        self.hall = SimulatedHand(Planted(), FingertipKinematics(), np.random.default_rng(0))
        self.scene = build_scene()
        self.model, self.data = self.scene.model, mujoco.MjData(self.scene.model)
        self.model.geom_contype[self.scene.object_geoms] = 0
        self.model.geom_conaffinity[self.scene.object_geoms] = 0
        self.rng = np.random.default_rng(1)
        self.sent: list[tuple[float, tuple[float, ...]]] = []
        self.sighted = True

    def send(self, targets: tuple[float, ...]) -> None:
        self.sent.append((self.data.time, targets))
        self.data.ctrl[:] = targets

    def wait(self, seconds: float) -> None:
        until = self.data.time + seconds - 1e-9
        while self.data.time < until:
            self.data.qpos[24:27], self.data.qvel[24:] = (0.0, 0.0, -50.0), 0.0
            mujoco.mj_step(self.model, self.data)

    def sample(self) -> Sample:
        mujoco.mj_kinematics(self.model, self.data)
        tips = self.data.site_xpos[self.scene.fingertip_sites] - MOUNT_POSITION
        raw = self.hall.raw(self.data.qpos[None, :24])[0] + self.rng.normal(0.0, 2.0, 26)
        return Sample(
            int(1e9 * self.data.time),
            raw,
            tips + self.rng.normal(0.0, 0.001, (5, 3)),
            np.full(5, self.sighted),
        )

    def record(self, steps):
        return record_poses(
            steps,
            self.hall.factory.sensors,
            start=OPEN_HAND,
            send=self.send,
            sample=self.sample,
            wait=self.wait,
        )


def test_a_hand_that_does_not_quite_reach_its_targets_is_calibrated_all_the_same():
    hand = Dynamics()
    steps = pose_script(80)
    recording = hand.record(steps)
    # The wrist sags under the hand's weight, so targets are not angles; only sensors and markers count.
    poses = recording.held_poses()
    held = hand.hall.best.angles(poses.raw)
    assert np.degrees(np.abs(held[:, 1] - recorded_targets(steps)[:, 1])).max() > 1.5
    fit = fit_joint_sensors(FingertipKinematics(), hand.hall.factory, poses, Priors())
    others = hand.hall.angles(recorded_targets(pose_script(60, seed=1)))

    def errors(calibration):
        return np.degrees(np.abs(calibration.angles(hand.hall.raw(others)) - others)).mean(axis=0)

    before, after = errors(hand.hall.factory), errors(fit.calibration)
    # The model's tendon makes coupled joints flex alike, which hides them and the proximal joint.
    coupled = np.array(
        [joint.name.endswith(("J0", "J1")) and joint.name[:2] not in ("WR", "TH") for joint in JOINTS]
    )
    assert before[~coupled].mean() > 2.0
    assert after[~coupled].mean() < 0.5
    assert after[coupled].mean() < 0.8 * before[coupled].mean()


def test_the_way_is_slow_and_arrives():
    hand = Dynamics()
    steps = pose_script(5)
    recording = hand.record(steps)
    targets = [targets for _, targets in hand.sent]
    path = np.array([OPEN_HAND, *targets])
    assert np.abs(np.diff(path, axis=0)).max() <= SPEED * PERIOD * (1 + 1e-9)
    for step in steps:
        assert step.targets in targets
    numbers, counts = np.unique(recording.pose, return_counts=True)
    assert numbers.tolist() == [MOVING, 0, 1, 2, 3, 4]
    assert (counts[1:] == ROWS).all()
    assert duration(steps, OPEN_HAND) == pytest.approx(hand.data.time, rel=0.3)


def test_a_blind_motion_capture_ends_it_early():
    hand = Dynamics()
    hand.sighted = False
    with pytest.raises(HardwareError, match="no fingertip in poses 0 to 4"):
        hand.record(pose_script(40))
