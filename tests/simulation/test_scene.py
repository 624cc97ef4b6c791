"""The compiled model against its sources."""

import copy

import mujoco
import numpy as np
import pytest

from dactyl_tl.contract import ACTUATORS, COUPLED, FINGERS, JOINTS, PHYSICS_TIMESTEP
from dactyl_tl.simulation.hand import (
    CALIBRATED_ACTUATORS,
    CALIBRATED_JOINTS,
    COUPLED_DIFFERENCE_RANGE,
    LOCKED_WRIST,
)
from dactyl_tl.simulation.scene import CAMERA_DISTANCE, TASKS, build_scene

HANDS = ("gymnasium_robotics", "calibrated")


@pytest.fixture(scope="module")
def scene():
    return build_scene("block")


def test_contract_covers_the_hand():
    assert (len(JOINTS), len(ACTUATORS), len(FINGERS)) == (24, 20, 5)
    assert set(ACTUATORS) | set(COUPLED.values()) == set(JOINTS)


@pytest.mark.parametrize("task", TASKS)
def test_state_is_sixty_dimensional(task):
    """App. C.1: joint angles and velocities, object pose (as a rotation: 6) and velocities."""
    model = build_scene(task).model
    assert (model.nq, model.nv, model.nu) == (24 + 7, 24 + 6, 20)
    assert 2 * model.nv == 60
    assert model.opt.timestep == PHYSICS_TIMESTEP == 0.008


def test_no_target_body_and_no_hidden_object(scene):
    names = {scene.model.body(i).name for i in range(scene.model.nbody)}
    assert "target" not in names
    free = [j for j in range(scene.model.njnt) if scene.model.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE]
    assert len(free) == 1


def test_no_pair_of_geoms_collides_twice(scene):
    model = scene.model
    pairs = {frozenset(pair) for pair in zip(model.pair_geom1, model.pair_geom2, strict=True)}
    assert len(pairs) == model.npair == 18


def test_palm_looks_up_and_object_starts_above_it(scene):
    data = mujoco.MjData(scene.model)
    mujoco.mj_forward(scene.model, data)
    palm_normal = -data.xmat[scene.palm_body].reshape(3, 3)[:, 1]
    np.testing.assert_allclose(palm_normal, [0, 0, 1], atol=1e-4)
    assert data.xpos[scene.object_body, 2] > data.xpos[scene.palm_body, 2] + 0.04


def test_calibrated_values_reach_the_model():
    model = build_scene("block", hand="calibrated").model
    for name, want in CALIBRATED_ACTUATORS.items():
        i = model.actuator(f"robot0:A_{name}").id
        assert model.actuator_gainprm[i, 0] == want.kp
        assert model.actuator_biasprm[i, 1] == -want.kp
        assert model.actuator_biasprm[i, 2] == -want.kp * want.derivative_time
        assert tuple(model.actuator_forcerange[i]) == (-want.torque_limit, want.torque_limit)
        assert tuple(model.actuator_ctrlrange[i]) == want.control_range
    for name, want in CALIBRATED_JOINTS.items():
        joint = model.joint(f"robot0:{name}")
        assert joint.damping[0] == want.damping
        assert joint.frictionloss[0] == want.frictionloss
        assert tuple(joint.range) == want.range
        assert joint.stiffness[0] == want.stiffness


@pytest.mark.parametrize("hand", HANDS)
def test_coupled_actuator_drives_the_sum_of_two_joints(hand):
    scene = build_scene("block", hand=hand)
    model, data = scene.model, mujoco.MjData(scene.model)
    actuator = model.actuator("robot0:A_FFJ1").id
    data.qpos[:24] = 0.3
    data.ctrl[actuator] = 0.6  # = J1 + J0: no torque
    mujoco.mj_forward(model, data)
    assert data.actuator_length[actuator] == pytest.approx(0.6)
    assert data.actuator_force[actuator] == pytest.approx(0.0)
    data.ctrl[actuator] = 0.65
    mujoco.mj_forward(model, data)
    torque = data.qfrc_actuator[[model.joint(f"robot0:FFJ{i}").dofadr[0] for i in (1, 0)]]
    assert torque[0] == torque[1] > 0
    np.testing.assert_array_equal(scene.driven.sum(1), [2 if a in COUPLED else 1 for a in ACTUATORS])


def test_distal_joint_never_flexes_further_than_the_middle_one():
    model = build_scene("block").model
    tendon = model.tendon("robot0:T_FFJ1_difference")
    assert tuple(model.tendon_range[tendon.id]) == COUPLED_DIFFERENCE_RANGE
    data = mujoco.MjData(model)
    j0, j1 = model.joint("robot0:FFJ0"), model.joint("robot0:FFJ1")
    data.qpos[j0.qposadr[0]] = 0.8
    for _ in range(100):
        mujoco.mj_step(model, data)
    assert data.qpos[j1.qposadr[0]] > data.qpos[j0.qposadr[0]] - 0.1


