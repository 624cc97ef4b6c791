"""Training of the network that sees, as a Lightning module (App. D.2, Table 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from dactyl_tl import rotations
from dactyl_tl.models.description import ESTIMATOR_ENTRY, describe_estimator
from dactyl_tl.models.pictures import standardize
from dactyl_tl.models.pose import PoseNetwork
from dactyl_tl.ranks import of_all_ranks, world_size

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Pictures uint8 (n, cameras, height, width, 3), position (n, 3) m and orientation (n, 4) in the hand-base
frame, keypoints of the object in the pictures, -1 to 1, (n, cameras, k, 2)."""


@dataclass(frozen=True)
class PoseConfig:
    """Optimisation (Table 11).

    Args:
        learning_rate: of Adam.
        halve_every: batches after which the learning rate is halved.
        weight_decay: of Adam.
        keypoints: weight of a second loss, which teaches the first k features of the spatial softmax to be
            where the object's centre and corners are in the picture. The paper has none: 0.
        batch_size: sets of three pictures in a batch, of each rank.
        report_every: batches between two validations, which end an epoch.
    """

    learning_rate: float = 5e-4
    halve_every: int = 20_000
    weight_decay: float = 1e-3
    keypoints: float = 0.0
    batch_size: int = 64
    report_every: int = 500

    def __post_init__(self) -> None:
        for name in ("learning_rate", "halve_every", "batch_size", "report_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"pose.{name} is {getattr(self, name)!r}; it must be above 0")
        for name in ("weight_decay", "keypoints"):
            if getattr(self, name) < 0:
                raise ValueError(f"pose.{name} is {getattr(self, name)!r}; it must be at least 0")


def pose_errors(
    network: PoseNetwork, output: Tensor, position: Tensor, orientation: Tensor, symmetries: Tensor
) -> tuple[Tensor, Tensor]:
    """How far predictions are off: angle (n,) rad and distance (n,) m.

    Args:
        network: that made the predictions.
        output: its outputs (n, ...).
        position, orientation: the truth, (n, 3), (n, 4).
        symmetries: rotations (s, 4) in the object's frame after which it looks the same; the nearest of the
            orientations that look the same counts.
    """
    seen_position, seen_orientation = network.pose(output)
    same = _same_looks(orientation, symmetries)
    angles = rotations.distance(seen_orientation[:, None], same)
    return angles.amin(1), (seen_position - position).norm(dim=-1)


def pose_loss(
    network: PoseNetwork, output: Tensor, position: Tensor, orientation: Tensor, symmetries: Tensor
) -> Tensor:
    """Mean squared error between normalised prediction and normalised truth, of each sample: (n,).

    Of all statements of the truth, both quaternions of a rotation and all orientations that look the same,
    the one nearest to the prediction is taken: the network is not asked for what cannot be seen.
    Arguments as in :func:`pose_errors`.
    """
    same = _same_looks(orientation, symmetries)
    if network.config.rotation == "quaternion":
        same = torch.cat((same, -same), 1)
    targets = network.target(position[:, None].expand(-1, same.shape[1], -1), same)
    return (output[:, None] - targets).square().mean(-1).amin(1)


def _same_looks(orientation: Tensor, symmetries: Tensor) -> Tensor:
    """All orientations (n, s, 4) that look like ``orientation`` (n, 4)."""
    return rotations.canonical(rotations.multiply(orientation[:, None], symmetries[None]))


class PoseModule(LightningModule):
    """Learn the pose of the object from the cameras' pictures; draws no picture.

    Everything is logged against ``frames``: sets of pictures that were learnt from, over all ranks. An epoch
    is ``report_every`` batches, after which the errors on each set of held-out pictures are logged, in
    degrees and millimetres.

    Args:
        network: to train; with its statistics set.
        config: of the optimisation.
        augmentation: of standardised pictures, on the learner's device, as
            :class:`dactyl_tl.randomization.images.ImageAugmentation`; None for none.
        symmetries: rotations (s, 4) after which the object looks the same; the identity alone by default.
        validations: names of the sets of held-out pictures, in the order of the loaders.
    """

    frames: Tensor
    symmetries: Tensor

    def __init__(
        self,
        network: PoseNetwork,
        config: PoseConfig,
        *,
        augmentation: nn.Module | None = None,
        symmetries: Tensor | None = None,
        validations: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.augmentation = augmentation
        self.validations = tuple(validations)
        same = symmetries if symmetries is not None else torch.tensor([[1.0, 0.0, 0.0, 0.0]])
        self.register_buffer("symmetries", same, persistent=False)
        self.register_buffer("frames", torch.zeros((), dtype=torch.int64))
        self._losses: list[Tensor] = []
        self._errors: list[list[Tensor]] = []

    def configure_optimizers(self) -> Any:
        """Adam whose learning rate is halved every so many batches."""
        optimizer = torch.optim.Adam(
            self.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        halving = torch.optim.lr_scheduler.StepLR(optimizer, self.config.halve_every, gamma=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": halving, "interval": "step"}}

    def training_step(self, batch: Batch, batch_idx: int = 0) -> Tensor:
        """The loss of a batch."""
        pictures, position, orientation, keypoints = batch
        seen = standardize(pictures)
        if self.augmentation is not None:
            seen = self.augmentation(seen)
        features = self.network.features(seen)
        output = self.network.head(features.flatten(1)).float()
        loss = pose_loss(self.network, output, position, orientation, self.symmetries).mean()
        self._losses.append(loss.detach())
        if self.config.keypoints:
            placed = features[:, :, : keypoints.shape[2]].float()
            loss = loss + self.config.keypoints * (placed - keypoints).square().mean()
        self.frames += len(pictures) * world_size()
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the errors of the last validation."""
        self._errors = [[] for _ in self.validations]

    def validation_step(self, batch: Batch, batch_idx: int = 0, dataloader_idx: int = 0) -> None:
        """Errors on held-out pictures, which are seen as they are."""
        pictures, position, orientation, _ = batch
        output = self.network(standardize(pictures))
        errors = pose_errors(self.network, output, position, orientation, self.symmetries)
        self._errors[dataloader_idx].append(torch.stack(errors, -1))

    def on_validation_epoch_end(self) -> None:
        """Log the errors on each set of pictures, of all ranks, and the mean loss since the last report."""
        metrics: dict[str, Tensor] = {}
        for name, parts in zip(self.validations, self._errors, strict=True):
            errors = of_all_ranks(torch.cat(parts).contiguous()).flatten(0, 1)
            angle, distance = torch.rad2deg(errors[:, 0]), 1000 * errors[:, 1]
            metrics |= {
                f"{name}/rotation": angle.mean(),
                f"{name}/rotation_median": angle.median(),
                f"{name}/position": distance.mean(),
                f"{name}/position_median": distance.median(),
            }
        if self._losses:
            metrics["loss"] = of_all_ranks(torch.stack(self._losses).mean()).mean()
            self._losses = []
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        # Lightning takes a metric called "step" for the x axis of its loggers.
        metrics |= {
            "learning_rate": torch.tensor(rate, dtype=torch.float64),
            "frames": self.frames,
            "step": self.frames,
        }
        # The same on all ranks, which Lightning wants to hear all the same.
        values = {name: value.double() for name, value in metrics.items()}
        self.log_dict(values, batch_size=1, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what describes the network."""
        checkpoint[ESTIMATOR_ENTRY] = describe_estimator(self.network.config)
