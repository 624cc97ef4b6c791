"""What a rollout says about the behaviour: per episode that ended, and per step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import chain, zip_longest
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor

from dactyl_tl.contract import CONTROL_PERIOD, REWARD_TERMS
from dactyl_tl.ranks import of_all_ranks

EPISODE_KEYS = ("successes", "drop_rate", "timeout_rate", "seconds")


class EpisodeStatistics:
    """Means over the ``window`` episodes that ended last, on whichever rank.

    Every rank knows the episodes of all, so that what follows from them, as a curriculum, is the same.

    Args:
        window: number of episodes; long enough to be steady, short enough to follow the learning.
    """

    def __init__(self, window: int = 200) -> None:
        self._window = window
        self._episodes: deque[tuple[float, ...]] = deque(maxlen=window)
        self.finished = 0
        self.diverged = 0

    def update(self, rollout: TensorDictBase, also: Mapping[str, Tensor] | None = None) -> dict[str, float]:
        """Take in a rollout [N, T] of every rank and return the metrics to log, the same on all.

        Means are over the steps of all ranks, counts are sums, and a scalar of ``also`` is a mean, or the
        largest where its name ends in ``_max``.

        An episode's successes are the goals it achieved, "consecutive" because a drop or a time-out
        ends it. Simulations that diverged are counted, not averaged.

        Args:
            rollout: [N, T] of this rank, on any device, which is read once; as large on every rank.
            also: further scalars to read along and return, on the same device.
        """
        after = rollout["next"]
        done, diverged = after["done"].flatten(), after["diverged"].flatten()
        dropped, truncated = after["dropped"].flatten(), after["truncated"].flatten()
        columns = (after["successes"].flatten(), dropped, truncated & ~dropped, after["elapsed"].flatten())
        number, last = _last(done & ~diverged, self._window)
        means = step_means(rollout) | dict(also or {})
        scalars = torch.stack([each.double() for each in (number, diverged.sum(), *means.values())])
        episodes = torch.stack([column[last].double() for column in columns], -1)
        read = of_all_ranks(torch.cat([scalars, episodes.flatten()]).cpu())

        scalars, tables = read[:, : len(scalars)], read[:, len(scalars) :].unflatten(1, (self._window, -1))
        finished, diverged = scalars[:, 0].int().tolist(), scalars[:, 1]
        first = [self._window - min(count, self._window) for count in finished]
        ends = [table[start:] for start, table in zip(first, tables, strict=True)]
        self._episodes.extend(_in_turn([tuple(row) for row in rows.tolist()] for rows in ends))
        self.finished += sum(finished)
        self.diverged += int(diverged.sum())
        values = {
            name: float(column.max() if name.endswith("_max") else column.mean())
            for name, column in zip(means, scalars[:, 2:].unbind(1), strict=True)
        }
        return {**self.means(), **values, "episode/diverged": float(self.diverged)}

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
    return {name: float(value) for name, value in step_means(rollout).items()}


def step_means(rollout: TensorDictBase) -> dict[str, Tensor]:
    """:func:`step_statistics` still on the rollout's device."""
    after = rollout["next"]
    return {
        "reward/total": after["reward"].mean(),
        **{f"reward/{term}": after["reward_terms", term].mean() for term in REWARD_TERMS},
        "rollout/goal_distance": after["goal_distance"].mean(),
        "rollout/successes_per_second": after["achieved"].double().mean() / CONTROL_PERIOD,
    }


def _in_turn(rows: Iterable[list[tuple[float, ...]]]) -> list[tuple[float, ...]]:
    """The rows of all lists, so that the last few of the whole are the last few of each."""
    back = chain.from_iterable(zip_longest(*(reversed(each) for each in rows)))
    return [row for row in back if row is not None][::-1]


def _last(marks: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """How many of bool ``marks`` [M] are set, and where the last ``number`` are, int64 [number] in order.

    Where fewer are set, the first places mean nothing. Of fixed size, so that nobody has to wait.
    """
    count = marks.sum()
    # 0 for the last that is set; everything else goes to one more place, which is dropped.
    later = count - marks.cumsum(0)
    place = torch.where(marks & (later < number), number - 1 - later, number)
    index = torch.arange(len(marks), device=marks.device)
    return count, index.new_zeros(number + 1).scatter_(0, place, index)[:number]
