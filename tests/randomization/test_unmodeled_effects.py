"""Delay, timing, backlash, marker loss and random forces (App. C.2): what each does."""

import math
from dataclasses import replace

import pytest
import torch

from dactyl_tl import make_env, rotations
from dactyl_tl.contract import ACTUATORS
from dactyl_tl.randomization.actuation import ActuationRandomization, added_time, backlash
from dactyl_tl.randomization.disturbances import RandomForces
from dactyl_tl.randomization.observation_noise import ObservationNoise, fit_frame
from dactyl_tl.randomization.tracking import MarkerLoss, boxes_meet_capsules, boxes_overlap

QUIET = ActuationRandomization(
    additive_uncorrelated=0.0, additive_correlated=0.0, multiplicative_uncorrelated=0.0, delay_probability=0.0
)


def env_with(actuation=QUIET, tracking=None, forces=None, **settings):
    """An environment with the unmodelled effects that a test is about, and no other."""
    env = make_env(
        "block", randomization={"physics": 0.0, "observation_noise": 0.0, "unmodeled": 1.0},
        initial_states={"steps": 0}, **{"num_envs": 2, "goals": {"timeout": 1e6}} | settings,
    )  # fmt: skip
    env._sampler = replace(
        env._sampler,
        actuation=actuation,
        tracking=tracking or MarkerLoss(dropout_rate=0.0, occlusion=False),
        forces=forces or RandomForces(acceleration=0.0),
    )
    env._sensing._sampler = env._sampler
    td = env.reset()
    env.physics.qpos[:, 26] += 3.0  # the object in the air for a second: nothing drops meanwhile
    env.physics.forward(torch.ones(env.batch_size, dtype=torch.bool))
    env._parameters["backlash_rates"].fill_(1e9)
    env._parameters["timing"].zero_()
    return env, td


def act(env, td, bins):
    return env.step(td.set("action", torch.as_tensor(bins).expand(*env.batch_size, 20).clone()))["next"]


def test_a_delayed_actuator_lags_one_step():
    env, td = env_with(actions={"relative": False, "smoothing": 0.0})
    finger = ACTUATORS.index("FFJ2")
    env._parameters["action_delay"][1] = True
    centre = env.physics.model.actuator_ctrlrange[finger].mean()
    controls = []
    for bins in (10, 0, 10):
        td = act(env, td, bins)
        controls.append(env.physics.ctrl[:, finger].clone())
    prompt, delayed = torch.stack(controls, dim=1)
    assert prompt.tolist() == pytest.approx([1.571, 0.0, 1.571], abs=1e-3)
    assert delayed.tolist() == pytest.approx([centre, 1.571, 0.0], abs=1e-3)  # at first nothing was sent


def test_action_noise_has_table_8s_size():
    noise = ActuationRandomization()
    generator = torch.Generator().manual_seed(0)
    still = torch.zeros(20_000, 20)
    one = torch.ones(20_000, 1)
    additive = noise.noisy(still, still, one, generator)
    assert additive.std().item() == pytest.approx(0.05 * 2, rel=0.01)  # 5 % of a range 2 wide
    quiet = ActuationRandomization(additive_uncorrelated=0.0)
    factor = quiet.noisy(still + 1.0, still, one, generator)
    assert factor.mean().item() == pytest.approx(1.0, abs=1e-3)
    assert factor.std().item() == pytest.approx(0.015, rel=0.01)
    bias = torch.full_like(still, 0.3)
    assert torch.equal(noise.noisy(still, bias, 0 * one, generator), bias)


@pytest.mark.parametrize("rate", [1250.0, 10000.0])
def test_added_time_is_exponential(rate):
    rates = torch.full((50_000, 1), rate)
    added = added_time(rates, torch.ones(50_000, 1), torch.Generator().manual_seed(0)).double()
    assert added.mean().item() == pytest.approx(1 / rate, rel=0.02)  # 0.8 ms to 0.1 ms
    assert added.std().item() == pytest.approx(1 / rate, rel=0.03)
    assert (added > 2 / rate).double().mean().item() == pytest.approx(math.exp(-2), rel=0.05)
    assert added.min() >= 0


