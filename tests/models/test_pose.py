"""The network that sees: shapes, what its outputs state, the same weights for each camera."""

from __future__ import annotations

import pytest
import torch

from dactyl_tl import rotations
from dactyl_tl.models.config import ROTATIONS, PoseNetworkConfig
from dactyl_tl.models.pictures import standardize
from dactyl_tl.models.pose import PoseNetwork


@pytest.fixture(params=ROTATIONS)
def network(request) -> PoseNetwork:
    torch.manual_seed(0)
    return PoseNetwork(PoseNetworkConfig(rotation=request.param))


def poses(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    position = torch.tensor([0.0, -0.35, 0.0]) + 0.03 * torch.randn(n, 3, generator=generator)
    return position, rotations.canonical(rotations.uniform((n,), generator))


def test_what_is_stated_is_read_back(network: PoseNetwork) -> None:
    position, orientation = poses(500)
    network.set_statistics(position, orientation)
    target = network.target(position, orientation)
    torch.testing.assert_close(target.mean(0), torch.zeros(target.shape[1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(target.std(0), torch.ones(target.shape[1]), atol=1e-3, rtol=0)
    seen_position, seen_orientation = network.pose(target)
    torch.testing.assert_close(seen_position, position, atol=1e-5, rtol=0)
    assert rotations.distance(seen_orientation, orientation).max() < 1e-3


def test_poses_are_read_in_full_precision_under_autocast(network: PoseNetwork) -> None:
    position, orientation = poses(50)
    network.set_statistics(position, orientation)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen_position, seen_orientation = network.pose(network.target(position, orientation))
    torch.testing.assert_close(seen_position, position, atol=1e-5, rtol=0)
    assert rotations.distance(seen_orientation, orientation).max() < 1e-3


def test_outputs_that_state_no_rotation_are_taken_for_the_nearest(network: PoseNetwork) -> None:
    position, orientation = poses(200)
    network.set_statistics(position, orientation)
    noisy = network.target(position, orientation)
    noisy = noisy + 0.05 * torch.randn(noisy.shape, generator=torch.Generator().manual_seed(1))
    _, seen = network.pose(noisy)
    torch.testing.assert_close(seen.norm(dim=-1), torch.ones(200))
    assert rotations.distance(seen, orientation).max() < 0.3


def test_shapes_and_one_tower_for_all_cameras(network: PoseNetwork) -> None:
    pictures = torch.randint(0, 256, (2, 3, 200, 200, 3), dtype=torch.uint8)
    features = network.features(standardize(pictures))
    assert features.shape == (2, 3, 64, 2)
    assert features.abs().max() <= 1
    assert network(standardize(pictures)).shape == (2, 3 + ROTATIONS[network.config.rotation])
    swapped = network.features(standardize(pictures[:, [2, 0, 1]]))
    torch.testing.assert_close(swapped, features[:, [2, 0, 1]], atol=1e-4, rtol=0)


def test_features_of_an_untrained_network_differ_between_pictures(network: PoseNetwork) -> None:
    """Else the softmax is flat and nothing is learnt."""
    pictures = torch.zeros(8, 3, 200, 200, 3, dtype=torch.uint8)
    for number in range(8):
        pictures[number, :, 20 * number : 20 * number + 40, 60:100] = 200
    with torch.no_grad():
        features = network.features(standardize(pictures))
    assert features.std(0).mean() > 0.02


@pytest.mark.parametrize("strides", [(1, 1, 1, 1), (1, 2, 2, 1), (3, 3, 3, 3)])
@pytest.mark.parametrize("stem", [1, 2])
def test_strides_are_settings(strides: tuple[int, int, int, int], stem: int) -> None:
    network = PoseNetwork(PoseNetworkConfig(stem_stride=stem, group_strides=strides))
    with torch.no_grad():
        features = network.features(torch.randn(2, 3, 3, 200, 200))
    literal = stem == 1 and strides == (3, 3, 3, 3)
    # Table 12 read literally ends at one place, whose softmax is constant.
    assert (features.std() < 1e-6) == (literal or (stem == 2 and strides == (3, 3, 3, 3)))


def test_pictures_are_standardised_each_by_itself() -> None:
    pictures = torch.randint(0, 256, (4, 3, 50, 50, 3), dtype=torch.uint8)
    pictures[0, 0] //= 8
    seen = standardize(pictures)
    assert seen.shape == (4, 3, 3, 50, 50)
    flat = seen.flatten(-3)
    torch.testing.assert_close(flat.mean(-1), torch.zeros(4, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat.std(-1), torch.ones(4, 3), atol=0.05, rtol=0)
    assert standardize(torch.zeros(1, 3, 50, 50, 3, dtype=torch.uint8)).isfinite().all()
    one = pictures[1, 2].float()
    expected = (one[7, 9, 0] - one.mean()) / (one.std(correction=0) + 0.255)
    torch.testing.assert_close(seen[1, 2, 0, 7, 9], expected)


@pytest.mark.parametrize(("wrong", "name"), [
    ({"rotation": "euler"}, "rotation"), ({"dense": 0}, "dense"),
    ({"group_strides": (1, 0, 1, 1)}, "group_strides"),
])  # fmt: skip
def test_wrong_sizes_are_refused(wrong: dict, name: str) -> None:
    with pytest.raises(ValueError, match=f"network.{name}"):
        PoseNetworkConfig(**wrong)
