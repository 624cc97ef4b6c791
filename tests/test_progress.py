"""What takes long says how far it has come, on a terminal and in a log."""

import io
import time
from types import SimpleNamespace

from rich.console import Console

from dactyl_tl.progress import progress_reports


def log():
    return Console(file=io.StringIO(), width=40)


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    console, now = log(), iter([0.0, 20.0, 40.0, 60.0, 80.0, 130.0])
    monkeypatch.setattr("dactyl_tl.progress.time", SimpleNamespace(monotonic=lambda: next(now)))
    with progress_reports(console, seconds=60.0) as report:
        for done in range(5):
            report("pictures", 1000 * done, 4000, "as it should be, however narrow the log")
    assert console.file.getvalue().splitlines() == [
        "pictures: 2,000 of 4,000, as it should be, however narrow the log, 1 min",
        "pictures: 4,000 of 4,000, as it should be, however narrow the log, 2 min",
    ]


def test_what_is_soon_done_leaves_no_line_in_a_log():
    console = log()
    with progress_reports(console) as report:
        report("pictures", 0, 1)
        report("pictures", 1, 1)
    assert console.file.getvalue() == ""


def test_a_terminal_shows_a_bar_while_something_is_under_way():
    console = terminal()
    with progress_reports(console) as report:
        report("pictures", 1, 3, "all well")
        for words in ("pictures", "1/3", "all well"):
            assert words in console.file.getvalue()
        report("pictures", 3, 3)
        length = len(console.file.getvalue())
        time.sleep(0.3)
        assert len(console.file.getvalue()) == length, "others have the screen meanwhile"
        report("trials", 2, 5)
        assert "2/5" in console.file.getvalue()[length:]
