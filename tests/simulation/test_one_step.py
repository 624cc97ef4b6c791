"""One physics step from the same state, on both engines, over states that random actions lead to."""

import mujoco
import numpy as np
import pytest
import torch
import warp as wp

from dactyl_tl.simulation.engines import make_physics
from dactyl_tl.simulation.scene import build_scene

N, STATES = 64, 20


def contacts(physics, world):
    """Pairs of geoms in contact, as MuJoCo finds them in the state of one simulation, sorted."""
    model, data = physics.materialize(world)
    mujoco.mj_forward(model, data)
    return sorted(map(tuple, data.contact.geom))


def contacts_of_warp(physics):
    """The same, as MuJoCo Warp found them in its last step, for every simulation."""
    count = int(physics._data.nacon.numpy()[0])
    worlds = physics._data.contact.worldid.numpy()[:count]
    geoms = physics._data.contact.geom.numpy()[:count]
    return [sorted(map(tuple, geoms[worlds == world])) for world in range(N)]


@pytest.mark.parametrize("task", ["block", "prism", "block_locked_wrist"])
def test_contacts_and_velocities_agree_after_one_step(task):
    scene = build_scene(task)
    native, warp = (make_physics(engine, scene.model, N) for engine in ("native", "warp"))
    everyone = torch.ones(N, dtype=torch.bool)
    native.forward(everyone)
    low, high = torch.tensor(scene.model.actuator_ctrlrange).T
    errors, alike = [], []
    for _ in range(STATES):
        native.ctrl.copy_(low + (high - low) * torch.rand(N, 20))
        native.step(everyone, 30)
        for name in ("qpos", "qvel"):  # a state that both can hold
            getattr(native, name).copy_(getattr(native, name).float())
        for name in ("qpos", "qvel", "ctrl"):
            getattr(warp, name).copy_(getattr(native, name))
        warm = torch.from_numpy(native._batch.bind("qacc_warmstart"))
        wp.to_torch(warp._data.qacc_warmstart).copy_(warm)
        native.forward(everyone)
        expected = [contacts(native, world) for world in range(N)]
        native.step(everyone, 1)
        warp.step(everyone, 1)
        errors.append((native.qvel - warp.qvel).abs().amax(1))
        alike += [one == other for one, other in zip(expected, contacts_of_warp(warp), strict=True)]
    error = torch.stack(errors).flatten()
    assert np.mean(alike) > 0.995
    assert error.quantile(0.5) < 5e-5  # rad/s or m/s
    assert error.quantile(0.99) < 5e-4