def test_timing_stretches_the_control_step():
    env, td = env_with(num_envs=64)
    env._parameters["timing"].fill_(1.0)
    env._parameters["timing_rate"].fill_(1250.0)
    elapsed = act(env, td, 5)["elapsed"]
    assert elapsed.min() > 0.08
    assert elapsed.mean().item() == pytest.approx(10 * (0.008 + 0.0008), rel=0.05)
    torch.testing.assert_close(
        env.physics.field("opt.timestep") * 10, elapsed[:, 0].double(), atol=1e-6, rtol=0
    )


def take_up(actions, rate, start=0.0):
    slack = torch.full((1, 20), start)
    rates = torch.full((1, 2, 20), rate)
    results = []
    for action in actions:
        out, slack = backlash(torch.full((1, 20), action), slack, rates, torch.tensor([[0.08]]))
        results.append((round(out[0, 0].item(), 4), round(slack[0, 0].item(), 4)))
    return results


def test_backlash_by_hand():
    # rate 10 1/s: a unit action moves the slack by 0.8 in a control step
    assert take_up([1.0, 1.0, 1.0], rate=10) == [
        (0.0, 0.8),  # 1 to go > 0.8: all swallowed
        (0.75, 1.0),  # 0.2 to go: a quarter of the step is swallowed
        (1.0, 1.0),  # taut
    ]
    # a reversal has the whole slack of 2 to take up: 2.5 steps
    assert take_up([-1.0, -1.0, -1.0, -1.0], rate=10, start=1.0) == [
        (0.0, 0.2), (0.0, -0.6), (-0.5, -1.0), (-1.0, -1.0),
    ]  # fmt: skip
    assert take_up([0.0], rate=10, start=0.3) == [(0.0, 0.3)]


def test_backlash_swallows_a_reversal_in_the_hand():
    env, td = env_with(actions={"relative": False, "smoothing": 0.0})
    env._parameters["backlash_rates"][1] = 10.0
    finger = ACTUATORS.index("FFJ2")
    for _ in range(5):
        td = act(env, td, 10)
    torch.testing.assert_close(env.physics.ctrl[0, finger], env.physics.ctrl[1, finger])
    act(env, td, 0)
    centre = env.physics.model.actuator_ctrlrange[finger].mean()
    assert env.physics.ctrl[0, finger].item() == pytest.approx(0.0, abs=1e-3)
    assert env.physics.ctrl[1, finger].item() == pytest.approx(centre, abs=1e-3)


def test_markers_drop_out_at_the_stated_rate_for_a_second():
    loss, generator = MarkerLoss(), torch.Generator().manual_seed(0)
    n, period = 4000, torch.full((4000, 1), 0.08)
    rate = torch.full((n, 1), 0.2)
    never = torch.zeros(n, 5)
    survived = torch.ones(n, 5, dtype=torch.bool)
    for _ in range(100):  # eight seconds
        survived &= loss.drop(never, rate, period, generator) == 0
    assert survived.float().mean().item() == pytest.approx(0.8**8, abs=0.01)
    lost, lengths = torch.ones(n, 5), torch.zeros(n, 5)
    for _ in range(20):
        lengths += (lost > 0) * 0.08
        lost = loss.drop(lost, 0 * rate, period, generator)
    torch.testing.assert_close(lengths, torch.full((n, 5), 1.04))  # 13 readings of 80 ms
    half = loss.drop(torch.full((n, 5), 0.5), 0 * rate, period, generator)
    torch.testing.assert_close(half, torch.full((n, 5), 0.42))


def test_a_dropped_marker_repeats_its_last_reading():
    env, td = env_with(tracking=MarkerLoss(dropout_rate=1.0 - 1e-9, occlusion=False))
    first = td["policy", "fingertip_positions"].clone()
    td = act(env, td, 10)
    assert torch.equal(td["policy", "fingertip_positions"], first)
    moved = td["privileged", "fingertip_positions"] - first
    assert moved.norm(dim=1).min() > 0.005


