"""Tables, files and comparisons of known trials."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from dactyl_tl.evaluation.comparison import ResultGroup, compare
from dactyl_tl.evaluation.paper import TABLE_3
from dactyl_tl.evaluation.plots import plot_results
from dactyl_tl.evaluation.report import comparison_table, read_json, results_table, write_csv, write_json
from dactyl_tl.evaluation.trials import TrialResults
from dactyl_tl.protocol import Ending, Limits
from dactyl_tl.trials import Trial

PAPER = [TABLE_3["block", "simulation"], TABLE_3["block", "hand"]]


def results(name: str, successes: list[int], seed: int = 0) -> TrialResults:
    trials = tuple(
        Trial(
            i, 9, i, count, Ending.COMPLETED if count == 50 else Ending.DROPPED, 10.0 * count + 5,
            tuple(10.0 * (k + 1) for k in range(count)),
        )
        for i, count in enumerate(successes)
    )  # fmt: skip
    return TrialResults(name, seed, Limits(), trials, {"task": "block", "randomization": "all"})


def shown(renderable) -> str:  # type: ignore[no-untyped-def]
    console = Console(width=80, record=True, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(renderable)
    return capture.get()


def test_the_table_holds_ours_beside_the_papers() -> None:
    text = shown(results_table([results("mine", [50, 1, 1, 0])], PAPER))
    assert "13.00 ± 24.67" in text  # deviations 37, -12, -12, -13: squares 1826, over 3
    assert "43.4 ± 13.8" in text
    assert "18.8 ± 17.1" in text
    assert "mine: 50  1×2  0" in text
    assert "block, randomization all, 50 rotations, 80 s a goal, seed 0" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_comparison_is_paired() -> None:
    comparison = compare(results("a", [3, 5, 0, 9]), results("b", [2, 5, 1, 5]))
    assert comparison.difference.estimate == 1.0
    assert (comparison.wins, comparison.ties, comparison.losses) == (2, 1, 1)
    assert not comparison.apart
    header, *rows = shown(comparison_table([comparison])).splitlines()[1:]
    assert "a less" in header
    assert any(row.split()[1:3] == ["b", "│"] and "+1.00" in row for row in rows)
    assert compare(results("a", [9] * 9), results("b", [1] * 9)).apart


def test_other_trials_are_not_compared() -> None:
    a = results("a", [1, 2])
    for other, what in (
        (results("b", [1]), "seeds"),
        (replace(results("b", [1, 2]), limits=Limits(3, 8.0)), "limits"),
        (replace(results("b", [1, 2]), settings={"task": "prism"}), "settings"),
    ):
        with pytest.raises(ValueError, match=f"{what} differ"):
            compare(a, other)


def test_files_hold_every_trial(tmp_path: Path) -> None:
    both = [results("a", [3, 50, 0]), results("b", [1, 1, 0])]
    write_json(tmp_path / "r.json", [ResultGroup(tuple(both), tuple(PAPER))])
    assert read_json(tmp_path / "r.json") == both
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["policies"][0]["summary"]["sorted"] == [50, 3, 0]
    assert document["policies"][0]["summary"]["endings"] == {
        "completed": 1, "dropped": 2, "timeout": 0, "diverged": 0,
    }  # fmt: skip
    assert document["paper"][0]["mean"] == 43.4

    write_csv(tmp_path / "t.csv", both)
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [(row["policy"], row["successes"]) for row in rows] == [
        ("a", "3"), ("a", "50"), ("a", "0"), ("b", "1"), ("b", "1"), ("b", "0"),
    ]  # fmt: skip
    assert rows[0]["goal_seconds"] == "10.00 20.00 30.00"


def test_results_of_another_contract_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"contract_version": 99, "policies": []}))
    with pytest.raises(ValueError, match="contract version 99"):
        read_json(path)


@pytest.mark.parametrize("best", [0, 2, 50])
def test_the_plot_is_a_picture(tmp_path: Path, best: int) -> None:
    path = tmp_path / "r.png"
    plot_results(path, [results("a", [best, 1, 0]), results("b", [0, 0, 0])], PAPER)
    image = Image.open(path)
    assert image.width > 1200
    assert len(image.convert("RGB").getcolors(1 << 24)) > 100
