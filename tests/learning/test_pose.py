"""Loss and errors of poses, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dactyl_tl import rotations
from dactyl_tl.learning.pose import PoseConfig, PoseModule, pose_errors, pose_loss
from dactyl_tl.models.config import ROTATIONS, PoseNetworkConfig
from dactyl_tl.models.pose import PoseNetwork
from dactyl_tl.rendering.objects import look_of, symmetries

ONE = torch.tensor([[1.0, 0.0, 0.0, 0.0]])


@pytest.fixture(params=ROTATIONS)
def network(request) -> PoseNetwork:
    return PoseNetwork(PoseNetworkConfig(rotation=request.param))


@pytest.fixture
def plain() -> torch.Tensor:
    return torch.from_numpy(symmetries(look_of("prism", "plain"))).float()


def truth(n: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, generator=generator), rotations.canonical(rotations.uniform((n,), generator))


def test_errors_are_the_angle_and_the_distance(network: PoseNetwork) -> None:
    position, orientation = truth()
    turn = rotations.from_rotation_vector(torch.tensor([0.0, 0.3, 0.0])).expand(64, 4)
    output = network.target(position + torch.tensor([0.0, 0.04, 0.03]), rotations.multiply(turn, orientation))
    angle, distance = pose_errors(network, output, position, orientation, ONE)
    torch.testing.assert_close(angle, torch.full((64,), 0.3), atol=1e-3, rtol=0)
    torch.testing.assert_close(distance, torch.full((64,), 0.05), atol=1e-5, rtol=0)


def test_the_loss_is_the_mean_square_of_the_normalised_difference() -> None:
    network = PoseNetwork(PoseNetworkConfig())
    network.mean.copy_(torch.arange(7.0))
    network.deviation.fill_(2.0)
    position, orientation = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    output = network.target(position, orientation) + torch.tensor([[1.0, 0, 0, 0, 0, 0, 2.0]])
    loss = pose_loss(network, output, position, orientation, ONE)
    assert loss.item() == pytest.approx((1 + 4) / 7)


def test_both_quaternions_of_a_rotation_are_right() -> None:
    network = PoseNetwork(PoseNetworkConfig())
    position, orientation = truth()
    output = network.target(position, -orientation)
    assert pose_loss(network, output, position, orientation, ONE).max() < 1e-10
    assert pose_errors(network, output, position, orientation, ONE)[0].max() < 1e-3


def test_what_looks_the_same_is_no_error(network: PoseNetwork, plain: torch.Tensor) -> None:
    position, orientation = truth()
    for turn in plain:
        output = network.target(position, rotations.multiply(orientation, turn.expand(64, 4)))
        assert pose_loss(network, output, position, orientation, plain).max() < 1e-8
        assert pose_errors(network, output, position, orientation, plain)[0].max() < 2e-3
        if not torch.allclose(turn, ONE[0]):
            assert pose_errors(network, output, position, orientation, ONE)[0].min() > math.pi / 4 - 1e-3
    sixteenth = rotations.from_rotation_vector(torch.tensor([0.0, 0.0, math.pi / 8])).expand(64, 4)
    output = network.target(position, rotations.multiply(orientation, sixteenth))
    angle, _ = pose_errors(network, output, position, orientation, plain)
    torch.testing.assert_close(angle, torch.full((64,), math.pi / 8), atol=2e-3, rtol=0)


def test_the_learning_rate_is_halved_every_so_many_batches() -> None:
    module = PoseModule(PoseNetwork(PoseNetworkConfig()), PoseConfig(halve_every=3))
    configured = module.configure_optimizers()
    optimizer, halving = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(7):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        halving.step()
    np.testing.assert_allclose(rates, [5e-4] * 3 + [2.5e-4] * 3 + [1.25e-4])
    assert optimizer.param_groups[0]["weight_decay"] == 1e-3
    assert configured["lr_scheduler"]["interval"] == "step"


def test_table_11() -> None:
    config = PoseConfig()
    assert (config.learning_rate, config.halve_every, config.batch_size, config.weight_decay) == (
        5e-4, 20_000, 64, 1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["learning_rate", "halve_every", "batch_size", "report_every"])
def test_wrong_settings_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"pose.{name}"):
        PoseConfig(**{name: 0})


def test_a_feature_learns_where_a_dot_is() -> None:
    """The places of the dot vary by 0.21; nothing but the picture tells them."""
    torch.manual_seed(0)
    network = PoseNetwork(PoseNetworkConfig(filters=8, group_blocks=(1, 1, 1, 1), group_filters=(8, 8, 8, 8)))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(50):
        places = 20 + torch.randint(160, (8, 3, 2), generator=generator)
        pictures = torch.zeros(8, 3, 3, 200, 200)
        for picture, (x, y) in zip(pictures.flatten(0, 1), places.flatten(0, 1).tolist(), strict=True):
            picture[:, y - 12 : y + 12, x - 12 : x + 12] = 3.0
        loss = (network.features(pictures)[:, :, 0] - (places / 100.0 - 1.0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.004
    assert np.mean(losses[-10:]) < 0.3 * losses[0]