def test_an_occluded_marker_freezes_and_the_others_do_not():
    env, td = env_with(tracking=MarkerLoss(dropout_rate=0.0))
    first = td["policy", "fingertip_positions"].unflatten(1, (5, 3)).clone()
    assert not env._sensing._occlusion.occluded().any()
    # Hold the object against the back of the middle finger's nail, whatever the hand does meanwhile.
    everyone = torch.ones(2, dtype=torch.bool)
    step = env.physics.step

    def step_then_put_object_behind_nail(mask, steps):
        step(mask, steps)
        nail = env.physics.site_xpos[:, env.scene.nail_sites[1]]
        axes = env.physics.site_xmat[:, env.scene.nail_sites[1]].unflatten(1, (3, 3))
        env.physics.qpos[:, 24:27] = nail + 0.026 * axes[:, :, 1]  # +y is the back of a finger
        env.physics.qpos[:, 27:31] = rotations.from_matrix(axes)
        env.physics.forward(everyone)

    env.physics.step = step_then_put_object_behind_nail
    td = act(env, td, 6)
    occluded = env._sensing._occlusion.occluded()
    assert occluded[:, 1].all()
    assert not occluded[:, [3, 4]].any()  # the block is wide enough for neighbours, but no wider
    reading = td["policy", "fingertip_positions"].unflatten(1, (5, 3))
    moved = (reading - first).norm(dim=-1)
    assert torch.equal(moved == 0, occluded)


def test_boxes_overlap_like_a_dense_sample_of_points():
    """Against brute force: some point of a fine grid of one box lies in the other."""
    generator = torch.Generator().manual_seed(0)
    n = 400
    centre = torch.zeros(n, 1, 3)
    offset = 0.06 * torch.rand(n, 1, 3, generator=generator) - 0.03
    half_a, half_b = torch.tensor([0.010, 0.004, 0.014]), torch.tensor([0.012, 0.012, 0.012])

    def axes():
        q = rotations.uniform((n, 1), generator)
        return torch.stack([rotations.rotate(q, torch.eye(3)[i].expand(n, 1, 3)) for i in range(3)], -1)

    axes_a, axes_b = axes(), axes()
    found = boxes_overlap(centre, axes_a, half_a, offset, axes_b, half_b)[:, 0, 0]
    grid = torch.cartesian_prod(*[torch.linspace(-1, 1, 41)] * 3)
    points = (grid * half_b) @ axes_b[:, 0].mT + offset
    inside = ((points @ axes_a[:, 0]).abs() <= half_a).all(-1).any(-1)
    assert not (inside & ~found).any()  # never misses
    assert (found != inside).float().mean() < 0.03  # the grid may miss a grazing corner
    assert 0.2 < found.float().mean() < 0.8


def test_boxes_meet_capsules_like_a_dense_sample_of_points():
    generator = torch.Generator().manual_seed(1)
    n, half, radius = 400, torch.tensor([[0.005, 0.002, 0.007]]), torch.tensor([[0.008]])
    q = rotations.uniform((n, 1), generator)
    axes = torch.stack([rotations.rotate(q, torch.eye(3)[i].expand(n, 1, 3)) for i in range(3)], -1)
    middle = 0.05 * torch.rand(n, 1, 1, 3, generator=generator) - 0.025
    half_axis = 0.0125 * rotations.uniform_axis((n, 1, 1), generator)
    found = boxes_meet_capsules(torch.zeros(n, 1, 3), axes, half, middle, half_axis, radius)[:, 0, 0]
    t = torch.linspace(-1, 1, 401)[:, None]
    local = (middle[:, 0] + t * half_axis[:, 0]) @ axes[:, 0]
    gap = (local - torch.clamp(local, -half, half)).norm(dim=-1).min(dim=-1).values
    clear = (gap - radius[0]).abs() > 1e-4  # the stated accuracy
    assert torch.equal(found[clear], (gap <= radius[0])[clear])
    assert clear.float().mean() > 0.95


def test_forces_strike_with_their_probability_scale_with_mass_and_fade():
    forces, generator = RandomForces(), torch.Generator().manual_seed(0)
    n = 100_000
    mass, one = torch.full((n, 1), 0.07), torch.ones(n, 1)
    struck = forces.advance(torch.zeros(n, 3), mass, 0.05 * one, one, generator)
    hit = (struck != 0).any(dim=1)
    assert hit.float().mean().item() == pytest.approx(0.05, abs=0.003)
    assert struck[hit].std().item() == pytest.approx(0.07, rel=0.02)
    faded = forces.advance(struck, mass, 0 * one, one, generator)
    torch.testing.assert_close(faded, 0.99 * struck)


