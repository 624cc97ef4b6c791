"""What a rollout says about the behaviour: per episode that ended, and per step."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDictBase

from dactyl_tl.contract import CONTROL_PERIOD, REWARD_TERMS

EPISODE_KEYS = ("successes", "drop_rate", "timeout_rate", "seconds")


class EpisodeStatistics:
    """Means over the ``window`` episodes that ended last.

    Args:
        window: number of episodes; long enough to be steady, short enough to follow the learning.
    """

    def __init__(self, window: int = 200) -> None:
        self._episodes: deque[tuple[float, ...]] = deque(maxlen=window)
        self.finished = 0
        self.diverged = 0

    def update(self, rollout: TensorDictBase) -> dict[str, float]:
        """Take in a rollout [N, T] and return the metrics to log.

        An episode's successes are the goals it achieved, "consecutive" because a drop or a time-out
        ends it. Simulations that diverged are counted, not averaged.
        """
        after = rollout["next"]
        done = after["done"].squeeze(-1)
        diverged = after["diverged"].squeeze(-1)
        self.diverged += int(diverged.sum())
        ended = done & ~diverged
        columns = (
            after["successes"].squeeze(-1)[ended].double(),
            after["dropped"].squeeze(-1)[ended].double(),
            (after["truncated"].squeeze(-1) & ~after["dropped"].squeeze(-1))[ended].double(),
            after["elapsed"].squeeze(-1)[ended].double(),
        )
        self._episodes.extend(tuple(row) for row in torch.stack(columns, -1).tolist())
        self.finished += int(ended.sum())
        return {**self.means(), **step_statistics(rollout), "episode/diverged": float(self.diverged)}

    def means(self) -> dict[str, float]:
        """Mean over the window; nothing before the first episode has ended."""
        if not self._episodes:
            return {}
        table = torch.tensor(list(self._episodes), dtype=torch.float64).mean(0).tolist()
        return {
            **{f"episode/{key}": value for key, value in zip(EPISODE_KEYS, table, strict=True)},
            "episode/finished": float(self.finished),
        }

    def state_dict(self) -> dict[str, Any]:
        """Tensors and integers."""
        table = torch.tensor(list(self._episodes), dtype=torch.float64).reshape(-1, len(EPISODE_KEYS))
        return {"episodes": table, "finished": self.finished, "diverged": self.diverged}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the window and the counters."""
        self._episodes.clear()
        self._episodes.extend(tuple(row) for row in state["episodes"].tolist())
        self.finished, self.diverged = state["finished"], state["diverged"]


def step_statistics(rollout: TensorDictBase) -> dict[str, float]:
    """Means over all steps of a rollout: reward, its terms, distance to the goal in rad."""
    after = rollout["next"]
    terms = {f"reward/{term}": float(after["reward_terms", term].mean()) for term in REWARD_TERMS}
    return {
        "reward/total": float(after["reward"].mean()),
        **terms,
        "rollout/goal_distance": float(after["goal_distance"].mean()),
        "rollout/successes_per_second": float(after["achieved"].double().mean() / CONTROL_PERIOD),
    }
