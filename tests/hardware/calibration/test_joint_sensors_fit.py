"""The calibration of joint sensors: planted errors are recovered on poses that it has not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dactyl_tl.errors import ConfigurationError
from hardware.calibration.joint_sensors import JointCalibration
from hardware.calibration.joint_sensors_check import simulate
from hardware.calibration.joint_sensors_fit import Priors, _Problem, fingertip_errors, fit_joint_sensors
from hardware.calibration.joint_sensors_kinematics import FingertipKinematics
from hardware.calibration.joint_sensors_poses import pose_script, recorded_targets
from hardware.calibration.joint_sensors_simulated import Planted, SimulatedHand
from hardware.lowlevel.joints import JOINTS

NAMES = [joint.name for joint in JOINTS]


@pytest.fixture(scope="module")
def kinematics():
    return FingertipKinematics()


def recorded(kinematics, planted, seed=0, poses=40):
    hand = SimulatedHand(planted, kinematics, np.random.default_rng(seed))
    return hand, hand.record(hand.angles(recorded_targets(pose_script(poses)))).held_poses()


def test_kinematics_has_the_derivatives_of_its_positions(kinematics):
    rng = np.random.default_rng(0)
    angles, offsets = rng.uniform(-0.2, 0.9, (3, 24)), rng.normal(0.0, 0.002, (5, 3))
    positions, by_joints, by_offsets = kinematics.jacobians(angles, offsets)
    for joint in range(24):
        step = np.zeros(24)
        step[joint] = 1e-6
        numeric = (
            kinematics.positions(angles + step, offsets) - kinematics.positions(angles - step, offsets)
        ) / 2e-6
        np.testing.assert_allclose(by_joints[..., joint], numeric, atol=1e-8)
    np.testing.assert_allclose(
        positions, kinematics.positions(angles) + np.einsum("nfij,fj->nfi", by_offsets, offsets), atol=1e-12
    )


def test_the_problem_has_the_derivatives_of_its_residuals(kinematics):
    hand, poses = recorded(kinematics, Planted(placement=0.001, reference=0.001), poses=6)
    problem = _Problem(kinematics, hand.factory, poses, Priors())
    at = np.random.default_rng(0).normal(0.0, 0.05, problem.size)
    _, derivatives = problem(at)
    for i in range(problem.size):
        step = np.zeros(problem.size)
        step[i] = 1e-6
        numeric = (problem(at + step)[0] - problem(at - step)[0]) / 2e-6
        np.testing.assert_allclose(derivatives[:, i], numeric, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_planted_errors_are_recovered_to_half_a_degree_on_other_poses(kinematics, seed):
    """Shifts up to 5 degrees, scales, jitter, curved sensors, 1 mm noise, swapped and lost markers."""
    outcome = simulate(Planted(), seed=seed, kinematics=kinematics)
    assert outcome.before.mean() > 2.0
    assert outcome.after.mean() < 0.5
    assert outcome.after.max() < 2.0
    assert outcome.fingertips_after < 0.2 * outcome.fingertips_before


def test_the_wrist_is_seen_through_all_fingertips(kinematics):
    outcome = simulate(Planted(curved=False), seed=1, kinematics=kinematics)
    assert outcome.after[:2].max() < 0.1
    assert outcome.before[:2].min() > 0.3


def test_more_poses_leave_less(kinematics):
    few = np.mean(
        [simulate(Planted(), seed=s, poses=20, kinematics=kinematics).after.mean() for s in range(3)]
    )
    many = np.mean(
        [simulate(Planted(), seed=s, poses=200, kinematics=kinematics).after.mean() for s in range(3)]
    )
    assert many < 0.7 * few


def test_joints_that_no_fingertip_shows_stay_at_the_factorys_values(kinematics):
    hand, poses = recorded(kinematics, Planted())
    only_first = replace(poses, valid=poses.valid & np.array([True, False, False, False, False]))
    fit = fit_joint_sensors(kinematics, hand.factory, only_first)
    for name, old, new, deviation, prior in zip(
        NAMES, hand.factory.curves, fit.calibration.curves, fit.deviation, fit.prior_deviation, strict=True
    ):
        moved = np.abs(np.subtract(old.angles, new.angles)).max()
        if name.startswith(("WR", "FF")):
            assert moved > np.radians(0.1), name
        else:
            assert moved < 1e-9, name
            np.testing.assert_allclose(deviation, prior, rtol=1e-6)


def test_curves_stay_monotone_whatever_is_measured(kinematics):
    hand, poses = recorded(kinematics, Planted())
    rng = np.random.default_rng(0)
    nonsense = replace(poses, fingertips=rng.permutation(poses.fingertips) + rng.normal(0, 0.03, (40, 5, 3)))
    fit = fit_joint_sensors(kinematics, hand.factory, nonsense, Priors(shift=1.0, step=2.0))
    for old, new in zip(hand.factory.curves, fit.calibration.curves, strict=True):
        assert (np.sign(np.diff(new.angles)) == np.sign(np.diff(old.angles))).all()
    assert fit.seconds < 60.0


def test_swapped_markers_do_not_pull(kinematics):
    hand, poses = recorded(kinematics, Planted(swapped=0.0, lost=0.0), poses=80)
    clean = fit_joint_sensors(kinematics, hand.factory, poses).calibration
    wrong = poses.fingertips.copy()
    wrong[::10, [0, 1]] = wrong[::10, [1, 0]]  # first and middle finger, in every tenth pose
    spoilt = fit_joint_sensors(kinematics, hand.factory, replace(poses, fingertips=wrong)).calibration
    raw = poses.columns(clean.sensors)
    change = np.degrees(np.abs(spoilt.angles(raw) - clean.angles(raw)))
    assert change.mean() < 0.1
    assert change.max() < 1.0


def test_a_misplaced_hand_base_frame_is_found_and_spares_the_joints(kinematics):
    planted = Planted(reference=0.0015)
    hand, poses = recorded(kinematics, planted, seed=4, poses=100)
    fit = fit_joint_sensors(kinematics, hand.factory, poses, Priors(reference=0.0015))
    # About y, the forearm's axis. The wrist turns about the others, and its shift would look the same.
    assert abs(np.degrees(hand.frame.rotation[1])) > 0.5
    assert np.degrees(fit.frame.rotation[1]) == pytest.approx(np.degrees(hand.frame.rotation[1]), abs=0.2)
    trusting = simulate(planted, seed=4, priors=Priors(reference=0.0), kinematics=kinematics)
    finding = simulate(planted, seed=4, priors=Priors(reference=0.0015), kinematics=kinematics)
    assert finding.after.mean() < 0.7 * trusting.after.mean()


def test_markers_that_sit_elsewhere_are_worth_estimating(kinematics):
    """A millimetre of the marker along the tip's path is two degrees of the distal joint."""
    planted = Planted(placement=0.001)
    outcomes = {
        offset: np.mean(
            [
                simulate(planted, seed=s, priors=Priors(offset=offset), kinematics=kinematics).after.mean()
                for s in range(3)
            ]
        )
        for offset in (0.0, 0.001)
    }
    assert outcomes[0.001] < 0.8 * outcomes[0.0]


