"""A campaign's report: one page that holds everything, one picture, and a few lines for the terminal."""

from __future__ import annotations

import math
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hardware.lowlevel.wire import BUCKETS
from hardware.records.latency import STAGES
from hardware.records.plots import draw_budget, draw_lateness, draw_picture, draw_rotations, embedded
from hardware.records.summary import Summary, summarize

PAGE, PICTURE = "report.html", "report.png"
PERCENTILES = (50, 99, 99.9)

WIDTH, BAR = 78, 50
"""Characters of the tables, and of their longest bar."""


def write_report(directory: Path) -> list[Path]:
    """Write the report of a campaign into its directory: ``report.html`` and ``report.png``.

    Args:
        directory: With ``records/*.mcap`` and, unless only the records are left, ``campaign.jsonl``.

    Returns:
        The files.

    Raises:
        ConfigurationError: There is no campaign.
    """
    return _write(directory, summarize(directory))


def print_report(directory: Path, console: Console) -> list[Path]:
    """Print latencies and counts, and write the report; arguments, result and errors as above."""
    summary = summarize(directory)
    console.print(_budget(summary))
    console.print(_lateness(summary))
    console.print(Text(_ticks(summary)))
    files = _write(directory, summary)
    console.print(Text("report: " + ", ".join(map(str, files))))
    return files


def _write(directory: Path, summary: Summary) -> list[Path]:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, link=quote)
    page = environment.get_template(PAGE).render(
        summary=summary,
        stages=STAGES,
        percentiles=PERCENTILES,
        rotations=embedded(draw_rotations, summary, 9.6, 3.4),
        budget=embedded(draw_budget, summary, 6.0, 3.0),
        lateness=embedded(draw_lateness, summary, 6.0, 3.0),
    )
    (directory / PAGE).write_text(page, encoding="utf-8")
    draw_picture(directory / PICTURE, summary)
    return [directory / PAGE, directory / PICTURE]


def _budget(summary: Summary) -> Table:
    budget = summary.budget
    table = Table(
        title=f"{budget.steps} control steps, {budget.missed} missed", title_justify="left", width=WIDTH
    )
    table.add_column("ms")
    table.add_column("", ratio=1, style="dim")
    for column in ("median", "99 %", "maximum"):
        table.add_column(column, justify="right", no_wrap=True)
    for stage in budget.stages:
        figures = (_number(each) for each in (stage.median, stage.high, stage.longest))
        table.add_row(stage.name, STAGES[stage.name], *figures)
    return table


def _lateness(summary: Summary) -> Table:
    """A bar for each bucket with a tick in it; its length is logarithmic, so that one late tick shows."""
    counts = summary.ticks.lateness
    table = Table(title="low-level controller: how late its ticks began", title_justify="left", width=WIDTH)
    table.add_column("up to µs", justify="right")
    table.add_column("ticks", justify="right")
    table.add_column("", ratio=1)
    seen = [bucket for bucket, count in enumerate(counts) if count]
    longest = math.log10(1 + max(counts, default=0))
    for bucket in range(min(seen, default=0), max(seen, default=-1) + 1):
        bar = "█" * round(BAR * math.log10(1 + counts[bucket]) / longest)
        table.add_row(f"{2**bucket}" if bucket < BUCKETS - 1 else "more", str(counts[bucket]), bar)
    return table


def _ticks(summary: Summary) -> str:
    ticks = summary.ticks
    late = ", ".join(
        f"{percent:g} % up to {_number(ticks.at_most(percent))} µs late" for percent in PERCENTILES
    )
    return (
        f"low-level controller: {ticks.ticks} ticks, {ticks.missed} missed, {late}; "
        f"{ticks.refused} messages refused, {ticks.clipped} commands clipped, {ticks.slowed} ticks slowed"
    )


def _number(value: float) -> str:
    """Three digits, or as many as a whole number has."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
