"""The twin's body: the simulation that policies are trained in, held and let go by an operator."""

import numpy as np
import pytest

from dactyl_tl.envs import make_env
from hardware.capture.rig import FINGERTIP_IDS, REFERENCE_IDS
from hardware.lowlevel.joints import CENTRE, DRIVEN
from hardware.twin.body import Body
from hardware.twin.markers import OBJECT_MARKERS

SHORT = {"steps": 3}


@pytest.fixture(scope="module")
def body() -> Body:
    return Body(initial_states=SHORT)


def positions(body: Body) -> np.ndarray:
    return np.array([body.angles[list(driven)].sum() for driven in DRIVEN])


def test_the_same_seed_is_the_same_state_whatever_happened_before(body):
    body.place(4)
    first = body.data.qpos.copy()
    body.release()
    body.force[:] = 1.0
    for _ in range(20):
        body.step(np.array(CENTRE))
    assert not np.allclose(body.data.qpos, first)
    body.place(5)
    assert not np.allclose(body.data.qpos, first)
    body.place(4)
    assert np.array_equal(body.data.qpos, first)


def test_trials_begin_as_simulated_ones_do(body):
    body.place(11)
    env = make_env("block", num_envs=1, randomization="none", initial_states=SHORT, num_threads=1)
    env.set_seed(11)
    env.reset()
    assert np.array_equal(body.data.qpos, env.physics.qpos[0].numpy())


def test_the_operator_holds_hand_and_object_still(body):
    body.place(4)
    before = body.data.qpos.copy()
    for _ in range(30):
        body.step(np.array(CENTRE))
    assert np.array_equal(body.data.qpos, before)
    assert not body.velocities.any()


def test_servos_move_with_force_and_not_without(body):
    moved = {}
    for force in (0.0, 0.3, 1.0):
        body.place(4)
        body.release()
        body.force[:] = force
        before = positions(body)
        for _ in range(60):
            body.step(np.array(CENTRE))
        towards = np.sign(np.array(CENTRE) - before)
        moved[force] = float(np.mean((positions(body) - before) * towards))
    assert moved[1.0] > 0.2
    assert moved[0.3] <= moved[1.0] + 0.02
    assert moved[0.0] < 0.5 * moved[1.0]


def test_markers_are_where_the_simulation_has_them(body):
    body.place(4)
    seen = body.markers()
    assert set(seen) == {*FINGERTIP_IDS.values(), *REFERENCE_IDS, *OBJECT_MARKERS}
    centre = np.mean([seen[id_] for id_ in OBJECT_MARKERS], axis=0)
    assert np.linalg.norm(centre - body.data.qpos[24:27]) < 0.02
    for id_, place in OBJECT_MARKERS.items():
        assert np.linalg.norm(np.array(seen[id_]) - body.data.qpos[24:27]) == pytest.approx(
            np.linalg.norm(place), abs=1e-9
        )