def test_a_pair_that_always_flexes_alike_hides_the_proximal_joint(kinematics):
    def uncertain(coupling):
        hand, poses = recorded(kinematics, Planted(coupling=coupling, curved=False), poses=120)
        fit = fit_joint_sensors(kinematics, hand.factory, poses, Priors(offset=0.0, reference=0.0))
        return np.degrees(fit.deviation[NAMES.index("FFJ1")].mean())

    assert uncertain("even") > 1.5
    assert uncertain("middle_first") < 1.0


def test_the_stated_uncertainty_is_that_of_the_errors(kinematics):
    """Errors over stated deviations have a mean square of about one where the noise is as assumed."""
    planted = Planted(
        curved=False, frames=1, marker_noise=0.001, pose_noise=0.0, count_noise=0.0, swapped=0.0, blinks=0.0,
        lost=0.0,
    )  # fmt: skip
    ratios = []
    for seed in range(4):
        hand, poses = recorded(kinematics, planted, seed=seed, poses=80)
        fit = fit_joint_sensors(kinematics, hand.factory, poses, Priors(offset=0.0, reference=0.0))
        for true, found, deviation in zip(
            hand.best.curves, fit.calibration.curves, fit.deviation, strict=True
        ):
            ratios.extend(np.subtract(true.angles, found.angles) / deviation)
    assert 0.5 < np.mean(np.square(ratios)) < 1.5


def test_residuals_are_of_seen_fingertips_and_shrink(kinematics):
    hand, poses = recorded(kinematics, Planted())
    fit = fit_joint_sensors(kinematics, hand.factory, poses)
    before = fingertip_errors(kinematics, hand.factory, poses)
    after = fingertip_errors(kinematics, fit.calibration, poses, fit.offsets, fit.frame)
    assert np.isnan(after[~poses.valid]).all()
    assert np.nanmedian(after) < 0.002 < 0.005 < np.nanmedian(before)


def test_a_right_calibration_is_left_as_it_is(kinematics):
    planted = Planted(
        shift=0.0, scale=0.0, jitter=0.0, curved=False, frames=1, count_noise=0.0, marker_noise=0.0,
        pose_noise=0.0, swapped=0.0, blinks=0.0, lost=0.0,
    )  # fmt: skip
    hand, poses = recorded(kinematics, planted)
    fit = fit_joint_sensors(kinematics, hand.factory, poses)
    for old, new in zip(hand.factory.curves, fit.calibration.curves, strict=True):
        np.testing.assert_allclose(new.angles, old.angles, atol=1e-5)


def test_a_recording_without_fingertips_is_refused(kinematics):
    hand, poses = recorded(kinematics, Planted())
    with pytest.raises(ConfigurationError, match="no fingertip is valid"):
        fit_joint_sensors(kinematics, hand.factory, replace(poses, valid=np.zeros_like(poses.valid)))


@pytest.mark.parametrize("bad", [{"marker": 0.0}, {"shift": np.inf}, {"offset": -1.0}, {"step": np.nan}])
def test_priors_that_make_no_sense_are_refused(bad):
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        Priors(**bad)


def test_the_refined_calibration_is_of_the_factorys_sensors_and_readings(kinematics):
    hand, poses = recorded(kinematics, Planted())
    fit = fit_joint_sensors(kinematics, hand.factory, poses)
    assert isinstance(fit.calibration, JointCalibration)
    for old, new in zip(hand.factory.curves, fit.calibration.curves, strict=True):
        assert (new.joint, new.sensors, new.raw) == (old.joint, old.sensors, old.raw)
