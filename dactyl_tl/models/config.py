"""Sizes and kinds of the networks."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("lstm", "feedforward")
BACKENDS = ("auto", "pad", "scan", "triton")

ROTATIONS = {"quaternion": 4, "matrix": 9}
"""Ways to state the orientation, and how many numbers each takes."""


@dataclass(frozen=True)
class NetworkConfig:
    """Shape shared by the policy and the value network, which share no weights (App. D.1).

    Each network is: normalise -> dense, ReLU -> LSTM -> linear head. The feed-forward variants of
    Figure 9 and Table 5 replace the LSTM with a dense ReLU layer of the same size; the paper does
    not say what it used there, and this choice leaves depth and widths as they are.

    Args:
        dense: units of the dense layer (Table 10).
        lstm: units of the LSTM, or of the dense layer that replaces it (Table 10).
        policy: ``"lstm"`` or ``"feedforward"``.
        value: ``"lstm"`` or ``"feedforward"``.
        clip: normalised inputs are clipped to plus or minus this many standard deviations (App. D.1).
        backend: how the learner runs the LSTM over a chunk; the weights are the same. ``"pad"``:
            ``nn.LSTM``, which on a GPU is cuDNN's; ``"scan"`` and ``"triton"``: TorchRL's;
            ``"auto"``: ``"pad"``.

    Raises:
        ValueError: a size is not positive or a kind is unknown.
    """

    dense: int = 1024
    lstm: int = 512
    policy: str = "lstm"
    value: str = "lstm"
    clip: float = 5.0
    backend: str = "auto"

    def __post_init__(self) -> None:
        for name in ("policy", "value"):
            kind = getattr(self, name)
            if kind not in KINDS:
                raise ValueError(f"network.{name} is {kind!r}; choose from {', '.join(KINDS)}")
        if self.backend not in BACKENDS:
            raise ValueError(f"network.backend is {self.backend!r}; choose from {', '.join(BACKENDS)}")
        for name in ("dense", "lstm"):
            size = getattr(self, name)
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"network.{name} is {size!r}; it must be a whole number of at least 1")
        if not self.clip > 0:
            raise ValueError(f"network.clip is {self.clip!r}; it must be above 0 standard deviations")


@dataclass(frozen=True)
class PoseNetworkConfig:
    """Sizes of Table 12, and what it leaves open.

    Read literally, the four groups of stride 3 shrink 64 x 64 to 1 x 1, where a spatial softmax is constant
    and carries nothing. Kernels, filters and blocks are the table's; the strides are ours, and were chosen
    by measured error of the pose (docs/vision.md).

    Args:
        cameras: that look at the object.
        filters: of the two convolutions before the residual groups.
        stem_stride: of the first of them.
        group_blocks: residual blocks of each group.
        group_filters: of each group.
        group_strides: of the first block of each group.
        dense: units before the output.
        rotation: ``"quaternion"``, as in the table, or ``"matrix"``.
    """

    cameras: int = 3
    filters: int = 32
    stem_stride: int = 3
    group_blocks: tuple[int, int, int, int] = (1, 2, 2, 2)
    group_filters: tuple[int, int, int, int] = (16, 32, 64, 64)
    group_strides: tuple[int, int, int, int] = (1, 1, 1, 1)
    dense: int = 128
    rotation: str = "quaternion"

    def __post_init__(self) -> None:
        if self.rotation not in ROTATIONS:
            raise ValueError(f"network.rotation is {self.rotation!r}; choose from {', '.join(ROTATIONS)}")
        for name in ("cameras", "filters", "stem_stride", "dense"):
            if getattr(self, name) < 1:
                raise ValueError(f"network.{name} is {getattr(self, name)!r}; it must be at least 1")
        for name in ("group_blocks", "group_filters", "group_strides"):
            if min(getattr(self, name)) < 1:
                raise ValueError(f"network.{name} is {getattr(self, name)!r}; each must be at least 1")
