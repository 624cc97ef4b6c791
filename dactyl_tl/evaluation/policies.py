"""Policies by name: random, untrained, a bundle, a checkpoint or a whole training run."""

from __future__ import annotations

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase

from dactyl_tl.contract import NUM_ACTUATORS, NUM_BINS


class RandomPolicy(TensorDictModuleBase):
    """Uniformly random actions from torch's global generator."""

    in_keys = ()
    out_keys = ("action",)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write ``action``, int64 [..., 20]."""
        shape = (*tensordict.batch_size, NUM_ACTUATORS)
        return tensordict.set("action", torch.randint(NUM_BINS, shape, device=tensordict.device))
