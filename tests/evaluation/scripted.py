"""A world in which everything happens at known times: the second implementation of ``World``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from dactyl_tl.contract import CONTROL_PERIOD, NUM_ACTUATORS, OBSERVATION_SIZES, policy_keys
from dactyl_tl.protocol import Events


@dataclass(frozen=True)
class Script:
    """Control steps, counted from 1, at which things happen in one trial."""

    goals: tuple[int, ...] = ()
    drop: int | None = None
    diverge: int | None = None
    stop: int | None = None


class ScriptedWorld:
    """Plays scripts, a row of them a batch; remembers seeds and actions."""

    def __init__(self, *batches: list[Script]) -> None:
        self.batches = list(batches)
        self.num_trials = len(batches[0])
        self.seeds: list[int] = []
        self.actions: list[Tensor] = []
        self.step = 0

    def begin(self, seed: int) -> None:
        self.scripts = self.batches[len(self.seeds) % len(self.batches)]
        self.seeds.append(seed)
        self.step = 0

    def observe(self) -> TensorDict:
        n = self.num_trials
        observation = TensorDict(
            {key: torch.full((n, OBSERVATION_SIZES[key[1]]), float(self.step)) for key in policy_keys()}, [n]
        )
        return observation.set("is_init", torch.full((n, 1), self.step == 0))

    def act(self, action: Tensor) -> Events:
        self.step += 1
        self.actions.append(action)

        def now(times: list[int | None]) -> Tensor:
            return torch.tensor([time == self.step for time in times])

        return Events(
            achieved=torch.tensor([self.step in script.goals for script in self.scripts]),
            dropped=now([script.drop for script in self.scripts]),
            diverged=now([script.diverge for script in self.scripts]),
            stopped=now([script.stop for script in self.scripts]),
            seconds=torch.full((self.num_trials,), self.step * CONTROL_PERIOD),
        )


class CountingPolicy(TensorDictModuleBase):
    """Acts with the number of steps since the episode began, which only its memory can tell."""

    in_keys = ("count", "is_init")
    out_keys = ("action", ("next", "count"))

    def make_tensordict_primer(self):  # type: ignore[no-untyped-def]
        """The memory's shape, as TorchRL's recurrent modules tell it."""
        from torchrl.data import Unbounded
        from torchrl.envs import TensorDictPrimer

        return TensorDictPrimer({"count": Unbounded((1,))})

    def forward(self, tensordict: TensorDict) -> TensorDict:
        count = torch.where(tensordict["is_init"], 0.0, tensordict["count"])
        tensordict["action"] = count.long().expand(-1, NUM_ACTUATORS) % 11
        tensordict["next", "count"] = count + 1
        return tensordict
