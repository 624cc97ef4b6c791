"""The cameras' pictures, of both renderers: what is in them, where, and that every look can be seen."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from dactyl_tl.contract import CAMERAS, PICTURE_SIZE
from dactyl_tl.models.pictures import crop_and_scale
from dactyl_tl.rendering.appearance import Appearance
from dactyl_tl.rendering.cameras import Cameras, CameraScene
from dactyl_tl.rendering.classic_cameras import ClassicCameras
from dactyl_tl.rendering.filament import DEBIAN_PACKAGES, FilamentCameras, check_filament
from dactyl_tl.rendering.lights import MAX_LIGHTS
from tests.rendering.states import HOLDING

RENDERERS = {"filament": FilamentCameras, "classic": ClassicCameras}
PHYSICAL_ONLY = {"robot_metallic", "robot_glossiness", "object_metallic", "object_glossiness"}
"""What the classic renderer knows nothing of."""


@pytest.fixture(scope="module", params=RENDERERS)
def cameras(request):
    opened = RENDERERS[request.param]()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def scene() -> CameraScene:
    return CameraScene("block", physical=True)


def colour_of(picture: np.ndarray, point: np.ndarray, radius: int = 1) -> np.ndarray:
    """Mean colour around a point that is given in -1 to 1."""
    column, row = np.rint((point + 1) / 2 * PICTURE_SIZE - 0.5).astype(int)
    return picture[row - radius : row + radius + 1, column - radius : column + radius + 1].mean((0, 1))


def test_three_pictures_show_hand_and_object(cameras: Cameras) -> None:
    pictures = cameras.render(HOLDING)
    assert pictures.shape == (len(CAMERAS), PICTURE_SIZE, PICTURE_SIZE, 3)
    assert pictures.dtype == np.uint8
    for picture in pictures:
        assert 60 < picture.mean() < 200
        assert picture.std() > 15
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_the_object_is_where_it_is_projected_to(cameras: Cameras) -> None:
    held, away = list(HOLDING), list(HOLDING)
    away[24:27] = 3.0, 3.0, 3.0
    with_object = cameras.render(held).astype(int)
    centre = cameras.project(np.zeros((1, 3)))[:, 0]
    changed = np.abs(with_object - cameras.render(away).astype(int)).max(-1) > 25
    for picture, point in zip(changed, centre, strict=True):
        rows, columns = picture.nonzero()
        assert len(rows) > 300
        # The part of the object that fingers leave in sight, and its shadow, lie around its centre.
        middle = np.array([np.median(columns), np.median(rows)]) * 2 / PICTURE_SIZE - 1
        assert np.abs(middle - point).max() < 0.12


@pytest.mark.parametrize(("angle", "beside_the_letter", "strongest"), [
    (-np.pi / 2, (0.025, 0.018, -0.018), 0), (np.pi / 2, (-0.025, -0.018, -0.018), 2),
    (0.0, (0.018, -0.025, -0.018), 1),
])  # fmt: skip
def test_each_face_shows_its_own_colour(
    cameras: Cameras, angle: float, beside_the_letter: tuple[float, ...], strongest: int
) -> None:
    """Turned about the vertical, the block shows its red, blue and green sides to the camera in front."""
    qpos = np.zeros(31)
    qpos[24:] = 1.0, 0.87, 0.33, np.cos(angle / 2), 0, 0, np.sin(angle / 2)
    front = CAMERAS.index("camera:front")
    picture = cameras.render(qpos)[front]
    colour = colour_of(picture, cameras.project([beside_the_letter])[front, 0])
    assert np.argmax(colour) == strongest
    assert np.sort(colour)[-1] > 1.2 * np.sort(colour)[-2]


@pytest.mark.parametrize(
    ("cameras", "field"),
    [
        (renderer, field.name)
        for renderer in RENDERERS
        for field in fields(Appearance)
        if renderer == "filament" or field.name not in PHYSICAL_ONLY
    ],
    indirect=["cameras"],
)
def test_every_look_can_be_seen(cameras: Cameras, scene: CameraScene, field: str) -> None:
    nominal = scene.nominal
    changed = {
        "camera_position": np.full((3, 3), 0.004),
        "camera_rotation": np.full((3, 3), 0.02),
        "camera_fov": np.full(3, 1.0),
        "robot_colour": nominal.robot_colour[:, ::-1] * 0.5,
        "robot_metallic": np.full(3, 0.9),
        "robot_glossiness": np.full(3, 0.95),
        "object_hue": 0.15,
        "object_saturation": 0.5,
        "object_value": 0.6,
        "object_metallic": 0.9,
        "object_glossiness": 0.95,
        "light_directions": nominal.light_directions[::-1] * (-1, 1, 1),
        "light_intensities": nominal.light_intensities * 0.5,
        "shadows": False,
        "background": np.array([0.9, 0.2, 0.1]),
    }[field]
    plain = cameras.render(HOLDING).astype(int)
    dressed = cameras.render(HOLDING, replace(nominal, **{field: changed})).astype(int)
    again = cameras.render(HOLDING).astype(int)
    # Filament dithers, which a hundred of the 120,000 pixels, at edges, turn into more.
    assert (np.abs(dressed - plain).max(-1) > 6).sum() > 600
    assert (np.abs(again - plain).max(-1) > 6).sum() < 300  # nothing of the look is left


def test_the_cameras_own_pictures_give_the_same_once_cropped_and_scaled(scene: CameraScene) -> None:
    with ClassicCameras(supersample=4) as small, ClassicCameras(size=(640, 480), supersample=1) as large:
        direct = small.render(HOLDING).astype(float)
        cropped = crop_and_scale(large.render(HOLDING)).astype(float)
    assert cropped.shape == direct.shape
    assert np.abs(cropped - direct).mean() < 2.0


def test_crop_refuses_pictures_that_are_too_small_or_too_high() -> None:
    for shape in ((100, 300, 3), (480, 300, 3)):
        with pytest.raises(ValueError, match="wide and at least 200 high"):
            crop_and_scale(np.zeros(shape, np.uint8))


def test_fewer_faces_show_the_same() -> None:
    with ClassicCameras(mesh_share=1.0) as whole, ClassicCameras() as coarse:
        difference = np.abs(whole.render(HOLDING).astype(int) - coarse.render(HOLDING).astype(int)).max(-1)
    assert (difference > 40).mean() < 0.03


def test_wrong_states_and_too_many_lights_are_refused(scene: CameraScene) -> None:
    with pytest.raises(ValueError, match="31 finite numbers"):
        scene.pose(np.zeros(30))
    with pytest.raises(ValueError, match="31 finite numbers"):
        scene.pose(np.full(31, np.nan))
    lights = MAX_LIGHTS + 1
    many = replace(scene.nominal, light_directions=np.ones((lights, 3)), light_intensities=np.ones(lights))
    with pytest.raises(ValueError, match=f"at most {MAX_LIGHTS}"):
        scene.dress(many)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_filament_draws_what_it_should(monkeypatch: pytest.MonkeyPatch, unbuffered: str) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)  # decides what of two writers is printed first
    check_filament.__wrapped__()


def test_a_wrong_picture_is_an_error() -> None:
    script = (
        "from dactyl_tl.rendering import filament;"
        "filament.BALL = filament.BALL.replace('1 0 0 1', '0 1 0 1'); filament.draw_ball()"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith("the self-test drew rgb")


def test_without_vulkan_one_error_names_the_packages() -> None:
    script = "from dactyl_tl.rendering.filament import FilamentCameras; FilamentCameras()"
    missing = {"VK_ICD_FILENAMES": "/nowhere.json", "VK_DRIVER_FILES": "/nowhere.json"}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | missing, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "Cannot render with Filament" in last
    for package in DEBIAN_PACKAGES:
        assert package in last
