"""``python -m benchmarks.milestones [NAME ...]``: frames and hours to so many goals an episode.

Read off the curves that come with the shipped policies; those of the policy that one started from are
included. Several trainings of one bundle are not told apart: what a policy of Table 5 or block_lstm reached,
it reached without randomizations, and a fine-tuned one perhaps on the task before. Training ends an episode
at 50 goals and gives 8 s for each, or what a policy's command says; a trial of section 6.2 gives 80 s.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from benchmarks.report import table
from dactyl_tl.checkpoint import read_description
from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.metrics import FRAMES, read_metrics
from dactyl_tl.policies import CURVE, FOLDER, shipped_policies
from dactyl_tl.stages import MINUTES

GOALS = (1, 5, 10, 20, 40)
SUCCESSES = "episode/successes"
LESSONS = {"curriculum/goal_angle": math.pi, "curriculum/randomization_scale": 1.0}
"""Where a curriculum ends; before that, its goals do not count. A training without one begins at the end."""


@dataclass(frozen=True)
class Effort:
    """What training took."""

    frames: int
    hours: float

    def __add__(self, other: Effort) -> Effort:
        return Effort(self.frames + other.frames, self.hours + other.hours)

    def __str__(self) -> str:
        return f"{self.frames / 1e6:.1f} M, {self.hours:.1f} h"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.milestones", description=__doc__)
    parser.add_argument("policies", nargs="*", metavar="NAME", help="default: all")
    names = parser.parse_args().policies or shipped_policies()
    rows = []
    for name in names:
        base = _base(name)
        total = base + _own(name)
        reached = [each and str(base + each) for each in (_reached(name, goals) for goals in GOALS)]
        days = total.frames * CONTROL_PERIOD / 86400
        machine = read_description(name)["training"]["machine"]
        rows.append([name, *(each or "-" for each in reached), f"{total}, {days:.0f} days", machine])
    print(table(("policy", *(f"{goals} goals" for goals in GOALS), "in all", "machine"), rows))


def _own(name: str) -> Effort:
    training = read_description(name)["training"]
    return Effort(training["frames"], training["minutes"] / 60)


def _base(name: str) -> Effort:
    first = read_description(name)["training"]["from"]
    return _base(first) + _own(first) if first else Effort(0, 0.0)


def _reached(name: str, goals: int) -> Effort | None:
    """When the curve first stood at ``goals`` with no curriculum easing it; None if it never did."""
    for row in read_metrics(FOLDER / name / CURVE):
        # Without a curriculum the value is missing or NaN, which is not less than anything.
        eased = any(row.get(key, end) < 0.999 * end for key, end in LESSONS.items())
        if not eased and row[SUCCESSES] >= goals:
            return Effort(int(row[FRAMES]), row[MINUTES] / 60)
    return None


if __name__ == "__main__":
    main()