def test_locked_wrist_holds_and_the_free_one_sags():
    angles = {}
    for task in ("block", "block_locked_wrist"):
        model = build_scene(task).model
        data = mujoco.MjData(model)
        for _ in range(100):
            mujoco.mj_step(model, data)
        angles[task] = data.qpos[JOINTS.index("WRJ0")]
    assert angles["block_locked_wrist"] == pytest.approx(LOCKED_WRIST, abs=0.01)
    assert abs(angles["block"]) > 0.05


def test_prism_is_an_octagon_of_the_right_mass_and_inertia():
    scene = build_scene("prism")
    model = scene.model
    # Directions in the cross-section: extent of the union of boxes = support function of the octagon.
    corners = []
    for geom in scene.object_geoms:
        half, quat = model.geom_size[geom], model.geom_quat[geom]
        for signs in np.ndindex(2, 2):
            corner = np.zeros(3)
            mujoco.mju_rotVecQuat(corner, np.array([*(half[:2] * (2 * np.array(signs) - 1)), 0.0]), quat)
            corners.append(corner[:2])
    unique = np.unique(np.round(corners, 9), axis=0)
    assert len(unique) == 8
    radius = 0.025 / np.cos(np.pi / 8)
    np.testing.assert_allclose(np.linalg.norm(unique, axis=1), radius)
    area = 8 * 0.025**2 * np.tan(np.pi / 8)
    mass = 567 * area * 0.06
    assert model.body_mass[scene.object_body] == pytest.approx(mass)
    # Inertia by summing a fine grid of the cross-section.
    x, y = np.meshgrid(*[np.linspace(-radius, radius, 1001)] * 2)
    inside = np.ones_like(x, dtype=bool)
    for k in range(8):
        inside &= x * np.cos(k * np.pi / 4) + y * np.sin(k * np.pi / 4) <= 0.025
    polar = mass * (x**2 + y**2)[inside].mean()
    about_x = mass * ((y**2)[inside].mean() + 0.06**2 / 12)
    np.testing.assert_allclose(model.body_inertia[scene.object_body], [about_x, about_x, polar], rtol=2e-3)


def test_cameras_look_at_the_object_from_half_a_metre(scene):
    data = mujoco.MjData(scene.model)
    mujoco.mj_forward(scene.model, data)
    assert scene.model.ncam == 3
    target = data.xpos[scene.object_body]
    for i in range(3):
        offset = target - data.cam_xpos[i]
        assert np.linalg.norm(offset) == pytest.approx(CAMERA_DISTANCE)
        forward = -data.cam_xmat[i].reshape(3, 3)[:, 2]
        np.testing.assert_allclose(forward, offset / np.linalg.norm(offset), atol=1e-6)


def test_visual_scene_has_the_same_state_and_physics(scene):
    visual = build_scene("block", visuals=True).model
    assert (visual.nq, visual.nv, visual.nu) == (scene.model.nq, scene.model.nv, scene.model.nu)
    np.testing.assert_array_equal(visual.body_mass, scene.model.body_mass)
    assert visual.nmesh > scene.model.nmesh


def test_what_is_stripped_hardly_changes_a_trajectory():
    """Over 50 control steps of random targets, 0.02 rad and 1 mm at the median of the hand's joints."""
    rng = np.random.default_rng(0)
    errors = []
    lean, full = build_scene("block").model, build_scene("block", strip=False).model
    assert full.nsensor > lean.nsensor
    assert full.ntendon > lean.ntendon
    for _ in range(5):
        datas = [mujoco.MjData(lean), mujoco.MjData(full)]
        for _ in range(50):
            target = rng.uniform(*lean.actuator_ctrlrange.T)
            for model, data in zip((lean, full), datas, strict=True):
                data.ctrl[:] = target
                mujoco.mj_step(model, data, nstep=10)
        errors.append(np.abs(datas[0].qpos[:24] - datas[1].qpos[:24]))
    assert np.median(errors) < 0.02


def test_solving_without_islands_gives_the_same_trajectory():
    """Over a second of random targets with the block in the hand, within 1e-6 rad and 1e-6 m."""
    rng = np.random.default_rng(0)
    off = build_scene("block").model
    on = copy.copy(off)
    on.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_ISLAND)
    assert on.opt.disableflags != off.opt.disableflags
    for _ in range(10):
        datas = [mujoco.MjData(off), mujoco.MjData(on)]
        touches = 0
        for _ in range(12):
            target = rng.uniform(*off.actuator_ctrlrange.T)
            for model, data in zip((off, on), datas, strict=True):
                data.ctrl[:] = target
                mujoco.mj_step(model, data, nstep=10)
            touches += datas[0].ncon
        assert touches
        np.testing.assert_allclose(datas[0].qpos, datas[1].qpos, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("what", "kwargs"), [("task", {"task": "cube"}), ("hand", {"hand": "allegro"})])
def test_unknown_names_list_the_choices(what, kwargs):
    with pytest.raises(ValueError, match=f"Unknown {what} .*choose one of"):
        build_scene(**kwargs)
