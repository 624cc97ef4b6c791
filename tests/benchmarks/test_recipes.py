"""Comparisons of recipes: what is asked for can be trained, and the whole runs, stops and goes on."""

import json
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from PIL import Image

from benchmarks import recipes
from benchmarks.recipes import ARMS, BASELINE, SUBJECTS, Comparison, draw, summary
from dactyl_tl.configuration import check
from dactyl_tl.launch import adapted_config
from dactyl_tl.pose_training import check_pose
from tests.compose import compose

TINY = """
[tiny]
about = "nothing much"
base = ["experiment=smoke"]
frames = 4096
trials = ["trials=2", "limits.timeout=0.8", "initial_states.steps=3"]

[tiny.arms]
"policy's actions, without smoothing" = ["environment.actions.smoothing=0"]
"""


@pytest.mark.parametrize("name", tomllib.loads(ARMS.read_text()))
def test_every_arm_is_a_configuration_that_differs_from_the_baseline(name, tmp_path):
    comparison = Comparison.read(name)
    seen = []
    for arm in comparison.arms.values():
        words = [*comparison.base, *comparison.of.one_core, *arm]
        cfg = compose(tmp_path, words)
        if comparison.subject == "pose":
            check_pose(cfg)
        else:
            check(adapted_config(cfg, words) if cfg.policy else cfg)
        assert cfg not in seen, arm
        seen.append(cfg)
    assert not [words for words in comparison.trials if words.startswith("policy=")]


def test_an_unknown_comparison_is_answered_with_the_choices():
    with pytest.raises(SystemExit, match="there is no comparison nothing; choose from start, adapt"):
        Comparison.read("nothing")


def test_a_row_says_how_much_an_arm_gained_and_whether_the_seeds_agree():
    text = summary(
        {
            BASELINE: [np.array([1, 1, 2]), np.array([1, 2, 2])],
            "better": [np.array([2, 2, 3]), np.array([2, 3, 3])],
            "unclear": [np.array([2, 2, 3]), np.array([0, 0, 0])],
        }
    )
    better, unclear = text.splitlines()[-2:]
    assert "2.33 ± 0.58" in better
    assert "+1.00 [+1.00, +1.00]" in better
    assert better.rstrip(" |").endswith("yes")
    assert unclear.rstrip(" |").endswith("no")
    one = summary({BASELINE: [np.array([1, 1, 2])], "arm": [np.array([2, 2, 3])]})
    assert one.splitlines()[-1].rstrip(" |").endswith("one seed")


def test_the_curves_are_drawn(tmp_path):
    path = tmp_path / "metrics.csv"
    rows = "\n".join(f"{100 * i},{0.01 * i}" for i in range(1, 60))
    path.write_text(f"frames,rollout/successes_per_second\n{rows}\n")
    picture = tmp_path / "curves.png"
    for arms in (1, 2, 5):
        metrics = {f"arm {number}": [path] for number in range(arms)}
        draw({BASELINE: [path]} | metrics, picture, SUBJECTS["policy"])
        first_row = np.asarray(Image.open(picture).convert("L"))[:240]
        assert first_row.shape[1] > 1000
        assert (first_row[:, -60:] < 128).any(), "panels fill the width"


def test_a_comparison_runs_from_end_to_end_and_only_once(tmp_path, monkeypatch, capsys):
    arms = tmp_path / "recipes.toml"
    arms.write_text(TINY)
    monkeypatch.setattr(Comparison.read.__func__, "__defaults__", (arms,))
    words = ["recipes", "tiny", "--seeds", "1", "--output", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    recipes.main()
    found = json.loads((tmp_path / "out" / "tiny" / "comparison.json").read_text())
    assert found["frames"] == 4096
    assert {arm: len(seeds[0]) for arm, seeds in found["values"].items()} == {
        BASELINE: 2,
        "policy's actions, without smoothing": 2,
    }
    assert "without smoothing" in capsys.readouterr().out
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: pytest.fail("it was complete"))
    recipes.main()
