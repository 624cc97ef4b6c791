"""A task that needs memory: recall a cue that was shown at the first step only.

It speaks the contract's keys and shapes, so that the real networks and the real learner run on it.
"""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from dactyl_tl.contract import (
    NUM_ACTUATORS,
    NUM_BINS,
    OBSERVATION_SIZES,
    POLICY,
    POLICY_INPUTS,
    PRIVILEGED,
    PRIVILEGED_INPUTS,
)


class CueEnv(EnvBase):
    """The cue, -1 or 1, is the object's x position at step 0; afterwards it is 0.

    At the last of ``length`` steps the reward is 1 if the first actuator's bin lies on the cue's side
    of the middle and -1 otherwise; then the episode terminates. Privileged inputs hold the time.
    """

    def __init__(self, num_envs: int, length: int = 8, seed: int = 0) -> None:
        super().__init__(batch_size=torch.Size([num_envs]))
        self.length = length
        self.observation_spec = Composite(
            {
                group: Composite(
                    {name: Unbounded((num_envs, OBSERVATION_SIZES[name])) for name in names}, shape=[num_envs]
                )
                for group, names in ((POLICY, POLICY_INPUTS), (PRIVILEGED, PRIVILEGED_INPUTS))
            },
            shape=[num_envs],
        )
        self.action_spec = Categorical(NUM_BINS, shape=(num_envs, NUM_ACTUATORS), dtype=torch.int64)
        self.reward_spec = Bounded(-1, 1, (num_envs, 1))
        flag = Categorical(2, shape=(num_envs, 1), dtype=torch.bool)
        self.done_spec = Composite(
            {name: flag.clone() for name in ("done", "terminated", "truncated")}, shape=[num_envs]
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.cue = torch.zeros(num_envs)
        self.time = torch.zeros(num_envs, dtype=torch.int64)

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs) -> TensorDictBase:
        reset = torch.ones(self.num_envs, dtype=torch.bool)
        if tensordict is not None and tensordict.get("_reset", None) is not None:
            reset = tensordict["_reset"].reshape(-1)
        cue = torch.randint(0, 2, (self.num_envs,), generator=self.generator) * 2.0 - 1.0
        self.cue = torch.where(reset, cue, self.cue)
        self.time = torch.where(reset, 0, self.time)
        observation = self._observe()
        done = torch.zeros(self.num_envs, 1, dtype=torch.bool)
        return observation.update({"done": done, "terminated": done.clone(), "truncated": done.clone()})

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        side = (tensordict["action"][:, 0] - NUM_BINS // 2).sign()
        self.time = self.time + 1
        last = (self.time >= self.length).unsqueeze(-1)
        correct = torch.where(side == self.cue, 1.0, -1.0).unsqueeze(-1)
        result = self._observe()
        return result.update(
            {
                "reward": correct * last,
                "done": last,
                "terminated": last.clone(),
                "truncated": torch.zeros_like(last),
            }
        )

    def _observe(self) -> TensorDict:
        observation = self.observation_spec.zero()
        observation[POLICY, "object_position"][:, 0] = self.cue * (self.time == 0)
        observation[PRIVILEGED, "object_position"][:, 0] = self.time / self.length
        return observation

    def _set_seed(self, seed: int | None) -> None:
        self.generator.manual_seed(seed or 0)

    @property
    def num_envs(self) -> int:
        return self.batch_size[0]
