"""The poses that a lab records."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.simulation.scene import build_scene
from hardware.calibration.joint_sensors_poses import (
    OPEN_HAND,
    SelfCollision,
    coverage,
    even,
    middle_first,
    pose_script,
    recorded_targets,
)
from hardware.lowlevel.joints import ACTUATORS, JOINTS, SAFE, positions


@pytest.fixture(scope="module")
def script():
    return pose_script()


def test_the_script_is_always_the_same(script):
    assert pose_script() == script
    assert recorded_targets(script).shape == (120, 20)
    assert pose_script(7) == script[: len(pose_script(7))]


def test_targets_are_safe_and_cover_each_range(script):
    low, high = np.array(SAFE).T
    targets = np.array([step.targets for step in script])
    assert (targets >= low).all()
    assert (targets <= high).all()
    assert min(coverage(script).values()) > 0.97


def test_targets_vary_independently(script):
    """What tells joints apart: no two targets go together."""
    correlation = np.corrcoef(recorded_targets(script).T) - np.eye(len(ACTUATORS))
    assert np.abs(correlation).max() < 0.45
    assert np.abs(correlation).mean() < 0.1


@pytest.mark.parametrize("share", [middle_first, even])
def test_shares_of_coupled_pairs_add_up(script, share):
    targets = recorded_targets(script)
    np.testing.assert_allclose([positions(angles) for angles in share(targets)], targets, atol=1e-12)


def test_the_middle_joint_comes_first():
    targets = np.zeros(20)
    targets[[actuator.name for actuator in ACTUATORS].index("FFJ1")] = math.radians(130)
    angles = dict(zip([joint.name for joint in JOINTS], np.degrees(middle_first(targets)), strict=True))
    assert angles["FFJ1"] == pytest.approx(90)
    assert angles["FFJ0"] == pytest.approx(40)


def test_a_finger_that_leans_on_its_neighbour_is_a_collision_and_one_that_leans_away_is_not():
    collision = SelfCollision()
    first = [joint.name for joint in JOINTS].index("FFJ3")
    angles = np.zeros((2, 24))
    assert collision.free(angles)
    angles[:, first] = math.radians(18), math.radians(-18)
    assert [collision.free(pose) for pose in angles].count(True) == 1


def test_a_simulated_hand_goes_through_it_without_touching_itself():
    """With its dynamics, at 1 rad/s and a second in each pose; of a script that is half as long."""
    scene = build_scene()
    model, data = scene.model, mujoco.MjData(scene.model)
    model.geom_contype[scene.object_geoms] = model.geom_conaffinity[scene.object_geoms] = 0
    here, touching = np.array(OPEN_HAND), 0
    for step in pose_script(60):
        way = np.array(step.targets) - here
        moves = max(int(np.abs(way).max() / model.opt.timestep), 1)
        for i in range(moves + round(1.0 / model.opt.timestep)):
            data.ctrl[:] = here + way * min(1.0, i / moves)
            data.qpos[24:27], data.qvel[24:] = (0.0, 0.0, -50.0), 0.0
            mujoco.mj_step(model, data)
            touching += data.ncon > 0
        here = np.array(step.targets)
    assert touching == 0


def test_more_poses_than_there_are_is_refused():
    with pytest.raises(ConfigurationError, match="1 to 400, not 401"):
        pose_script(401)
    with pytest.raises(ConfigurationError, match="not 0"):
        pose_script(0)
