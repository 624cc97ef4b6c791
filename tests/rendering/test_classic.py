"""Pictures are looked at: the object, its faces, the goal, the light."""

import os
import pickle
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from PIL import Image

from dactyl_tl.contract import NUM_JOINTS
from dactyl_tl.rendering.classic import VIEWS, HandRenderer, View
from dactyl_tl.rendering.filament import FilamentError
from dactyl_tl.rendering.objects import COLOURS
from dactyl_tl.rendering.offscreen import DEBIAN_PACKAGES, Offscreen, RendererError, check_renderer
from dactyl_tl.rendering.scene import GOAL_BODY, build_visual_model
from dactyl_tl.simulation.scene import TASKS, build_scene
from tests.rendering.states import HOLDING

UPRIGHT = (1.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def renderer():
    with HandRenderer("block", width=320, height=240) as renderer:
        yield renderer


def pixels_like(picture: np.ndarray, colour: str, tolerance: float = 0.10) -> int:
    """Pixels whose hue and strong colour match, whatever the light."""
    wanted = np.array(Image.new("RGB", (1, 1), colour).convert("HSV"), float)[0, 0] / 255
    found = np.array(Image.fromarray(picture).convert("HSV"), float) / 255
    hue = np.abs(found[..., 0] - wanted[0])
    near = np.minimum(hue, 1 - hue) < tolerance / 3
    return int((near & (np.abs(found[..., 1] - wanted[1]) < 0.25)).sum())


def test_the_picture_is_bright_sharp_and_not_over_exposed(renderer: HandRenderer) -> None:
    picture = renderer.render(HOLDING)
    assert picture.shape == (240, 320, 3)
    assert picture.dtype == np.uint8
    assert 150 < picture.mean() < 245
    hand = picture[picture.max(axis=-1) < 230]
    assert len(hand) > 0.1 * 320 * 240
    assert hand.std() > 20
    assert picture[:, :, 1].astype(int).mean() < picture[:, :, 0].astype(int).mean() + 10  # no green sky


def test_each_face_shows_its_own_colour() -> None:
    front = View((1.0, 0.87, 0.30), 0.20, 90.0, 0.0)
    half = np.sqrt(0.5)
    # The rotation that turns each face, A to F, towards a camera at negative y.
    turns = (
        (half, 0, 0, -half), (half, 0, 0, half), (0, 0, 0, 1), (1, 0, 0, 0),
        (half, half, 0, 0), (half, -half, 0, 0),
    )  # fmt: skip
    qpos = np.zeros(NUM_JOINTS + 7)
    qpos[NUM_JOINTS : NUM_JOINTS + 3] = front.target
    with HandRenderer("block", width=120, height=90, view=front, supersample=1) as renderer:
        for face, turn in enumerate(turns):
            qpos[-4:] = turn
            counts = [pixels_like(renderer.render(qpos), colour) for colour in COLOURS[:6]]
            assert int(np.argmax(counts)) == face, f"face {face}: {counts}"


def test_the_goal_is_seen_beside_the_object_and_turns(renderer: HandRenderer) -> None:
    without, upright = renderer.render(HOLDING), renderer.render(HOLDING, UPRIGHT)
    changed = np.abs(upright.astype(int) - without).max(axis=-1) > 12
    assert 0.01 < changed.mean() < 0.10
    turned = renderer.render(HOLDING, (0.0, 1.0, 0.0, 0.0))
    assert np.abs(turned.astype(int) - upright).max() > 60
    np.testing.assert_array_equal(renderer.render(HOLDING), without)


def test_the_object_follows_qpos_and_the_picture_repeats(renderer: HandRenderer) -> None:
    np.testing.assert_array_equal(renderer.render(HOLDING), renderer.render(HOLDING))
    lifted = np.array(HOLDING)
    lifted[NUM_JOINTS + 2] += 0.03
    assert np.abs(renderer.render(lifted).astype(int) - renderer.render(HOLDING)).max() > 60


@pytest.mark.parametrize("task", TASKS)
def test_the_shown_scene_has_the_joints_of_the_simulated_one(task: str) -> None:
    shown, simulated = build_visual_model(task), build_scene(task).model
    assert shown.nq == simulated.nq
    assert [shown.joint(i).name for i in range(shown.njnt)] == [
        simulated.joint(i).name for i in range(simulated.njnt)
    ]
    np.testing.assert_allclose(shown.jnt_pos, simulated.jnt_pos)
    assert shown.body(GOAL_BODY).mocapid[0] == 0


@pytest.mark.parametrize("view", [*VIEWS, "camera:left"])
def test_every_view_sees_the_block(view: str) -> None:
    with HandRenderer("block", width=160, height=120, view=view, supersample=1) as renderer:
        picture = renderer.render(HOLDING)
    assert sum(pixels_like(picture, colour) for colour in COLOURS[:6]) > 60


def test_wrong_values_name_the_choices() -> None:
    with pytest.raises(ValueError, match=r"'side'; choose one of palm, front"):
        HandRenderer(view="side")
    with pytest.raises(ValueError, match=r"'egg'; choose one of block, prism"):
        HandRenderer("egg")
    with pytest.raises(ValueError, match="picture size must be within"):
        HandRenderer(width=100_000)


def test_states_that_are_none_are_refused(renderer: HandRenderer) -> None:
    with pytest.raises(ValueError, match="qpos must be 31 finite numbers"):
        renderer.render(np.zeros(30))
    with pytest.raises(ValueError, match="goal must be 4 finite numbers"):
        renderer.render(HOLDING, (1.0, np.nan, 0.0, 0.0))


def test_a_closed_renderer_says_so() -> None:
    model = mujoco.MjSpec().compile()
    model.vis.quality.offsamples = 0
    screen = Offscreen(model, 8, 8)
    screen.close()
    screen.close()
    with pytest.raises(RuntimeError, match="closed"):
        screen.draw()


def test_this_machine_draws() -> None:
    check_renderer()


def test_a_missing_driver_is_an_error_that_names_the_packages() -> None:
    code = "from dactyl_tl.rendering.offscreen import check_renderer; check_renderer()"
    environment = {**os.environ, "MUJOCO_GL": "glfw", "DISPLAY": ""}  # no screen here to open a window on
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode != 0
    assert RendererError.__name__ in result.stderr
    assert f"apt-get install {' '.join(DEBIAN_PACKAGES)}" in result.stderr


@pytest.mark.parametrize("error", [RendererError("no driver"), FilamentError("no driver")])
def test_an_error_of_another_process_says_the_same_here(error: RendererError) -> None:
    assert "no driver" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
