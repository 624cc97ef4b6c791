"""A world of one angle with the keys, shapes and rules of the real environment, for fast tests.

An angle is turned by the mean of the actions; a goal is reached within 0.1 rad of it, the object is
dropped with a small probability and an episode is cut after ``limit`` steps without a goal.
"""

from __future__ import annotations

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from dactyl_tl.contract import (
    CONTROL_PERIOD,
    NUM_ACTUATORS,
    NUM_BINS,
    OBSERVATION_SIZES,
    POLICY,
    POLICY_INPUTS,
    PRIVILEGED,
    PRIVILEGED_INPUTS,
    REWARD_TERMS,
)


class ToyEnv(EnvBase):
    """Deterministic given its seed; every tensor that decides its future is in ``state_dict``."""

    def __init__(self, num_envs: int = 4, seed: int = 0, limit: int = 25, device: str = "cpu", **_: object):
        super().__init__(device=device, batch_size=[num_envs])
        self.limit, self.goal_angle, self.randomization_scale = limit, 1.0, 1.0
        self.divergences = 0
        self.generator = torch.Generator().manual_seed(seed)
        self.angle = torch.zeros(num_envs)
        self.goal = torch.zeros(num_envs)
        self.patience = torch.zeros(num_envs, dtype=torch.int64)
        self.count = torch.zeros(num_envs, dtype=torch.int64)
        self.age = torch.zeros(num_envs, dtype=torch.int64)
        n = num_envs

        def flag() -> Bounded:
            return Bounded(0, 1, (n, 1), dtype=torch.bool)

        self.observation_spec = Composite(
            {
                POLICY: Composite(
                    {k: Unbounded((n, OBSERVATION_SIZES[k])) for k in POLICY_INPUTS}, shape=(n,)
                ),
                PRIVILEGED: Composite(
                    {k: Unbounded((n, OBSERVATION_SIZES[k])) for k in PRIVILEGED_INPUTS}, shape=(n,)
                ),
                "reward_terms": Composite({k: Unbounded((n, 1)) for k in REWARD_TERMS}, shape=(n,)),
                "goal_distance": Unbounded((n, 1)),
                "elapsed": Unbounded((n, 1)),
                "successes": Unbounded((n, 1), dtype=torch.int64),
                "achieved": flag(),
                "dropped": flag(),
                "diverged": flag(),
            },
            shape=(n,),
        )
        self.action_spec = Categorical(NUM_BINS, shape=(n, NUM_ACTUATORS))
        self.reward_spec = Unbounded((n, 1))
        self.done_spec = Composite(
            {k: Categorical(2, shape=(n, 1), dtype=torch.bool) for k in ("done", "terminated", "truncated")},
            shape=(n,),
        )

    def check(self) -> None:
        """Nothing can be missing."""

    def _set_seed(self, seed: int | None) -> None:
        self.generator.manual_seed(seed or 0)

    def state_dict(self, *_: object, **__: object) -> dict[str, torch.Tensor]:
        return {
            **{k: getattr(self, k).clone() for k in ("angle", "goal", "patience", "count", "age")},
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, torch.Tensor], *_: object, **__: object) -> None:
        for key, value in state.items():
            if key == "generator":
                self.generator.set_state(value)
            else:
                getattr(self, key).copy_(value)

    def _observe(self) -> TensorDict:
        offset = self.goal - self.angle
        clock = 0.1 * torch.stack([self.angle, self.goal, offset, self.age.float()], -1)
        tiled = clock.repeat(1, 6)
        return TensorDict(
            {
                POLICY: TensorDict(
                    {k: tiled[:, : OBSERVATION_SIZES[k]] for k in POLICY_INPUTS}, self.batch_size
                ),
                PRIVILEGED: TensorDict(
                    {k: tiled[:, : OBSERVATION_SIZES[k]] for k in PRIVILEGED_INPUTS}, self.batch_size
                ),
                "goal_distance": offset.abs().unsqueeze(-1),
                "elapsed": CONTROL_PERIOD * self.age.unsqueeze(-1).float(),
                "successes": self.count.unsqueeze(-1).clone(),
            },
            self.batch_size,
        )

    def _new_goals(self, mask: torch.Tensor) -> None:
        sampled = self.angle + self.goal_angle * (torch.rand(len(mask), generator=self.generator) - 0.5)
        self.goal = torch.where(mask, sampled, self.goal)
        self.patience = torch.where(mask, 0, self.patience)

    def _reset(self, td: TensorDictBase | None = None, **_: object) -> TensorDict:
        mask = torch.ones(self.batch_size, dtype=torch.bool)
        if td is not None and "_reset" in td.keys():
            mask = td["_reset"].reshape(self.batch_size)
        for name in ("angle", "count", "age"):
            setattr(self, name, torch.where(mask, torch.zeros_like(getattr(self, name)), getattr(self, name)))
        self._new_goals(mask)
        no = torch.zeros(*self.batch_size, 1, dtype=torch.bool)
        out = self._observe()
        out.update({k: no.clone() for k in ("achieved", "dropped", "diverged")})
        out["reward_terms"] = TensorDict(
            {k: torch.zeros_like(no, dtype=torch.float) for k in REWARD_TERMS}, [len(no)]
        )
        return out

    def _step(self, td: TensorDictBase) -> TensorDict:
        before = (self.goal - self.angle).abs()
        self.angle = self.angle + 0.3 * (td["action"].float().mean(-1) - NUM_BINS // 2)
        after = (self.goal - self.angle).abs()
        achieved = after < 0.1
        dropped = torch.rand(len(after), generator=self.generator) < 0.01
        self.count, self.age, self.patience = self.count + achieved, self.age + 1, self.patience + 1
        out = self._observe()
        terms = {
            "rotation": before - after,
            "success": 5.0 * achieved,
            "drop": -20.0 * dropped,
            "dense": torch.zeros_like(after),
        }
        truncated = (self.patience >= self.limit) & ~dropped
        out.update(
            {
                "reward_terms": TensorDict({k: v.unsqueeze(-1) for k, v in terms.items()}, self.batch_size),
                "reward": sum(terms.values()).unsqueeze(-1),
                "achieved": achieved.unsqueeze(-1),
                "dropped": dropped.unsqueeze(-1),
                "diverged": torch.zeros_like(dropped).unsqueeze(-1),
                "terminated": dropped.unsqueeze(-1),
                "truncated": truncated.unsqueeze(-1),
                "done": (dropped | truncated).unsqueeze(-1),
            }
        )
        self._new_goals(achieved)
        return out
