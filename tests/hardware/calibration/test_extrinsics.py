"""Cameras' places from markers: projections by hand and by MuJoCo, and planted cameras found again."""

from __future__ import annotations

import math
from dataclasses import replace

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.randomization.appearance import AppearanceRandomization
from dactyl_tl.rendering.cameras import CameraScene
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.objects import START_POSITION
from hardware.calibration import extrinsics_compare as compare
from hardware.calibration.extrinsics import Camera, camera_of, describe, fit_camera, linear_camera
from hardware.calibration.extrinsics_check import Planted, planted_camera, sight, simulate
from hardware.calibration.extrinsics_command import expected_cameras

PICTURE = (640, 480)
EXACT = Planted(pixel_noise=0.0, marker_noise=0.0, wrong=0.0)


def looking_down() -> Camera:
    """At the origin from above; its axes are the frame's. Focal length 480 pixels."""
    return Camera(np.array([0.0, 0.0, 0.5]), Rotation.identity(), 2 * math.atan(0.5), PICTURE)


def planted(seed, distortion=0.0) -> Camera:
    expected = camera_of(expected_cameras("block")["camera:left"])
    return planted_camera(expected, Planted(distortion=distortion), np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("point", "pixel"),
    [
        ((0, 0, 0), (320, 240)),
        ((0.1, 0, 0), (416, 240)),
        ((0, 0.1, 0), (320, 144)),
        ((0.1, 0, 0.25), (512, 240)),
    ],
)
def test_projection_by_hand(point, pixel):
    np.testing.assert_allclose(looking_down().project([point]), [pixel], atol=1e-9)


def test_distortion_pulls_towards_the_centre_by_the_squared_distance():
    camera = replace(looking_down(), distortion=-0.5)
    # at unit depth 0.2 to the right: 0.2 (1 - 0.5 * 0.04) = 0.196
    np.testing.assert_allclose(camera.project([(0.1, 0, 0)]), [(320 + 480 * 0.196, 240)])


def test_what_is_behind_is_not_seen():
    assert np.isnan(looking_down().project([(0.0, 0.0, 0.6)])).all()


def test_it_projects_as_the_renderers_cameras_do():
    """The bundle's description, read as ours, puts the object's corners where the renderer says."""
    scene = CameraScene("block", physical=False)
    qpos = scene.model.qpos0.copy()
    qpos[-7:] = [1.01, 0.88, 0.19, *Rotation.from_rotvec([0.3, -0.2, 0.5]).as_quat(scalar_first=True)]
    scene.pose(qpos)
    corners = 0.025 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    body = scene.data.body("object")
    points = corners @ body.xmat.reshape(3, 3).T + body.xpos - MOUNT_POSITION
    square = scene.project(corners)
    for name, expected in zip(CAMERAS, square, strict=True):
        camera = camera_of(expected_cameras("block")[name])
        pixels = np.array(PICTURE) / 2 + expected * 240.0  # a square of the picture's height
        np.testing.assert_allclose(camera.project(points), pixels, atol=0.01)


def test_a_description_gives_the_camera_back():
    camera = planted(0, distortion=0.1)
    again = camera_of(describe(camera))
    np.testing.assert_allclose(again.position, camera.position)
    assert (again.rotation.inv() * camera.rotation).magnitude() < 1e-12
    assert again.picture == PICTURE
    assert (again.fov, again.distortion) == pytest.approx((camera.fov, 0.1))


def test_a_description_that_lacks_something_is_refused():
    description = describe(looking_down())
    del description["orientation"]
    with pytest.raises(ConfigurationError, match="orientation"):
        camera_of(description)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        camera_of({**describe(looking_down()), "position": [0.0, math.nan, 0.0]})


@pytest.mark.parametrize("seed", range(5))
def test_the_linear_start_is_exact_for_exact_data(seed):
    true = planted(seed)
    seen = sight(true, 8, EXACT, np.random.default_rng(seed))
    camera = linear_camera(seen.points, seen.pixels, PICTURE)
    np.testing.assert_allclose(camera.position, true.position, atol=1e-6)
    assert (camera.rotation.inv() * true.rotation).magnitude() < 1e-6
    assert camera.fov == pytest.approx(true.fov, abs=1e-6)


def test_exact_data_of_a_distorting_lens_is_fitted_exactly():
    true = planted(1, distortion=-0.2)
    seen = sight(true, 100, EXACT, np.random.default_rng(0))
    fit = fit_camera(seen.points, seen.pixels, PICTURE, distorted=True)
    np.testing.assert_allclose(fit.camera.position, true.position, atol=1e-6)
    assert fit.camera.distortion == pytest.approx(-0.2, abs=1e-5)
    assert fit.held_out.max() < 1e-4


