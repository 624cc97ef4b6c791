"""The network that sees: three pictures to the object's pose (Table 12)."""

from __future__ import annotations

from typing import Any, cast

import torch
from kornia.geometry.subpix import spatial_soft_argmax2d
from torch import Tensor, nn

from dactyl_tl import rotations
from dactyl_tl.models.config import ROTATIONS, PoseNetworkConfig


class PoseNetwork(nn.Module):
    """Standardised pictures to a normalised pose.

    The statistics that a pose is normalised with are buffers, set once from the states to train on
    (:meth:`set_statistics`), so they travel with the weights.

    Args:
        config: sizes.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: PoseNetworkConfig) -> None:
        super().__init__()
        self.config = config
        outputs = 3 + ROTATIONS[config.rotation]
        self.tower = Tower(config)
        self.head = nn.Sequential(
            nn.Linear(config.cameras * 2 * config.group_filters[-1], config.dense),
            nn.ReLU(),
            nn.Linear(config.dense, outputs),
        )
        cast(Any, self.tower).to(memory_format=torch.channels_last)  # twice as fast on a CPU
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("deviation", torch.ones(outputs))

    def forward(self, pictures: Tensor) -> Tensor:
        """Standardised pictures (n, cameras, 3, height, width) to normalised poses (n, 7 or 12)."""
        return self.head(self.features(pictures).flatten(1))

    def features(self, pictures: Tensor) -> Tensor:
        """Where the features are in standardised pictures, x and y, -1 to 1: (n, cameras, filters, 2)."""
        return self.tower(pictures.flatten(0, 1).contiguous(memory_format=torch.channels_last)).unflatten(
            0, pictures.shape[:2]
        )

    def target(self, position: Tensor, orientation: Tensor) -> Tensor:
        """The normalised output that states a pose; of the two quaternions of a rotation, the given one.

        Args:
            position: hand-base frame, m, (..., 3).
            orientation: hand-base frame, wxyz, (..., 4).
        """
        stated = (
            orientation
            if self.config.rotation == "quaternion"
            else rotations.to_matrix(orientation).flatten(-2)
        )
        return (torch.cat((position, stated), -1) - self.mean) / self.deviation

    def pose(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """The position (..., 3) m and canonical orientation (..., 4) that an output states."""
        output = output.float() * self.deviation + self.mean
        position, stated = output[..., :3], output[..., 3:]
        if self.config.rotation == "quaternion":
            return position, rotations.canonical(rotations.normalize(stated))
        with torch.autocast(output.device.type, enabled=False):  # there are no decompositions in bfloat16
            matrix = rotations.nearest_rotation(stated.unflatten(-1, (3, 3)))
        return position, rotations.from_matrix(matrix)

    def set_statistics(self, position: Tensor, orientation: Tensor) -> None:
        """Normalise with mean and standard deviation of these poses (n, 3), (n, 4)."""
        self.mean.zero_()
        self.deviation.fill_(1.0)
        stated = self.target(position, orientation)
        self.mean.copy_(stated.mean(0))
        self.deviation.copy_(stated.std(0).clamp(min=1e-4))


class Tower(nn.Module):
    """One picture to the mean positions of its features; the same weights for every camera."""

    def __init__(self, config: PoseNetworkConfig) -> None:
        super().__init__()
        filters = config.filters
        layers: list[nn.Module] = [
            nn.Conv2d(3, filters, 5, stride=config.stem_stride), nn.ReLU(inplace=True),
            nn.Conv2d(filters, filters, 3), nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 3),
        ]  # fmt: skip
        for blocks, wide, stride in zip(
            config.group_blocks, config.group_filters, config.group_strides, strict=True
        ):
            for number in range(blocks):
                layers.append(ResidualBlock(filters, wide, stride if number == 0 else 1))
                filters = wide
        self.features = nn.Sequential(*layers)
        self.temperature = nn.Parameter(torch.ones(()))
        self.apply(_initialise)

    def forward(self, pictures: Tensor) -> Tensor:
        """(n, 3, height, width) to (n, filters, 2): x and y of each feature, in [-1, 1]."""
        features = self.features(pictures)
        return spatial_soft_argmax2d(features.float(), self.temperature, normalized_coordinates=True)


class ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3 around a shortcut (He et al. 2016), without normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        inner = self.second(torch.relu_(self.first(features)))
        return torch.relu_(inner + self.shortcut(features))


def _initialise(module: nn.Module) -> None:
    """He et al.'s initial weights, half of them in what a residual block adds.

    With PyTorch's own the features of an untrained network differ so little from place to place that the
    softmax is flat: over pictures, its points move by a thousandth of the picture, and nothing is learnt.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, ResidualBlock):  # after its own convolutions
        with torch.no_grad():
            module.second.weight *= 0.5
