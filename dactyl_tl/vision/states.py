"""States of hand and object to take pictures of: rolled out, stored without code, split by episode."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from dactyl_tl.checkpoint import load_policy, read_environment
from dactyl_tl.contract import CONTRACT_VERSION, NUM_ACTUATORS, NUM_BINS, NUM_JOINTS
from dactyl_tl.envs import ReorientEnv, make_env
from dactyl_tl.errors import ConfigurationError

FALL = 4
"""Control steps before a drop whose states are left out: the object has left the hand by then."""

HELD = (2, 10)
"""Fewest and most control steps for which the scripted policy keeps an actuator's target."""

SPREAD = 0.35
"""Standard deviation of the scripted policy's targets about the middle of a range whose ends are at 1."""

SCRIPTED_ACTIONS = {"relative": False}


@dataclass(frozen=True)
class States:
    """States in the order they were met in.

    Attributes:
        qpos: Joint angles, then the object's position and orientation in the world, float32 (n, 31).
        episode: Number of the episode that each stems from, int32 (n,).
        task: Of the simulation.
        source: Whose rollouts they are, in words.
    """

    qpos: Tensor
    episode: Tensor
    task: str
    source: str

    def __len__(self) -> int:
        return len(self.qpos)

    def part(self, chosen: Tensor) -> States:
        """The states that ``chosen`` (n,), bool or indices, picks."""
        return States(self.qpos[chosen], self.episode[chosen], self.task, self.source)

    def split(self, share: float) -> tuple[States, States]:
        """Two parts of whole episodes, the second with about ``share`` of the states: its last episodes.

        Raises:
            ValueError: ``share`` is not between 0 and 1, or there are too few episodes.
        """
        if not 0 < share < 1:
            raise ValueError(f"share is {share!r}; it must be between 0 and 1")
        last = self.episode.sort().values
        border = last[min(int(len(self) * (1 - share)), len(self) - 1)]
        second = self.episode >= border
        if second.all():
            raise ValueError(f"states of {len(self.episode.unique())} episodes cannot be split; gather more")
        return self.part(~second), self.part(second)

    def save(self, path: Path) -> None:
        """Write as safetensors, whole or not at all."""
        about = {"task": self.task, "source": self.source, "contract": str(CONTRACT_VERSION)}
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(
            save({"qpos": self.qpos.contiguous(), "episode": self.episode.contiguous()}, about)
        )
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> States:
        """Read what :meth:`save` wrote.

        Raises:
            ConfigurationError: It is no such file.
        """
        try:
            tensors = load_file(path)
            with safetensors.safe_open(path, "pt") as file:
                about = file.metadata() or {}
            qpos, episode = tensors["qpos"], tensors["episode"]
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise ConfigurationError(f"{path} holds no states: {error}") from error
        if about.get("contract") != str(CONTRACT_VERSION) or qpos.shape[1:] != (NUM_JOINTS + 7,):
            raise ConfigurationError(f"{path} holds states of another version: {json.dumps(about)}")
        return cls(qpos, episode, about["task"], about["source"])


class ScriptedPolicy(TensorDictModuleBase):
    """Moves every actuator to random targets near the middle of its range and keeps each for a while."""

    in_keys = ()
    out_keys = ("action",)

    def __init__(self) -> None:
        super().__init__()
        self._targets = torch.zeros(0, NUM_ACTUATORS, dtype=torch.int64)
        self._left = torch.zeros(0, NUM_ACTUATORS, dtype=torch.int64)

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write ``action``, int64 (N, 20), for absolute actions."""
        shape = (*tensordict.batch_size, NUM_ACTUATORS)
        if self._left.shape != shape:
            self._targets = torch.zeros(shape, dtype=torch.int64)
            self._left = torch.zeros(shape, dtype=torch.int64)
        over = self._left == 0
        middle = (NUM_BINS - 1) / 2
        fresh = (middle * (1 + SPREAD * torch.randn(shape))).round().clamp(0, NUM_BINS - 1).long()
        self._targets = torch.where(over, fresh, self._targets)
        self._left = torch.where(over, torch.randint(HELD[0], HELD[1] + 1, shape), self._left) - 1
        return tensordict.set("action", self._targets.to(tensordict.device or "cpu"))


def gather(
    policy: str | None,
    environment: Mapping[str, Any],
    *,
    count: int,
    every: int,
    num_envs: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> States:
    """Roll out a policy and keep states in which the object is on the hand.

    Args:
        policy: What :func:`dactyl_tl.load_policy` takes; None for :class:`ScriptedPolicy`.
        environment: Keyword arguments of :func:`dactyl_tl.make_env`; the meaning of the actions is the
            policy's own.
        count: States to keep.
        every: Control steps between two of them.
        num_envs: Simulations.
        seed: Of everything.
        progress: Called with the number of states so far.

    Raises:
        ConfigurationError: There is no such policy, or a setting of the environment cannot be used.
    """
    settings = {key: value for key, value in environment.items() if key != "_target_"}
    try:
        if policy is None:
            acting: TensorDictModuleBase = ScriptedPolicy()
            settings["actions"] = SCRIPTED_ACTIONS
        else:
            acting = load_policy(policy)
            settings["actions"] = dict(read_environment(policy).get("actions") or {})
        env = make_env(**settings, num_envs=num_envs, seed=seed)
    except (ValueError, FileNotFoundError) as error:
        raise ConfigurationError(str(error)) from error
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            qpos, episode = _roll_out(env, acting, count, every, progress)
    finally:
        env.close()
    return States(qpos, episode, settings.get("task", "block"), policy or "scripted")


def _roll_out(
    env: ReorientEnv,
    policy: TensorDictModuleBase,
    count: int,
    every: int,
    progress: Callable[[int], None],
) -> tuple[Tensor, Tensor]:
    kept = _Kept()
    n = env.batch_size[0]
    episodes = torch.arange(n, dtype=torch.int32)
    begun = n
    now = env.reset()
    step = 0
    while kept.count < count:
        after, now = env.step_and_maybe_reset(policy(now))
        step += 1
        kept.forget_fall(step, after["next", "dropped"][:, 0])
        done = after["next", "done"][:, 0]
        if step % every == 0:
            kept.add(step, env.physics.qpos.float(), episodes, ~done)
            progress(min(kept.count, count))
        ended = int(done.sum())
        episodes = episodes.clone()
        episodes[done] = torch.arange(begun, begun + ended, dtype=torch.int32)
        begun += ended
    qpos, episode = kept.states()
    return qpos[:count], episode[:count]


class _Kept:
    """States so far; the youngest wait until it is known that their object is not falling."""

    def __init__(self) -> None:
        self._settled: list[tuple[Tensor, Tensor]] = []
        self._waiting: list[tuple[int, Tensor, Tensor, Tensor]] = []
        self.count = 0

    def add(self, step: int, qpos: Tensor, episodes: Tensor, chosen: Tensor) -> None:
        self._waiting.append((step, qpos.clone(), episodes.clone(), chosen.clone()))

    def forget_fall(self, step: int, dropped: Tensor) -> None:
        for _, _, _, chosen in self._waiting:
            chosen &= ~dropped
        while self._waiting and self._waiting[0][0] <= step - FALL:
            _, qpos, episodes, chosen = self._waiting.pop(0)
            self._settled.append((qpos[chosen], episodes[chosen]))
            self.count += int(chosen.sum())

    def states(self) -> tuple[Tensor, Tensor]:
        qpos, episodes = zip(*self._settled, strict=True)
        return torch.cat(qpos), torch.cat(episodes)
