"""What a randomised parameter of Table 1 does to the world."""

from functools import partial

import mujoco
import numpy as np
import pytest
import torch

from dactyl_tl.contract import ACTUATORS, JOINTS
from dactyl_tl.randomization.physics import MINIMUM_JOINT_RANGE, PhysicsFields, ordered_limits
from dactyl_tl.randomization.physics import PhysicsRandomization as Ranges
from dactyl_tl.simulation.engines import make_physics
from dactyl_tl.simulation.scene import build_scene

LOW, HIGH = 0, 1  # the two simulations of each world: parameter low, parameter high
BOTH = torch.ones(2, dtype=torch.bool)


@pytest.fixture(params=["native", "warp"])
def world(request):
    """Makes two simulations that differ in the given parameters, everything else nominal."""
    return partial(make_world, request.param)


def make_world(engine, task="block", **values):
    scene = build_scene(task)
    physics = make_physics(engine, scene.model, 2)
    nominal = Ranges().sample(2, len(scene.link_bodies), 0.0, torch.Generator())
    for name, pair in values.items():
        shape = nominal[name].shape[1:]
        nominal[name] = torch.stack([torch.as_tensor(v, dtype=torch.float32).expand(shape) for v in pair])
    PhysicsFields(scene, physics).write(nominal)
    physics.fields_changed(BOTH)
    physics.forward(BOTH)
    return scene, physics


def lift(physics):
    """Take the object out of the hand, high into the air."""
    physics.qpos[:, 26] = 3.0
    physics.forward(BOTH)


def rest_on_the_palm(physics):
    """The object laid flat on the middle of the palm; the wrist holds still."""
    physics.field("dof_damping")[:, :2] = 1e5
    physics.qpos[:, 24:31] = torch.tensor([1.0, 0.92, 0.18, 1, 0, 0, 0]).to(physics.qpos)
    physics.qvel.zero_()
    physics.forward(BOTH)
    physics.step(BOTH, 60)


def contact_force(scene, physics, which):
    """Total normal force on the object, N."""
    model, data = physics.materialize(which)
    mujoco.mj_forward(model, data)
    total, force = 0.0, np.zeros(6)
    for i, contact in enumerate(data.contact):
        if set(contact.geom) & set(scene.object_geoms.tolist()):
            mujoco.mj_contactForce(model, data, i, force)
            total += force[0]
    return total


def test_a_heavier_object_falls_the_same_but_presses_more(world):
    scene, physics = world(object_mass=(0.5, 1.5))
    lift(physics)
    physics.step(BOTH, 20)
    torch.testing.assert_close(physics.qvel[LOW, 26], physics.qvel[HIGH, 26], rtol=0.05, atol=0)
    rest_on_the_palm(physics)
    light, heavy = (contact_force(scene, physics, which) for which in (LOW, HIGH))
    weight = scene.model.body_mass[scene.object_body] * 9.81
    assert light == pytest.approx(0.5 * weight, rel=0.25)
    assert heavy / light == pytest.approx(3.0, rel=0.25)


@pytest.mark.parametrize("task", ["block", "prism"])
def test_a_larger_object_rests_higher(world, task):
    scene, physics = world(task, object_dimensions=(0.95, 1.05))
    rest_on_the_palm(physics)
    half_height = scene.model.geom_size[scene.object_geoms[0], 2]
    height = physics.qpos[:, 26] - physics.xpos[:, scene.palm_body, 2]
    assert (height[HIGH] - height[LOW]).item() == pytest.approx(0.1 * half_height, rel=0.15)


def test_inertia_follows_mass_and_size(world):
    scene, physics = world(object_mass=(0.5, 1.5), object_dimensions=(0.95, 1.05))
    inertia = physics.field("body_inertia")[:, scene.object_body, 0]
    nominal = scene.model.body_inertia[scene.object_body, 0]
    torch.testing.assert_close(
        inertia,
        nominal * torch.tensor([0.5 * 0.95**2, 1.5 * 1.05**2]).to(inertia),
        rtol=1e-6,
        atol=0,
    )


def test_heavier_links_sag_further(world):
    _, physics = world(link_masses=(0.5, 1.5))
    lift(physics)
    physics.step(BOTH, 60)
    sag = physics.qpos[:, JOINTS.index("WRJ0")].abs()
    assert sag[HIGH] > 1.5 * sag[LOW]


def test_a_slippery_object_slides_where_a_rough_one_stays(world):
    # Nominal friction is 1: a pull of one weight sideways lies between 0.7 and 1.3.
    _, physics = world(surface_friction=(0.7, 1.3))
    rest_on_the_palm(physics)
    start = physics.qpos[:, 24].clone()
    physics.field("opt.gravity")[:, 0] = 9.81
    physics.step(BOTH, 15)
    slid = (physics.qpos[:, 24] - start).abs()
    assert slid[LOW] > 0.005
    assert slid[LOW] > 2 * slid[HIGH]


def test_a_damped_joint_moves_more_slowly(world):
    _, physics = world(joint_damping=(0.3, 3.0))
    physics.ctrl[:, ACTUATORS.index("FFJ3")] = 0.3
    physics.step(BOTH, 5)
    angle = physics.qpos[:, JOINTS.index("FFJ3")]
    assert angle[LOW] > 1.5 * angle[HIGH] > 0


def test_a_stronger_gain_holds_more_firmly(world):
    _, physics = world(actuator_gain=(0.75, 1.5))
    lift(physics)
    physics.step(BOTH, 80)  # against gravity, target zero
    sag = physics.qpos[:, JOINTS.index("WRJ0")].abs()
    assert (sag[LOW] / sag[HIGH]).item() == pytest.approx(2.0, rel=0.1)


def test_a_joint_stops_at_its_randomised_limit(world):
    shift = torch.zeros(24, 2)
    shift[JOINTS.index("FFJ2"), 1] = -0.5
    _, physics = world(joint_limits=(torch.zeros(24, 2), shift))
    physics.ctrl[:, ACTUATORS.index("FFJ2")] = 1.57
    lift(physics)
    physics.step(BOTH, 60)
    angle = physics.qpos[:, JOINTS.index("FFJ2")]
    assert angle[LOW].item() == pytest.approx(1.571, abs=0.1)
    assert angle[HIGH].item() == pytest.approx(1.071, abs=0.1)


def test_crossing_limits_keep_a_little_room():
    limits = ordered_limits(torch.tensor([[0.3, 0.1], [-0.2, 0.4]]))
    torch.testing.assert_close(
        limits[0], 0.2 + torch.tensor([-0.5, 0.5]) * MINIMUM_JOINT_RANGE, atol=1e-6, rtol=0
    )
    torch.testing.assert_close(limits[1], torch.tensor([-0.2, 0.4]))


def test_gravity_pulls_as_sampled(world):
    _, physics = world(gravity=((0, 0, 0), (0.4, 0, -0.4)))
    lift(physics)
    physics.step(BOTH, 10)
    velocity = physics.qvel[HIGH, 24:27] - physics.qvel[LOW, 24:27]
    torch.testing.assert_close(velocity, 0.08 * torch.tensor([0.4, 0, -0.4]).to(velocity), atol=1e-3, rtol=0)
