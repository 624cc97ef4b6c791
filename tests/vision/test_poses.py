"""What becomes of the object before a picture is taken: 20 % as is, 40 % a quarter turn, 40 % jittered."""

import math

import pytest
import torch

from dactyl_tl import rotations
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.vision.poses import OBJECT_ORIENTATION, OBJECT_POSITION, PoseAugmentation, object_pose

N = 8000


@pytest.fixture(scope="module")
def before_and_after() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    qpos = torch.randn(N, 31, generator=generator)
    qpos[:, OBJECT_ORIENTATION] = rotations.uniform((N,), generator)
    return qpos, PoseAugmentation()(qpos, generator)


def test_shares_and_sizes(before_and_after: tuple[torch.Tensor, torch.Tensor]) -> None:
    before, after = before_and_after
    torch.testing.assert_close(after[:, :24], before[:, :24])
    turn = rotations.multiply(
        rotations.conjugate(before[:, OBJECT_ORIENTATION]), after[:, OBJECT_ORIENTATION]
    )
    angle = rotations.distance(before[:, OBJECT_ORIENTATION], after[:, OBJECT_ORIENTATION])
    moved = (after[:, OBJECT_POSITION] - before[:, OBJECT_POSITION]).norm(dim=-1)
    jittered = moved > 1e-5
    quarter = ~jittered & (angle > 1e-3)
    assert jittered.float().mean() == pytest.approx(0.4, abs=0.02)
    assert quarter.float().mean() == pytest.approx(0.4, abs=0.02)
    # A quarter turn is about one of the object's own axes, each of them as often, either way as often.
    torch.testing.assert_close(
        angle[quarter], torch.full_like(angle[quarter], math.pi / 2), atol=1e-3, rtol=0
    )
    axes = turn[quarter, 1:] * turn[quarter, :1].sign() / math.sqrt(0.5)
    assert (axes.abs().amax(1) > 0.999).all()
    for axis in range(3):
        for sign in (1.0, -1.0):
            assert (sign * axes[:, axis] > 0.99).float().mean() == pytest.approx(1 / 6, abs=0.03)
    deviations = (after[:, OBJECT_POSITION] - before[:, OBJECT_POSITION])[jittered]
    assert deviations.std().item() == pytest.approx(PoseAugmentation.position, rel=0.05)
    # The angle of a rotation vector with this deviation about each axis has this root mean square.
    expected = math.sqrt(3) * PoseAugmentation.rotation
    assert angle[jittered].square().mean().sqrt().item() == pytest.approx(expected, rel=0.05)


def test_poses_are_in_the_hand_base_frame_and_canonical() -> None:
    qpos = torch.zeros(1, 31)
    qpos[0, OBJECT_POSITION] = torch.tensor(MOUNT_POSITION) + torch.tensor([0.0, -0.3, 0.1])
    qpos[0, OBJECT_ORIENTATION] = torch.tensor([-2.0, 0.0, 0.0, 0.0])
    position, orientation = object_pose(qpos)
    torch.testing.assert_close(position, torch.tensor([[0.0, -0.3, 0.1]]))
    torch.testing.assert_close(orientation, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))


@pytest.mark.parametrize(("wrong", "name"), [
    ({"rotated": 0.7, "jittered": 0.4}, "rotated"), ({"jittered": -0.1}, "jittered"),
    ({"position": -1.0}, "position"),
])  # fmt: skip
def test_shares_that_make_no_sense_are_refused(wrong: dict, name: str) -> None:
    with pytest.raises(ValueError, match=f"poses.{name}"):
        PoseAugmentation(**wrong)
