"""Errors of a pose estimator on pictures that it did not learn from (Table 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dactyl_tl.estimators.bundles import PoseEstimator
from dactyl_tl.evaluation.statistics import Interval, bootstrap_mean, sample_std
from dactyl_tl.learning.pose import pose_errors
from dactyl_tl.models.pictures import standardize
from dactyl_tl.rendering.objects import look_of, symmetries
from dactyl_tl.simulation.scene import TASKS
from dactyl_tl.vision.drawing import HELD_OUT, held_out
from dactyl_tl.vision.pictures import draw_all
from dactyl_tl.vision.states import States, gather

OTHER_ROLLOUTS = 1_000_003
"""Added to the seed: rollouts that no training with the same seed has seen."""

EVERY = 10
"""Control steps between two states."""


@dataclass(frozen=True)
class PoseErrors:
    """What an estimator is off by, on pictures of one kind.

    Attributes:
        estimator: Its name.
        pictures: One of :data:`dactyl_tl.vision.drawing.HELD_OUT`.
        rotation: Angle to the true orientation, degrees, (n,); for an object that looks the same in several
            orientations, to the nearest of those.
        position: Distance to the true position, mm, (n,).
    """

    estimator: str
    pictures: str
    rotation: NDArray[np.float64]
    position: NDArray[np.float64]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Mean with its interval, standard deviation, median and 90th percentile of both."""
        return {name: _summary(getattr(self, name)) for name in ("rotation", "position")}


def _summary(values: NDArray[np.float64]) -> dict[str, Any]:
    mean: Interval = bootstrap_mean(values)
    return {
        "mean": mean.estimate,
        "mean_interval": [mean.low, mean.high],
        "std": float(sample_std(values)),
        "median": float(np.median(values)),
        "percentile_90": float(np.percentile(values, 90)),
        "count": len(values),
    }


def held_out_states(policy: str | None, environment: Mapping[str, Any], count: int, seed: int) -> States:
    """States of rollouts that are no estimator's training; see :func:`dactyl_tl.vision.states.gather`."""
    return gather(
        policy, environment, count=count, every=EVERY, num_envs=min(count, 100), seed=seed + OTHER_ROLLOUTS
    )


def measure(
    estimators: Mapping[str, PoseEstimator],
    states: States,
    *,
    seed: int,
    workers: int,
    look: str = "lettered",
    progress: Callable[[int], None] = lambda done: None,
) -> list[PoseErrors]:
    """Errors of estimators on the same pictures of every kind.

    Args:
        estimators: By name.
        states: To take pictures of, as they are.
        seed: Of the looks.
        workers: Processes that draw.
        look: Of the object.
        progress: Called with the number of sets of pictures seen, of all kinds.
    """
    same = torch.from_numpy(symmetries(look_of(TASKS[states.task].object_name, look))).float()
    results = []
    for number, pictures in enumerate(HELD_OUT):
        drawing = held_out(states.task, pictures, look)
        found: dict[str, list[Tensor]] = {name: [] for name in estimators}
        done = number * len(states)
        for drawn, position, orientation, _ in draw_all(drawing, states.qpos, seed, workers):
            seen = standardize(drawn)
            for name, estimator in estimators.items():
                with torch.inference_mode():
                    output = estimator.network(seen)
                    errors = pose_errors(estimator.network, output, position, orientation, same)
                found[name].append(torch.stack(errors, -1))
            done += len(drawn)
            progress(done)
        for name, parts in found.items():
            both = torch.cat(parts).double().numpy()
            results.append(PoseErrors(name, pictures, np.degrees(both[:, 0]), 1000 * both[:, 1]))
    return results
