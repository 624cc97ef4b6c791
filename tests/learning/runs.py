"""Small runs of the learner under Lightning's trainer, with nothing else around."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from tensordict import TensorDictBase
from torch.torch_version import TorchVersion
from torch.utils.data import DataLoader, IterableDataset
from torchrl.collectors import Collector
from torchrl.envs import Compose, EnvBase, InitTracker, TransformedEnv
from torchrl.modules.utils import get_primers_from_module

from dactyl_tl.learning import PPOConfig, PPOModule
from dactyl_tl.learning.compiled import OLDEST
from dactyl_tl.models import Actor, NetworkConfig, build_actor, build_critic

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


compiles = pytest.mark.skipif(
    TorchVersion(torch.__version__) < OLDEST, reason=f"torch before {OLDEST} compiles the update wrongly"
)


class Rollouts(IterableDataset[TensorDictBase]):
    """Rollouts one after the other; with a length, or Lightning fetches one ahead of the update."""

    def __init__(self, rollouts: Iterable[TensorDictBase], count: int) -> None:
        self.rollouts, self.count = rollouts, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[TensorDictBase]:
        for _, rollout in zip(range(self.count), self.rollouts, strict=False):
            yield rollout


def make_module(network: NetworkConfig, seed: int = 0, **ppo: Any) -> PPOModule:
    """A learner with fresh networks."""
    torch.manual_seed(seed)
    return PPOModule(build_actor(network), build_critic(network), PPOConfig(**ppo))


def fit(module: PPOModule, rollouts: Iterable[TensorDictBase], count: int, **options: Any) -> Trainer:
    """One update for each of the first ``count`` rollouts."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    settings = {"accelerator": "cpu", "max_epochs": 1, "enable_model_summary": False, **quiet, **options}
    checkpoint = settings.pop("ckpt_path", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(**settings)
        loader = DataLoader(Rollouts(rollouts, count), batch_size=None, collate_fn=lambda batch: batch)
        trainer.fit(module, loader, ckpt_path=checkpoint)
    return trainer


def collector(env: EnvBase, actor: Actor, steps: int) -> Collector:
    """Rollouts ``[N, steps]`` of the actor as it is at the time."""
    primers = [get_primers_from_module(actor)] if actor.state_keys else []
    return Collector(
        TransformedEnv(env, Compose(InitTracker(), *primers)),
        actor,
        frames_per_batch=env.batch_size.numel() * steps,
        total_frames=-1,
        auto_register_policy_transforms=False,
    )
