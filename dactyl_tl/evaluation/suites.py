"""Evaluations that stand beside a table of the paper: which policies, in which trials."""

from __future__ import annotations

from dataclasses import dataclass

from dactyl_tl.evaluation.paper import TABLE_3, TABLE_4, TABLE_5, PaperRow


@dataclass(frozen=True)
class Group:
    """Policies on the same trials, and the paper's rows beside them.

    Attributes:
        task: Of :func:`dactyl_tl.make_env`.
        randomization: Of the trials.
        policies: What :func:`dactyl_tl.evaluation.policies.find_policies` takes; the first is compared
            with each other one.
        paper: Rows of the paper.
    """

    task: str
    randomization: str
    policies: tuple[str, ...]
    paper: tuple[PaperRow, ...]


@dataclass(frozen=True)
class Suite:
    """A table of the paper, as far as it can be had in simulation.

    Attributes:
        title: What it is, in words.
        groups: In the order of the table.
    """

    title: str
    groups: tuple[Group, ...]


def _table_3(task: str, *others: str) -> tuple[Group, ...]:
    paper = (TABLE_3[task, "simulation"], TABLE_3[task, "hand"])
    return tuple(Group(task, trials, (task, *others), paper) for trials in ("none", "all"))


def _randomised(policies: tuple[str, ...], paper: tuple[PaperRow, ...]) -> tuple[Group, ...]:
    return (Group("block", "all", policies, paper),)


SUITES = {
    "table3": Suite(
        "Table 3: each task, in simulation without and with randomizations",
        (*_table_3("block", "block_none"), *_table_3("block_locked_wrist"), *_table_3("prism")),
    ),
    "table4": Suite(
        "Table 4: groups of randomizations held out in training, trials with all of them",
        _randomised(
            tuple(f"table4_{name}" for name, source in TABLE_4 if source == "state"),
            tuple(row for (_, source), row in TABLE_4.items() if source == "state"),
        ),
    ),
    "table5": Suite(
        "Table 5: policy and value networks with and without memory, trials with all randomizations",
        _randomised(tuple(f"table5_{policy}_{value}" for policy, value in TABLE_5), tuple(TABLE_5.values())),
    ),
}
"""By name. The fully randomised simulation stands in for the robot of Tables 4 and 5, whose arms here are
policies trained with equal budgets, far below the paper's."""
