"""What every benchmark prints around its numbers: machine, date, versions, a table; and the JSON of it."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dactyl_tl.machine import installed_version, memory_gib, processor


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions of the named distributions; "absent" for one that is not installed."""
    return {name: installed_version(name) or "absent" for name in packages}


def environment(packages: Iterable[str]) -> dict[str, Any]:
    """Everything that a reader needs to place a number: when, where and with which versions."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory_gib(), 1),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions(packages),
    }


def heading(facts: Mapping[str, Any]) -> str:
    """Three lines of text from :func:`environment`'s facts."""
    installed = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"{facts['date']}  {facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB,"
        f" load {facts['load_before']} at the start\n"
        f"{facts['system']}, Python {facts['python']}\n"
        f"{installed}"
    )


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Median and half the interquartile range (half the range for fewer than four values)."""
    middle = statistics.median(values)
    if len(values) < 4:
        return middle, (max(values) - min(values)) / 2
    quarters = statistics.quantiles(values, n=4)
    return middle, (quarters[2] - quarters[0]) / 2


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, first column flush left and the others flush right.

    Raises:
        ValueError: if a row has not as many cells as there are columns.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} cells, the table {len(columns)} columns: {row}")
    widths = [max(len(line[i]) for line in (columns, *rows)) for i in range(len(columns))]

    def draw(cells: Sequence[str]) -> str:
        first, *others = cells
        padded = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"
    return "\n".join([draw(columns), rule, *map(draw, rows)])


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write the measurements to a file, with its folders made if need be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
