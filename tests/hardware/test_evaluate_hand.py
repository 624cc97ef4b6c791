"""``evaluate.py world=hand``: a campaign that is killed goes on, and what is wrong is said in one line."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.campaign import FILE
from dactyl_tl.evaluation.command import evaluate
from hardware.opening import open_world
from hardware.records.trial_record import find_records, read_trial
from tests.evaluation.test_physical import compose
from tests.processes import assert_none_left, command, descendants, wait

ROOT = Path(__file__).parents[2]
CAMPAIGN = (
    "policy=[block_none,random]", "trials=1", "seed=3", "limits.rotations=2", "limits.timeout=1.5",
    "hardware.display=false",
)  # fmt: skip


class Evaluation:
    """A process of ``evaluate.py``."""

    def __init__(self, output: Path, *words: str) -> None:
        self.log = output.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "evaluate.py", *words, f"hydra.run.dir={output}"],
                cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env=os.environ | {"COLUMNS": "160"},
            )  # fmt: skip

    def finish(self) -> str:
        self.process.wait(150)
        return self.log.read_text()

    def kill(self) -> None:
        children = descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        assert_none_left(children, 30.0)


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(*words: str) -> Evaluation:
        started.append(Evaluation(tmp_path / "out", *words))
        return started[-1]

    yield begin
    for each in started:
        each.kill()


def rows(output: Path) -> list[dict]:
    path = output / FILE
    return [json.loads(line) for line in path.read_text().splitlines()][1:] if path.exists() else []


def test_a_campaign_that_is_killed_goes_on_without_a_trial_twice(start, tmp_path):
    output = tmp_path / "out"
    first = start("world=hand", *CAMPAIGN)

    def in_the_middle() -> bool:
        """One trial has ended and the next one is being recorded."""
        assert first.process.poll() is None, first.log.read_text()
        records = sorted((output / "records").glob("0001_*.mcap"))
        return len(rows(output)) == 1 and bool(records) and records[0].stat().st_size > 20_000

    wait(in_the_middle, 120.0)
    children = descendants(first.process.pid)
    words = " ".join(command(pid) for pid in children)
    for process in ("hardware.twin.hand", "hardware.twin.mocap_process", "hardware.lowlevel.command"):
        assert process in words
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    assert_none_left(children, 30.0)
    kept = rows(output)
    cut = read_trial(next((output / "records").glob("0001_*.mcap")))
    assert cut.outcome is None
    assert len(cut.each("observation")) > 1

    said = run(output, *CAMPAIGN)
    ended = rows(output)
    assert ended[: len(kept)] == kept, "what had ended is as it was"
    assert {row["policy"] for row in ended} == {"block_none", "random"}
    assert len(ended) == 2
    assert len({row["trial"]["seed"] for row in ended}) == 1, "the same goals for both"
    records = [read_trial(path) for path in find_records(output)]
    counted = [record.trial["policy"] for record in records if record.outcome is not None]
    assert sorted(counted) == ["block_none", "random"]
    second = sorted(path.name for path in find_records(output) if path.name.startswith("0001_"))
    assert [name.rsplit("_", 1)[1] for name in second][:2] == ["attempt1.mcap", "attempt2.mcap"]
    for name in ("results.json", "trials.csv", "results.png", "report.html"):
        assert (output / name).stat().st_size > 0
    for words in ("rotations in a row", "why trials ended", "control steps"):
        assert words in said

    with pytest.raises(ConfigurationError, match=r"another campaign: its limits\.rotations is 2, not 3"):
        run(output, *CAMPAIGN, "limits.rotations=3")
    assert rows(output) == ended


def run(output: Path, *words: str) -> str:
    """As ``evaluate.py`` runs it, in this process; what is printed."""
    console = Console(file=io.StringIO(), width=160)
    evaluate(compose(output, *words), console, open_world)
    return console.file.getvalue()


def test_trials_run_through_rosbridge(tmp_path):
    words = ("policy=block_none", "trials=1", "limits.rotations=1", "limits.timeout=1.5")
    said = run(tmp_path, *words, "hardware.backend=rosbridge", "hardware.display=false")
    assert "rotations in a row" in said
    assert [row["policy"] for row in rows(tmp_path)] == ["block_none"]
    record = read_trial(find_records(tmp_path)[-1])
    assert record.outcome is not None
    assert record.controller["backend"] == "rosbridge"
    assert record.trial["hardware"]["backend"] == "rosbridge"
    for condition in record.each("condition")[1:]:
        assert condition["acted_ns"] > 0


def test_what_cannot_be_used_is_one_line(start):
    evaluation = start(
        "policy=random", "world=hand", "hardware=shadow_ros", "hardware.rig=nowhere.json",
        "hardware.display=false",
    )  # fmt: skip
    printed = evaluation.finish()
    assert evaluation.process.returncode == 2, printed
    (line,) = printed.splitlines()
    assert line.startswith("error: ")
    assert "nowhere.json" in line
