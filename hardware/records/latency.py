"""Where the time of a control step goes, and how late the low-level controller's ticks are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hardware.lowlevel.wire import BUCKETS
from hardware.records.trial_record import Fields, TrialRecord

STAGES: Mapping[str, str] = MappingProxyType(
    {
        "sense": "age of the oldest reading once everything is looked at",
        "infer": "from there until the action is decided, records and display included",
        "send": "until the controller has answered",
        "act": "in the controller, until the first target that follows the action is sent",
        "late": "the next look, after it was due",
    }
)
"""Parts of a control step in their order, each a field ``<name>_ns`` of the messages ``latency``."""


@dataclass(frozen=True)
class StepTimes:
    """How long the parts of each control step of one trial took.

    Attributes:
        stages: For each of :data:`STAGES`, ms, shape (steps,); NaN where it is not known.
        missed: Steps that had not ended when the next was due.
    """

    stages: Mapping[str, NDArray[np.float64]]
    missed: int


def step_times(record: TrialRecord) -> StepTimes:
    """The times that a trial's record holds."""
    messages = record.each("latency")
    stages = {
        name: np.array([message.get(f"{name}_ns") for message in messages], dtype=np.float64) * 1e-6
        for name in STAGES
    }
    return StepTimes(stages, sum(bool(message["missed"]) for message in messages))


@dataclass(frozen=True)
class Stage:
    """How long one part of a control step takes.

    Attributes:
        name: One of :data:`STAGES`.
        count: Steps in which it is known.
        median, high, longest: Median, 99th percentile and maximum, ms; NaN if it is known in no step.
    """

    name: str
    count: int
    median: float
    high: float
    longest: float


@dataclass(frozen=True)
class Budget:
    """The control steps of a set of trials.

    Attributes:
        stages: Those of :data:`STAGES`, in their order.
        steps: How many control steps.
        missed: Of those, how many had not ended when the next was due.
    """

    stages: tuple[Stage, ...]
    steps: int
    missed: int


def latency_budget(times: Sequence[StepTimes]) -> Budget:
    """How long the parts of a control step take, over all steps of all trials."""
    stages = []
    steps = 0
    for name in STAGES:
        all_steps = np.concatenate([np.empty(0), *(each.stages[name] for each in times)])
        known = all_steps[~np.isnan(all_steps)]
        numbers = (np.median(known), np.percentile(known, 99), known.max()) if known.size else (np.nan,) * 3
        stages.append(Stage(name, known.size, *map(float, numbers)))
        steps = all_steps.size
    return Budget(tuple(stages), steps, sum(each.missed for each in times))


@dataclass(frozen=True)
class Ticks:
    """The low-level controller's counts over a set of trials; see :class:`hardware.lowlevel.wire.Info`.

    Attributes:
        ticks, missed, refused, clipped, slowed: Sums.
        lateness: Ticks by lateness: bucket b counts those later than 2**(b - 1) and up to 2**b
            microseconds, the first everything up to 1, the last everything beyond.
        period: Between two ticks, microseconds; NaN if no trial tells.
        unknown: Trials without counts: the controller did not answer, or the process was killed.
    """

    ticks: int
    missed: int
    refused: int
    clipped: int
    slowed: int
    lateness: tuple[int, ...]
    period: float
    unknown: int

    def at_most(self, percent: float) -> float:
        """An upper bound of a percentile of the lateness, microseconds.

        The end of the bucket in which the percentile lies, which is less than twice what it bounds.
        Infinite in the last bucket, NaN without any tick.
        """
        total = sum(self.lateness)
        if not total:
            return np.nan
        bucket = int(np.searchsorted(np.cumsum(self.lateness), percent / 100 * total))
        return 2.0**bucket if bucket < BUCKETS - 1 else np.inf


def controller_ticks(counts: Sequence[Fields | None]) -> Ticks:
    """The counts that the controller gave at the end of each trial (None where it gave none), added up."""
    given = [each for each in counts if each is not None]
    lateness = np.zeros(BUCKETS, dtype=np.int64)
    for each in given:
        lateness += np.array(each["lateness"], dtype=np.int64)
    return Ticks(
        **{
            name: sum(int(each[name]) for each in given)
            for name in ("ticks", "missed", "refused", "clipped", "slowed")
        },
        lateness=tuple(lateness.tolist()),
        period=max((each["period_ns"] for each in given), default=np.nan) * 1e-3,
        unknown=len(counts) - len(given),
    )