@pytest.mark.parametrize(
    ("known_fov", "position", "rotation", "fov"), [(False, 2.5, 0.1, 0.15), (True, 0.8, 0.1, 1e-9)]
)
def test_planted_cameras_are_found(known_fov, position, rotation, fov):
    """1000 sightings with 0.3 pixels and 0.5 mm of noise, 3 % of them of something else: mm and degrees."""
    errors = [
        error
        for seed in range(3)
        for error in simulate(Planted(), seed=seed, count=1000, known_fov=known_fov)
    ]
    assert len(errors) == 9
    assert max(error.position for error in errors) < position
    assert max(error.rotation for error in errors) < rotation
    assert max(error.fov for error in errors) < fov
    assert max(error.pixels for error in errors) < 1.5


def test_the_noise_is_stated_as_it_is():
    """The errors' mean square over the stated variances is about one."""
    rng = np.random.default_rng(0)
    ratios = []
    for seed in range(12):
        true = planted(seed)
        seen = sight(true, 150, replace(EXACT, pixel_noise=0.5), rng)
        fit = fit_camera(seen.points, seen.pixels, PICTURE)
        ratios.append((fit.camera.fov - true.fov) / fit.fov_deviation)
    assert 0.4 < np.mean(np.square(ratios)) < 2.0


def test_points_in_a_plane_are_refused():
    rng = np.random.default_rng(0)
    camera = looking_down()
    points = np.column_stack((rng.uniform(-0.1, 0.1, (60, 2)), np.full(60, 0.02)))
    with pytest.raises(ConfigurationError, match="in a plane"):
        fit_camera(points, camera.project(points), PICTURE)


def test_pictures_of_something_else_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigurationError, match="no camera explains"):
        fit_camera(rng.uniform(-0.1, 0.1, (60, 3)), rng.uniform(0, 480, (60, 2)), PICTURE)


def test_too_few_points_and_wrong_shapes_are_refused():
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (13, 3))
    with pytest.raises(ConfigurationError, match="13 points are too few"):
        fit_camera(points, looking_down().project(points), PICTURE)
    with pytest.raises(ConfigurationError, match=r"must be \(n, 3\)"):
        fit_camera(points, np.zeros((14, 2)), PICTURE)
    with pytest.raises(ConfigurationError, match="finite"):
        fit_camera(np.full((40, 3), np.nan), np.zeros((40, 2)), PICTURE)


def test_the_yardstick_is_the_randomization_of_training():
    randomization = AppearanceRandomization()
    assert randomization.camera_position == compare.RANDOMIZED_POSITION
    assert math.degrees(compare.RANDOMIZED_ROTATION) == pytest.approx(randomization.camera_rotation[1])
    assert math.degrees(compare.RANDOMIZED_FOV) == pytest.approx(randomization.camera_fov)


def test_a_misplacement_is_along_and_about_the_cameras_own_axes():
    expected = camera_of(expected_cameras("block")["camera:front"])
    right, up, backward = expected.rotation.as_matrix().T
    found = replace(
        expected,
        position=expected.position + 0.004 * right - 0.001 * up + 0.002 * backward,
        rotation=expected.rotation * Rotation.from_rotvec([0.0, math.radians(4.0), 0.0]),
        fov=expected.fov + math.radians(0.5),
    )
    off = compare.misplacement(found, expected)
    np.testing.assert_allclose(off.position, [0.004, -0.001, 0.002], atol=1e-12)
    np.testing.assert_allclose(np.degrees(off.rotation), [0.0, 4.0, 0.0], atol=1e-9)
    assert math.degrees(off.fov) == pytest.approx(0.5)
    assert off.inside == (False, False, True)
    assert compare.misplacement(expected, expected).object_shift == pytest.approx(0.0, abs=1e-9)


def test_a_turn_alone_moves_the_object_by_focal_length_times_its_tangent():
    expected = camera_of(expected_cameras("block")["camera:front"])
    turned = replace(expected, rotation=expected.rotation * Rotation.from_rotvec([0, math.radians(1.0), 0]))
    # The camera looks at the object's start, so it was in the picture's middle.
    np.testing.assert_allclose(
        expected.project([np.subtract(START_POSITION, MOUNT_POSITION)]), [(320, 240)], atol=0.01
    )
    shift = compare.misplacement(turned, expected).object_shift
    assert shift == pytest.approx(expected.focal_length * math.tan(math.radians(1.0)), abs=0.01)


def test_mujoco_has_the_field_of_view_vertical():
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><camera name='c' pos='0 0 1' fovy='40'/></worldbody></mujoco>"
    )
    camera = Camera(np.array([0.0, 0.0, 1.0]), Rotation.identity(), math.radians(model.cam_fovy[0]), PICTURE)
    top = np.array([[0.0, math.tan(math.radians(20)), 0.0]])
    np.testing.assert_allclose(camera.project(top), [(320, 0)], atol=1e-9)
