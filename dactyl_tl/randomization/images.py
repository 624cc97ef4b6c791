"""Contrast and noise of pictures that are rendered already (the last rows of Table 9), by Kornia."""

from __future__ import annotations

from dataclasses import dataclass

import kornia.augmentation as K
from torch import Tensor, nn

from dactyl_tl.randomization.sampling import Interval


@dataclass(frozen=True)
class ImageRandomization:
    """Ranges of Table 9, for pictures of zero mean and unit variance.

    Args:
        contrast: factor on all values of a picture.
        noise: standard deviation of the noise added to every value; 0 for none.
    """

    contrast: Interval = (0.5, 1.5)
    noise: float = 0.1

    def __post_init__(self) -> None:
        low, high = self.contrast
        if not 0 < low <= high:
            raise ValueError(
                f"images.contrast is {list(self.contrast)}; it must be two rising factors above 0"
            )
        if self.noise < 0:
            raise ValueError(f"images.noise is {self.noise!r}; it must be at least 0")


class ImageAugmentation(nn.Module):
    """Draws contrast and noise anew for every picture, on the device the pictures are on."""

    def __init__(self, ranges: ImageRandomization) -> None:
        super().__init__()
        self._augment = K.AugmentationSequential(
            # Kornia's contrast is about zero, the mean of a standardised picture.
            K.RandomContrast(ranges.contrast, clip_output=False, p=1.0),
            K.RandomGaussianNoise(0.0, ranges.noise, p=1.0),
            data_keys=["input"],
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """(..., 3, height, width) to the same."""
        return self._augment(pictures.flatten(0, -4)).reshape(pictures.shape)
