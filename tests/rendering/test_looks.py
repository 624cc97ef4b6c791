"""After which turns an object looks the same."""

import mujoco
import numpy as np
import pytest

from dactyl_tl.rendering.objects import KINDS, LOOKS, keypoints, look_of, symmetries


@pytest.mark.parametrize(("name", "kind", "count"), [
    ("block", "lettered", 1), ("prism", "lettered", 1), ("block", "plain", 24), ("prism", "plain", 16),
])  # fmt: skip
def test_number_of_turns(name: str, kind: str, count: int) -> None:
    turns = symmetries(look_of(name, kind))
    assert turns.shape == (count, 4)
    np.testing.assert_allclose(turns[0], (1, 0, 0, 0), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1.0)
    angles = np.abs(turns @ turns.T)
    assert (angles - np.eye(count) < 0.999).all()  # all differ


@pytest.mark.parametrize("name", LOOKS)
def test_plain_turns_are_a_group_that_keeps_the_corners(name: str) -> None:
    turns = symmetries(look_of(name, "plain"))
    corners = keypoints(look_of(name))
    for first in turns:
        matrix = np.empty(9)
        mujoco.mju_quat2Mat(matrix, first)
        turned = corners @ matrix.reshape(3, 3).T
        assert np.linalg.norm(turned[:, None] - corners[None], axis=-1).min(1).max() < 1e-6
        for second in turns:
            product = np.empty(4)
            mujoco.mju_mulQuat(product, first, second)
            assert np.abs(turns @ product).max() > 1 - 1e-9


def test_keypoints_are_centre_and_corners() -> None:
    points = keypoints(look_of("block"))
    assert points.shape == (9, 3)
    assert not points[0].any()
    np.testing.assert_allclose(np.abs(points[1:]), 0.025)
    assert keypoints(look_of("prism")).shape == (17, 3)


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="block, prism"):
        look_of("sphere")
    with pytest.raises(ValueError, match=", ".join(KINDS)):
        look_of("block", "shiny")
