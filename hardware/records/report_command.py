"""``python -m hardware report``: what a campaign's records say, on one page."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from hardware.records.report import print_report


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("directory", type=Path, help="a campaign's, with records/*.mcap")


def run(arguments: argparse.Namespace) -> int:
    """Write the report and print its figures; raises as :func:`hardware.records.report.write_report`."""
    print_report(arguments.directory, Console())
    return 0