def test_a_random_force_pushes_the_object():
    env, td = env_with(forces=RandomForces(probability=(0.999999, 1.0), acceleration=1.0))
    act(env, td, 5)
    force = env.physics.xfrc_applied[:, env.scene.object_body]
    assert (force[:, :3] != 0).all()
    assert (force[:, 3:] == 0).all()
    assert torch.equal(force[:, :3].float(), env._episode["force"])


def test_uncorrelated_observation_noise_is_table_7s():
    fingertips, position, turn = ObservationNoise().noise(
        torch.ones(50_000, 1), torch.Generator().manual_seed(0)
    )
    assert fingertips.std().item() == pytest.approx(0.002, rel=0.01)
    assert position.std().item() == pytest.approx(0.001, rel=0.01)
    assert turn.std().item() == pytest.approx(0.1, rel=0.01)


def test_noise_of_an_episode_stays_and_noise_of_a_step_does_not():
    env = make_env("block", num_envs=256, initial_states={"steps": 0},
                   randomization={"physics": 0.0, "observation_noise": 1.0, "unmodeled": 0.0})  # fmt: skip
    td = env.reset()
    errors = []
    for _ in range(3):
        td = act(env, td, 5)
        errors.append(td["policy", "object_position"] - td["privileged", "object_position"])
    error = torch.stack(errors)
    within = error.std(dim=0).mean().item()
    across = error.mean(dim=0).std().item()
    assert within == pytest.approx(0.001, rel=0.25)
    assert across > 0.004  # 5 mm correlated, and the misplaced base markers
    angle = rotations.distance(
        td["policy", "relative_target_orientation"], td["privileged", "relative_target_orientation"]
    )
    # sqrt(0.1^2 + 0.1^2) about each axis: mean angle 1.6 times that, and a little from the base markers
    assert angle.mean().item() == pytest.approx(1.6 * math.sqrt(2) * 0.1, rel=0.1)


def test_misplaced_base_markers_move_and_tilt_everything():
    layout = torch.tensor([[0.0, 0.0, 0.0], [0.078, 0.0, 0.0], [0.078, 0.078, 0.0]])
    shift = torch.tensor([0.001, -0.002, 0.003])
    orientation, origin = fit_frame(layout, (layout + shift)[None])
    torch.testing.assert_close(origin, shift[None], atol=1e-6, rtol=0)
    q = rotations.uniform((50,), torch.Generator().manual_seed(0))
    turned = rotations.rotate(q[:, None].expand(-1, 3, -1), layout.expand(50, 3, 3)) + shift
    orientation, origin = fit_frame(layout, turned)
    torch.testing.assert_close(rotations.distance(orientation, q), torch.zeros(50), atol=1e-3, rtol=0)
    torch.testing.assert_close(origin, shift.expand(50, 3), atol=1e-5, rtol=0)


def test_a_misplaced_fingertip_marker_turns_with_the_finger():
    env, td = env_with()
    env._parameters["fingertip_markers"][:, 0] = torch.tensor([0.0, 0.0, 0.003])  # further out
    everyone = torch.ones(2, dtype=torch.bool)
    offsets = []
    for angle in (0.0, 1.5):
        env.physics.qpos[:, 3] = angle  # FFJ2
        env.physics.forward(everyone)
        td = env.reset(td.set("_reset", torch.zeros(2, 1, dtype=torch.bool)))
        from dactyl_tl.envs.observations import StateReader, measure

        state = StateReader(env.scene, env.physics)()
        memory = env._sensing.memory
        seen = measure(
            state, env._parameters["fingertip_markers"], memory["frame_orientation"], memory["frame_origin"]
        )
        offsets.append((seen.fingertips[:, :3] - state.fingertips[:, 0])[0])
    assert offsets[0].norm().item() == pytest.approx(0.003, abs=1e-5)
    assert offsets[1].norm().item() == pytest.approx(0.003, abs=1e-5)
    angle = torch.acos((offsets[0] @ offsets[1]) / 0.003**2)
    assert angle.item() == pytest.approx(1.5, abs=0.01)
