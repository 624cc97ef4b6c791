"""State of a batch of episodes: plain dictionaries of (n, ...) tensors, written row by row.

Dictionaries, not tensordicts: a control step writes some forty of them, and a tensordict's checks
would cost as much as the task's arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def assign(target: dict[Any, Tensor], values: Mapping[Any, Tensor | bool], mask: Tensor) -> None:
    """Replace the rows of ``target``'s tensors that are in ``mask`` (n,) by those of ``values``."""
    for key, value in values.items():
        old = target[key]
        target[key] = torch.where(mask.view(-1, *[1] * (old.dim() - 1)), value, old)
