"""The marker in a picture, synthetic and rendered, and where motion capture had it."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardware.calibration.extrinsics import Camera, fit_camera
from hardware.calibration.extrinsics_blobs import brightest_blob, positions_at, sightings_of


def spot(pixel, *, size=(120, 160), sigma=2.0, peak=200.0, background=12.0, noise=3.0, seed=0):
    """A Gaussian spot, integrated roughly over each pixel, in a noisy dark picture."""
    rows, columns = np.indices(size) + 0.5
    light = peak * np.exp(-((columns - pixel[0]) ** 2 + (rows - pixel[1]) ** 2) / (2 * sigma**2))
    grey = background + light + np.random.default_rng(seed).normal(0.0, noise, size)
    return np.clip(np.round(grey), 0, 255).astype(np.uint8)


def test_the_centre_is_found_to_a_twentieth_of_a_pixel():
    rng = np.random.default_rng(1)
    errors = []
    for seed in range(40):
        pixel = rng.uniform((20, 20), (140, 100))
        blob = brightest_blob(spot(pixel, seed=seed))
        assert blob is not None
        errors.append(blob.pixel - pixel)
    assert np.sqrt(np.mean(np.square(errors))) < 0.05
    assert np.abs(np.mean(errors, axis=0)).max() < 0.02


def test_a_saturated_spot_keeps_its_centre():
    blob = brightest_blob(spot((70.3, 50.8), peak=900.0, sigma=3.0))
    assert blob is not None
    np.testing.assert_allclose(blob.pixel, (70.3, 50.8), atol=0.05)


def test_a_coloured_marker_counts_by_its_brightest_channel():
    grey = spot((70.3, 50.8))
    red = np.stack((grey, np.full_like(grey, 10), np.full_like(grey, 10)), axis=-1)
    blob = brightest_blob(red)
    assert blob is not None
    np.testing.assert_allclose(blob.pixel, (70.3, 50.8), atol=0.1)


def test_a_lamp_in_the_background_is_subtracted():
    lamp = spot((30.0, 30.0), peak=240.0, sigma=5.0).astype(float)
    picture = np.clip(lamp + spot((100.0, 80.0), background=0.0), 0, 255).astype(np.uint8)
    assert brightest_blob(picture) is None or np.hypot(*(brightest_blob(picture).pixel - (30, 30))) < 1
    blob = brightest_blob(picture, background=lamp)
    assert blob is not None
    np.testing.assert_allclose(blob.pixel, (100.0, 80.0), atol=0.1)


def test_nothing_is_made_up():
    assert brightest_blob(spot((70, 50), peak=0.0)) is None  # dark
    two = np.maximum(spot((40, 50)), spot((110, 70)))
    assert brightest_blob(two) is None  # which?
    assert brightest_blob(spot((0.5, 50))) is None  # cut off
    assert brightest_blob(spot((159.5, 50))) is None
    assert brightest_blob(spot((80, 60), sigma=40.0)) is None  # no marker is that large


def test_positions_between_readings_are_linear_and_none_are_made_up():
    track_ns = np.array([0, 10, 20, 100]) * 1_000_000
    track = np.array([[0.0, 0, 0], [1.0, 0, 0], [1.0, 2.0, 0], [9.0, 9.0, 9.0]])
    times = np.array([5, 15, 20, 60, 100, -1, 101]) * 1_000_000
    positions = positions_at(times, track_ns, track)
    np.testing.assert_allclose(positions[:3], [[0.5, 0, 0], [1.0, 1.0, 0], [1.0, 2.0, 0]])
    assert np.isnan(positions[[3, 5, 6]]).all()  # a gap of 80 ms, before, after


MARKER = """
<mujoco>
  <statistic extent="1" center="0 0 0"/>
  <visual><headlight active="0"/><global offwidth="640" offheight="480"/><quality offsamples="8"/></visual>
  <worldbody>
    <camera name="c" pos="0.05 -0.4 0.35" xyaxes="0.98 0.17 0.1 -0.17 0.72 0.67" fovy="32"/>
    <body name="led" mocap="true"><geom type="sphere" size="0.004" rgba="1 1 1 1" material="lit"/></body>
  </worldbody>
  <asset>
    <material name="lit" emission="1"/>
    <texture type="skybox" builtin="flat" rgb1="0 0 0" rgb2="0 0 0" width="4" height="4"/>
  </asset>
</mujoco>
"""


@pytest.fixture(scope="module")
def rendered():
    """Pictures of a lit sphere that is waved before a camera, with its times and places."""
    model = mujoco.MjModel.from_xml_string(MARKER)
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    points = rng.uniform((-0.08, -0.06, -0.08), (0.08, 0.08, 0.08), (80, 3))
    pictures = []
    with mujoco.Renderer(model, 480, 640) as renderer:
        for i, point in enumerate(points):
            data.mocap_pos[0] = point
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera="c")
            pictures.append((10_000_000 * i, renderer.render()))
    matrix = data.cam_xmat[0].reshape(3, 3)
    camera = Camera(data.cam_xpos[0].copy(), Rotation.from_matrix(matrix), math.radians(32.0), (640, 480))
    return camera, pictures, points


def test_a_rendered_marker_is_where_the_camera_projects_it(rendered):
    camera, pictures, points = rendered
    misses = []
    for (_, picture), expected in zip(pictures, camera.project(points), strict=True):
        blob = brightest_blob(picture)
        margin = np.minimum(expected, (640, 480) - expected).min()  # the marker's radius is about 8 pixels
        if margin < -10:
            assert blob is None
        elif margin > 10:
            assert blob is not None
            misses.append(blob.pixel - expected)
    assert len(misses) > 60
    assert np.abs(np.mean(misses, axis=0)).max() < 0.05
    assert np.linalg.norm(misses, axis=1).max() < 0.3


def test_a_camera_is_found_from_its_pictures(rendered):
    camera, pictures, points = rendered
    seen = sightings_of(pictures, np.array([time for time, _ in pictures]), points)
    assert len(seen.time_ns) > 60
    fit = fit_camera(seen.points, seen.pixels, (640, 480))
    assert np.linalg.norm(fit.camera.position - camera.position) < 0.002
    assert math.degrees((fit.camera.rotation.inv() * camera.rotation).magnitude()) < 0.05
    assert math.degrees(abs(fit.camera.fov - camera.fov)) < 0.1
    assert np.median(fit.held_out) < 0.15
