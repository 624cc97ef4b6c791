"""What came of the trials, as a table beside the paper's, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dactyl_tl.contract import CONTRACT_VERSION
from dactyl_tl.evaluation.comparison import Comparison, ResultGroup
from dactyl_tl.evaluation.paper import TABLE_3, TRAINED_WITH, PaperRow
from dactyl_tl.evaluation.statistics import CONFIDENCE
from dactyl_tl.evaluation.trials import TrialResults
from dactyl_tl.protocol import Ending

TABLE_WIDTH = 80
"""Characters."""

CSV_COLUMNS = ("policy", "index", "seed", "slot", "successes", "ending", "seconds", "goal_seconds")


def results_table(results: Sequence[TrialResults], paper: Sequence[PaperRow] = ()) -> RenderableType:
    """Table 3's row of each policy, the paper's rows below, and every trial, for a terminal.

    Args:
        results: One for each policy; not empty.
        paper: Rows to print beside them.
    """
    return Group(
        Text(_title(results[0]), style="bold"),
        _rotations(results, paper),
        _endings(results),
        *(_sorted_trials(result.policy, result.summary().trials) for result in results),
    )


def _rotations(results: Sequence[TrialResults], paper: Sequence[PaperRow]) -> Table:
    table = _table(
        "rotations in a row", "mean ± std", f"{CONFIDENCE:.0%} interval\nof the mean", "median",
        "rotations\nper minute",
    )  # fmt: skip
    for result in results:
        summary = result.summary()
        table.add_row(
            Text(result.policy, style="bold"),
            f"{summary.mean.estimate:.2f} ± {summary.std:.2f}",
            f"{summary.mean.low:.2f} to {summary.mean.high:.2f}",
            f"{summary.median:g}",
            f"{result.rotations_per_minute:.2f}",
        )
    if paper:
        table.add_section()
    if any(row in TABLE_3.values() for row in paper):
        table.caption = TRAINED_WITH
    for row in paper:
        table.add_row(
            paper_name(row, paper), f"{row.mean:.1f} ± {row.std:.1f}", "", f"{row.median:g}", "", style="dim"
        )
    return table


def _endings(results: Sequence[TrialResults]) -> Table:
    rotations = results[0].limits.rotations
    table = _table("why trials ended", f"{rotations} reached", "dropped", "timed out", "diverged")
    for result in results:
        table.add_row(
            Text(result.policy, style="bold"), *(str(result.endings[why]) for why in _ENDING_COLUMNS)
        )
    return table


def comparison_table(comparisons: Sequence[Comparison]) -> RenderableType:
    """Paired differences between one policy and others, for a terminal.

    Args:
        comparisons: All of the same first policy; not empty.
    """
    table = _table(
        f"{comparisons[0].first} less …,\nthe same trials", "mean\ndifference",
        f"paired\n{CONFIDENCE:.0%} interval", "wins / ties /\nlosses", "intervals\napart",
    )  # fmt: skip
    for comparison in comparisons:
        difference = comparison.difference
        table.add_row(
            comparison.second,
            f"{difference.estimate:+.2f}",
            f"{difference.low:+.2f} to {difference.high:+.2f}",
            f"{comparison.wins} / {comparison.ties} / {comparison.losses}",
            "yes" if comparison.apart else "no",
        )
    return table


def write_json(path: Path, groups: Sequence[ResultGroup]) -> None:
    """Write everything: each trial, the summaries, the comparisons, the paper's rows."""
    results = [result for group in groups for result in group.results]
    paper = dict.fromkeys(row for group in groups for row in group.paper)
    document = {
        "contract_version": CONTRACT_VERSION,
        "policies": [result.to_dict() | {"summary": _summary(result)} for result in results],
        "comparisons": [asdict(each) for group in groups for each in group.comparisons],
        "paper": [asdict(row) for row in paper],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def write_markdown(
    path: Path, title: str, groups: Sequence[ResultGroup], experience: Mapping[str, str]
) -> None:
    """Write the tables of all groups for a document: ours with intervals, the paper's rows, differences.

    Args:
        path: File to write.
        title: Of the whole.
        groups: Of results.
        experience: How long each policy was trained, in words; those of the same budget are named together.
    """
    first = groups[0].results[0]
    lines = [
        f"**{title}.** {len(first.trials)} trials, {first.limits.rotations} rotations at most, "
        f"{first.limits.timeout:g} s a goal, seed {first.seed}; ± standard deviation over trials, "
        f"[{CONFIDENCE:.0%} bootstrap interval of the mean].",
    ]
    budgets: dict[str, list[str]] = {}
    for policy, words in experience.items():
        budgets.setdefault(words, []).append(policy)
    for words, policies in budgets.items():
        if words:
            lines[0] += f" {', '.join(policies)}: {words}."
    for group in groups:
        lines += ["", ", ".join(describe_settings(group.results[0])) + ":", ""]
        lines += _markdown_rows(group)
        for each in group.comparisons:
            difference = each.difference
            lines.append(
                f"\n{each.first} less {each.second}, the same trials: {difference.estimate:+.2f} "
                f"[{difference.low:+.2f}, {difference.high:+.2f}]"
            )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _markdown_rows(group: ResultGroup) -> list[str]:
    rotations = group.results[0].limits.rotations
    columns = ("", "rotations in a row", "interval", "median", "a minute", f"{rotations} reached",
               "dropped", "timed out")  # fmt: skip
    rows = [columns, ("---",) * len(columns)]
    for result in group.results:
        summary = result.summary()
        endings = [str(result.endings[why]) for why in _ENDING_COLUMNS[:-1]]
        rows.append(
            (result.policy, f"{summary.mean.estimate:.2f} ± {summary.std:.2f}",
             f"[{summary.mean.low:.2f}, {summary.mean.high:.2f}]", f"{summary.median:g}",
             f"{result.rotations_per_minute:.1f}", *endings)
        )  # fmt: skip
    for row in group.paper:
        cells = (paper_name(row, group.paper), f"{row.mean:g} ± {row.std:g}", "", f"{row.median:g}")
        rows.append((*cells, "", "", "", ""))
    return [f"| {' | '.join(row)} |" for row in rows]


def paper_name(row: PaperRow, rows: Sequence[PaperRow]) -> str:
    """What to call a row of the paper among ``rows``: by its world where that tells it from the others."""
    alone = sum(row.world == other.world for other in rows) == 1
    return f"paper, {row.world}, {row.count} trials" if alone else f"paper: {row.label}, {row.world}"


def read_json(path: Path) -> list[TrialResults]:
    """Read the results that :func:`write_json` wrote.

    Raises:
        ValueError: The file is of another contract version.
    """
    document = json.loads(path.read_text())
    version = document.get("contract_version")
    if version != CONTRACT_VERSION:
        raise ValueError(f"{path} has contract version {version}, this is version {CONTRACT_VERSION}")
    return [TrialResults.from_dict(entry) for entry in document["policies"]]


def write_csv(path: Path, results: Iterable[TrialResults]) -> None:
    """Write one line a trial; columns :data:`CSV_COLUMNS`, times in seconds, goals' separated by spaces."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CSV_COLUMNS)
        for result in results:
            for trial in result.trials:
                goals = " ".join(f"{seconds:.2f}" for seconds in trial.goal_seconds)
                writer.writerow(
                    (result.policy, trial.index, trial.seed, trial.slot, trial.successes, trial.ending,
                     f"{trial.seconds:.2f}", goals)
                )  # fmt: skip


def describe_settings(result: TrialResults) -> list[str]:
    """Task, randomization or laboratory, and who sees the object, in words, as far as they are known."""
    settings = result.settings
    words = [str(settings["task"])] if "task" in settings else []
    if settings.get("world") == "hand":
        words.append(f"on the hand ({settings['laboratory']})")
    elif "randomization" in settings:
        words.append(f"randomization {settings['randomization']}")
    if "pose" in settings:
        words.append(f"seen by {settings['pose']}")
    return words


_ENDING_COLUMNS = (Ending.COMPLETED, Ending.DROPPED, Ending.TIMEOUT, Ending.DIVERGED)


def _table(first: str, *columns: str) -> Table:
    """An empty table that fits 80 columns: its first column folds, the numbers never do."""
    table = Table(width=TABLE_WIDTH)
    table.add_column(first, overflow="fold", ratio=1, min_width=12)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _title(result: TrialResults) -> str:
    limits = f"{result.limits.rotations} rotations, {result.limits.timeout:g} s a goal"
    return ", ".join(
        [f"{len(result.trials)} trials", *describe_settings(result), limits, f"seed {result.seed}"]
    )


def _sorted_trials(name: str, trials: Sequence[int]) -> Text:
    runs = [(value, len(list(group))) for value, group in groupby(trials)]
    listed = "  ".join(f"{value}" if count == 1 else f"{value}×{count}" for value, count in runs)
    return Text.assemble((f"{name}: ", "bold"), listed)


def _summary(result: TrialResults) -> dict[str, Any]:
    summary = result.summary()
    return {
        "count": summary.count,
        "mean": summary.mean.estimate,
        "mean_interval": [summary.mean.low, summary.mean.high],
        "confidence": CONFIDENCE,
        "std": summary.std,
        "median": summary.median,
        "rotations_per_minute": result.rotations_per_minute,
        "endings": {str(ending): count for ending, count in result.endings.items()},
        "sorted": list(summary.trials),
    }
