"""Two policies on the same trials."""

from __future__ import annotations

from dataclasses import dataclass

from dactyl_tl.evaluation.paper import PaperRow
from dactyl_tl.evaluation.statistics import Interval, bootstrap_difference
from dactyl_tl.evaluation.trials import TrialResults


@dataclass(frozen=True)
class Comparison:
    """How much better ``first`` is than ``second``, trial by trial.

    Attributes:
        first: Name of the first policy.
        second: Name of the second policy.
        difference: Mean of the first's rotations minus the second's on the same trial, with its paired
            95 % bootstrap interval.
        wins: Trials in which the first achieved more rotations.
        ties: Trials in which both achieved equally many.
        losses: Trials in which the second achieved more.
        apart: Whether the two means' own 95 % intervals do not overlap: a stricter demand than an
            interval of the difference that excludes zero.
    """

    first: str
    second: str
    difference: Interval
    wins: int
    ties: int
    losses: int
    apart: bool


@dataclass(frozen=True)
class ResultGroup:
    """Policies that ran the same trials, and the paper's rows to set beside them.

    Attributes:
        results: One for each policy; not empty.
        paper: Rows of the paper.
    """

    results: tuple[TrialResults, ...]
    paper: tuple[PaperRow, ...] = ()

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The first policy against each other one."""
        return tuple(compare(self.results[0], other) for other in self.results[1:])


def compare(first: TrialResults, second: TrialResults) -> Comparison:
    """Compare two policies that ran the same trials.

    Raises:
        ValueError: The trials are not the same (seeds, limits, or what else defines them).
    """
    for what, a, b in (
        ("seeds", [(t.seed, t.slot) for t in first.trials], [(t.seed, t.slot) for t in second.trials]),
        ("limits", first.limits, second.limits),
        ("settings", dict(first.settings), dict(second.settings)),
    ):
        if a != b:
            raise ValueError(
                f"{first.policy!r} and {second.policy!r} did not run the same trials: "
                f"{what} differ, {a} and {b}"
            )
    gain = first.successes - second.successes
    return Comparison(
        first=first.policy,
        second=second.policy,
        difference=bootstrap_difference(first.successes, second.successes),
        wins=int((gain > 0).sum()),
        ties=int((gain == 0).sum()),
        losses=int((gain < 0).sum()),
        apart=not first.summary().mean.overlaps(second.summary().mean),
    )
