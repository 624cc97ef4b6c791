"""One seed, one learning curve, wherever the rollouts come from."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dactyl_tl.metrics import read_metrics
from dactyl_tl.training import train
from tests.compose import compose

ROLLOUTS = 4
OF_THE_MACHINE = ("throughput/", "memory/", "collection/actors")
"""Metrics that say how fast it went, not what was learned."""


def curve(run: Path, *words: str) -> list[dict[str, float]]:
    """Metrics of the hand with two workers, all randomizations."""
    frames = ROLLOUTS * 2 * 2 * 16
    size = ("collection.workers=2", "collection.num_envs=2", f"frames={frames}", "seed=5")
    train(compose(run, ["experiment=smoke", *size, *words]))
    rows = read_metrics(run / "metrics.csv")
    assert len(rows) == ROLLOUTS
    return [{k: v for k, v in row.items() if not k.startswith(OF_THE_MACHINE)} for row in rows]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("collection=multiprocess",), id="multiprocess"),
        pytest.param(
            ("collection=ray", "collection.max_age=0"),
            id="ray-in-step",
            marks=pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
        ),
    ],
)
def test_the_curve_is_the_same_to_the_last_bit(tmp_path: Path, words: tuple[str, ...]) -> None:
    expected = curve(tmp_path / "here", "collection=inprocess")
    found = curve(tmp_path / "there", *words)
    for mine, theirs in zip(found, expected, strict=True):
        for name, value in theirs.items():
            assert mine[name] == pytest.approx(value, rel=0, abs=0, nan_ok=True), name
