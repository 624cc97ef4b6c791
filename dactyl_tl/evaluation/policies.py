"""Policies by name: random, untrained, a bundle, a checkpoint or a whole training run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase

from dactyl_tl.checkpoint import (
    BundleError,
    load_policy,
    policy_from_checkpoint,
    read_description,
    read_environment,
)
from dactyl_tl.contract import NUM_ACTUATORS, NUM_BINS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.models import DeployedPolicy, NetworkConfig, build_actor
from dactyl_tl.policies import CHECKPOINT_SUFFIX, IN_A_RUN, choices, locate

RANDOM, UNTRAINED = "random", "untrained"
DATE = re.compile(r"(?<![^/])\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_")
"""In front of a run's name (``dactyl_tl.launch``)."""


@dataclass(frozen=True)
class NamedPolicy:
    """A policy ready to act, and how it was trained to act.

    Attributes:
        name: For tables; unique among those of one evaluation.
        module: Reads policy keys, writes ``action``.
        source: Where it came from, in words.
        environment: The ``environment`` section of the configuration it was trained with, if known.
        training: The record of its training, where a bundle keeps one (:mod:`dactyl_tl.export`).
    """

    name: str
    module: TensorDictModuleBase
    source: str
    environment: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def experience(self) -> str:
        """How long it was trained, in words; empty where there is no record."""
        if not self.training:
            return ""
        start = f" from {self.training['from']}" if self.training["from"] else ""
        return f"{self.training['frames'] / 1e6:.3g} M frames{start}"

    @property
    def task(self) -> str:
        """Task it was trained for."""
        return str(self.environment.get("task", "block"))

    @property
    def hand(self) -> str:
        """Hand parameters it was trained with."""
        return str(self.environment.get("hand", "gymnasium_robotics"))

    @property
    def actions(self) -> dict[str, Any]:
        """Departures from ``ActionConfig``; it only means something with the actions it was trained on."""
        return dict(self.environment.get("actions") or {})


class RandomPolicy(TensorDictModuleBase):
    """Uniformly random actions from torch's global generator."""

    in_keys = ()
    out_keys = ("action",)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write ``action``, int64 [..., 20]."""
        shape = (*tensordict.batch_size, NUM_ACTUATORS)
        return tensordict.set("action", torch.randint(NUM_BINS, shape, device=tensordict.device))


def find_policies(
    names: Sequence[str], *, device: str | torch.device = "cpu", seed: int = 0
) -> list[NamedPolicy]:
    """Find policies by name.

    ``untrained`` is the network of the first other policy that has one, as training would start it (the
    paper's network if there is none). It, and ``random``, act in the way the first trained policy does.

    Args:
        names: Each ``random``, ``untrained``, or what :func:`dactyl_tl.policies.locate` takes.
        device: To put them on.
        seed: Of the untrained network's weights.

    Raises:
        ConfigurationError: There is no such policy, it cannot be used, or one is named twice.
    """
    if not names:
        raise ConfigurationError(
            f"policy is empty; give one or several of: {RANDOM}, {UNTRAINED}, {choices()}"
        )
    if len(set(names)) < len(names):
        raise ConfigurationError(f"policy names one twice: {', '.join(names)}")
    loaded = {name: _load(name, device) for name in names if name not in (RANDOM, UNTRAINED)}
    first = next(iter(loaded.values()), None)
    environment = first.environment if first else {}
    policies = []
    for name, label in zip(names, _labels(names), strict=True):
        if name == RANDOM:
            policies.append(NamedPolicy(label, RandomPolicy(), "uniformly random actions", environment))
        elif name == UNTRAINED:
            config = first.module.actor.config if first else NetworkConfig()
            policies.append(
                NamedPolicy(label, _untrained(config, device, seed), "fresh weights", environment)
            )
        else:
            found = loaded[name]
            policies.append(replace(found, name=label))
    return policies


def _load(name: str, device: str | torch.device) -> NamedPolicy:
    try:
        path = locate(name)
        if path.suffix == CHECKPOINT_SUFFIX:
            module = policy_from_checkpoint(path, device)
            return NamedPolicy(name, module, str(path), read_environment(path))
        training = read_description(path).get("training") or {}
        return NamedPolicy(name, load_policy(path, device), str(path), read_environment(path), training)
    except FileNotFoundError as error:
        raise ConfigurationError(f"policy={error}, {RANDOM} or {UNTRAINED}") from error
    except BundleError as error:
        raise ConfigurationError(f"policy={name}: {error}") from error


def _untrained(config: NetworkConfig, device: str | torch.device, seed: int) -> DeployedPolicy:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DeployedPolicy(build_actor(config).to(device))


def _labels(names: Sequence[str]) -> list[str]:
    """The shortest endings of the paths that tell them apart, without dates and what every run has."""
    full = [Path(name).parts for name in names]
    parts = [_without_run_layout(path) for path in full]
    if len(set(parts)) < len(parts):
        parts = full
    length = 1
    while len({part[-length:] for part in parts}) < len(parts):
        length += 1
    labels = ["/".join(part[-length:]) for part in parts]
    undated = [DATE.sub("", label) for label in labels]
    return undated if len(set(undated)) == len(labels) else labels


def _without_run_layout(path: tuple[str, ...]) -> tuple[str, ...]:
    """``runs/a/bundles/best`` as ``runs/a``."""
    for place in IN_A_RUN:
        inside = tuple(place.split("/"))
        if len(path) > len(inside) and path[-len(inside) :] == inside:
            return path[: -len(inside)]
    return path
