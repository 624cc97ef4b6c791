"""Suites: several groups of trials in one evaluation, beside a table of the paper."""

import csv
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from dactyl_tl.config_files import config_directory
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation import suites
from dactyl_tl.evaluation.command import Evaluation, evaluate
from dactyl_tl.evaluation.comparison import ResultGroup
from dactyl_tl.evaluation.paper import TABLE_3, TABLE_4, TABLE_5
from dactyl_tl.evaluation.report import write_markdown
from dactyl_tl.evaluation.settings import register_evaluation_schema
from dactyl_tl.evaluation.suites import SUITES, Group, Suite
from dactyl_tl.evaluation.violins import plot_groups
from dactyl_tl.policies import shipped_policies
from tests.evaluation.test_report import results

SHORT = ["limits.timeout=0.8", "limits.rotations=2", "initial_states.steps=3", "threads=1", "trials=3"]


def run(output: Path, *overrides: str) -> Evaluation:
    register_evaluation_schema()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        return evaluate(compose("evaluate", overrides=[*SHORT, f"output={output}", *overrides]))


@pytest.fixture
def two_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = (
        Group("block", "none", ("block_none", "random"), (TABLE_3["block", "hand"],)),
        Group("prism", "all", ("block_none",), (TABLE_3["prism", "hand"],)),
    )
    monkeypatch.setitem(suites.SUITES, "small", Suite("Two groups", groups))


def test_every_group_runs_its_own_trials(tmp_path: Path, two_groups: None) -> None:
    evaluation = run(tmp_path, "suite=small", "video=true", "video_trials=1")
    assert [(r.policy, r.settings["task"], r.settings["randomization"]) for r in evaluation.results] == [
        ("block_none", "block", "none"),
        ("random", "block", "none"),
        ("block_none", "prism", "all"),
    ]
    assert [(each.first, each.second) for each in evaluation.comparisons] == [("block_none", "random")]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "block_none_all.mp4", "block_none_none.mp4", "random_none.mp4",
        "results.json", "results.png", "table.md", "trials.csv",
    ]  # fmt: skip
    with (tmp_path / "trials.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 9
    text = (tmp_path / "table.md").read_text()
    assert "block, randomization none:" in text
    assert "prism, randomization all:" in text
    assert "paper" not in text  # short trials are not the paper's


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["suite=table9"], "suite is 'table9'; choose from table3, table4, table5"),
        (["suite=table3", "policy=random"], "suite=table3 chooses its own policy; leave out policy="),
        (["suite=table3", "+environment.task=prism"], "chooses its own task"),
        (["suite=table4", "+environment.randomization=none"], "chooses its own randomization"),
        (["suite=table4", "viewer=true"], "suite=table4 has no live view"),
    ],
)
def test_what_a_suite_cannot_do(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run(tmp_path, *words)


def test_the_papers_rows_stand_below_ours(tmp_path: Path) -> None:
    rows = tuple(row for (_, source), row in TABLE_4.items() if source == "state")
    groups = [
        ResultGroup((results("mine", [50, 3, 0]), results("other", [2, 2, 2])), rows),
        ResultGroup((results("mine", [50, 50, 1]),), (TABLE_3["block", "simulation"],)),
    ]
    experience = {"mine": "2.5 M frames from block_none", "other": "2.5 M frames from block_none", "new": ""}
    write_markdown(tmp_path / "t.md", "Table", groups, experience)
    text = (tmp_path / "t.md").read_text()
    assert "| mine | 17.67 ± 28.04 |" in text  # deviations 32.3, -14.7, -17.7: squares 1573, over 2
    assert "| paper: No physics randomizations (state), hand | 3.5 ± 2.5 |  | 2 |" in text
    assert "| paper, simulation, 100 trials | 43.4 ± 13.8 |" in text
    assert text.splitlines()[0].endswith(" mine, other: 2.5 M frames from block_none.")
    assert "mine less other, the same trials: +15.67" in text
    plot_groups(tmp_path / "t.png", "Table", groups)
    image = Image.open(tmp_path / "t.png")
    assert image.width > 1200
    assert len(image.convert("RGB").getcolors(1 << 24)) > 100


def test_suites_hold_every_row_of_their_tables() -> None:
    assert {(group.task, group.randomization) for group in SUITES["table3"].groups} == {
        (task, trials) for task in ("block", "block_locked_wrist", "prism") for trials in ("none", "all")
    }
    for name, table in (("table4", TABLE_4), ("table5", TABLE_5)):
        (group,) = SUITES[name].groups
        assert set(group.paper) == {row for row in table.values() if "vision" not in row.label}
        assert len(group.policies) == len(group.paper)
        assert group.randomization == "all"


def test_every_policy_of_a_suite_comes_with_the_package() -> None:
    wanted = {policy for suite in SUITES.values() for group in suite.groups for policy in group.policies}
    assert wanted <= set(shipped_policies())
