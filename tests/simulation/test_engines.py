"""What every engine promises: exact to resume, blind to nothing, no simulation felt by another."""

import mujoco
import numpy as np
import pytest
import torch

from dactyl_tl.errors import SimulationError
from dactyl_tl.simulation.engines import make_physics
from dactyl_tl.simulation.native import NativePhysics
from dactyl_tl.simulation.scene import build_scene

N = 6


@pytest.fixture(scope="module")
def scene():
    return build_scene("block")


@pytest.fixture(params=["native", "warp"])
def make(request):
    def build(scene, **options):
        physics = make_physics(request.param, scene.model, N, **options)
        physics.forward(everyone())
        return physics

    return build


def everyone():
    return torch.ones(N, dtype=torch.bool)


def shake(physics, steps, seed=0):
    """A rollout that writes state, fields and timing between steps, as the environment does."""
    g = torch.Generator().manual_seed(seed)
    low, high = torch.tensor(physics.model.actuator_ctrlrange).T
    for t in range(steps):
        physics.ctrl.copy_(low + (high - low) * torch.rand(N, 20, generator=g, dtype=torch.float64))
        physics.field("opt.timestep").copy_(0.008 + 0.001 * torch.rand(N, generator=g, dtype=torch.float64))
        if t == 3:
            one = torch.arange(N) == 2
            physics.reset(one)
            physics.qpos[2, 26] = 0.18
            physics.forward(one)
        physics.step(everyone(), 10)
    return physics


def test_results_do_not_depend_on_threads(scene):
    def native(threads):
        physics = NativePhysics(scene.model, N, threads)
        physics.forward(everyone())
        return physics

    alone, together = shake(native(1), 8), shake(native(3), 8)
    assert torch.equal(alone.state(), together.state())
    assert torch.equal(alone.site_xpos, together.site_xpos)


def test_derived_quantities_belong_to_the_present_state(make, scene):
    physics = shake(make(scene), 5)
    before = physics.site_xpos.clone()
    physics.forward(everyone())
    torch.testing.assert_close(physics.site_xpos, before, rtol=0, atol=0)


def test_only_masked_simulations_move(make, scene):
    physics = make(scene)
    start = physics.qpos.clone()
    mask = torch.arange(N) % 2 == 0
    physics.step(mask, 10)
    moved = (physics.qpos != start).any(dim=1)
    assert torch.equal(moved, mask)


def test_state_and_fields_continue_exactly_elsewhere(make, scene):
    physics = shake(make(scene), 5)
    physics.field("body_mass")[:, scene.object_body] *= torch.linspace(0.5, 1.5, N)
    physics.fields_changed(everyone())
    other = make(scene)
    other.field("body_mass").copy_(physics.field("body_mass"))
    other.field("opt.timestep").copy_(physics.field("opt.timestep"))
    other.fields_changed(everyone())
    other.set_state(physics.state(), everyone())
    assert torch.equal(shake(physics, 4, seed=1).state(), shake(other, 4, seed=1).state())


def test_derived_constants_do_not_depend_on_timestep_or_gravity(make, scene):
    """The environment writes timestep and gravity without fields_changed: nothing may follow from them."""
    physics, other = make(scene), make(scene)
    for engine in (physics, other):
        engine.field("opt.timestep")[:] = 0.0085
        engine.field("opt.gravity")[:, 0] = 0.5
    other.fields_changed(everyone())
    assert torch.equal(shake(physics, 5).state(), shake(other, 5).state())


def test_a_poisoned_simulation_is_reported_until_reset_and_harms_no_other(make, scene):
    physics, healthy = make(scene), make(scene)
    physics.qpos[4] = float("nan")
    for engine in (physics, healthy):
        engine.step(everyone(), 10)
    assert physics.diverged().tolist() == [False] * 4 + [True, False]
    others = torch.arange(N) != 4
    assert torch.equal(physics.qpos[others], healthy.qpos[others])
    physics.reset(~others)
    assert not physics.diverged().any()


def test_an_unchanged_simulation_is_materialized_as_it_is(make, scene):
    physics = shake(make(scene), 3)
    physics.field("body_mass")[4, scene.object_body] = 0.5
    physics.fields_changed(everyone())
    model, data = physics.materialize(4)
    assert model.body_mass[scene.object_body] == 0.5
    assert model.opt.timestep == pytest.approx(float(physics.field("opt.timestep")[4]))
    np.testing.assert_allclose(data.qpos, physics.qpos[4], atol=1e-7)
    np.testing.assert_allclose(data.site_xpos, physics.site_xpos[4], atol=1e-6)
    assert scene.model.body_mass[scene.object_body] != 0.5


def test_constants_are_mujocos(make, scene):
    """Masses and inertias are randomised: what follows from them must be what MuJoCo makes of it."""
    physics = make(scene)
    factors = torch.linspace(0.5, 1.5, N)[:, None]
    physics.field("body_mass").mul_(factors)
    physics.field("body_inertia").mul_(factors[..., None].flip(0))
    physics.fields_changed(everyone())
    for world in range(N):
        got, _ = physics.materialize(world)
        expected, _ = physics.materialize(world)
        mujoco.mj_setConst(expected, mujoco.MjData(expected))
        for name in ("dof_invweight0", "body_invweight0", "tendon_invweight0", "body_subtreemass"):
            np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=2e-6, err_msg=name)


def test_nothing_is_reported_missing_where_all_fits(make, scene):
    shake(make(scene), 5).check()


def test_too_little_memory_says_what_to_lower(scene, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("Failed to allocate 4294967296 bytes on device 'cuda:0'")

    monkeypatch.setattr("mujoco_warp.make_data", fail)
    with pytest.raises(SimulationError, match=r"lower collection.num_envs \(now 6\) or .*max_constraints"):
        make_physics("warp", scene.model, N)


def test_contacts_that_do_not_fit_are_counted_and_raised(scene):
    physics = make_physics("warp", scene.model, N, max_constraints=8)
    with pytest.raises(SimulationError, match=r"Of 6 .*NEFC in 6.*max_constraints \(now 8\)"):
        shake(physics, 5).check()
    physics.reset(everyone())
    physics.check()  # said once
    physics = make_physics("warp", scene.model, N, max_contacts=1)
    with pytest.raises(SimulationError, match=r"max_contacts \(now 1\)"):
        shake(physics, 5).check()
