from __future__ import annotations

import math
from pathlib import Path

import pytest

from dactyl_tl.metrics import MetricsFile, read_metrics, wandb_logger


def test_rows_are_tidy_and_new_metrics_get_a_column(tmp_path: Path) -> None:
    logger = MetricsFile(tmp_path / "metrics.csv")
    logger.log_metrics({"frames": 10.0, "a": 1.5, "epoch": 0})
    logger.log_metrics({"frames": 20.0, "a": 2.5, "b/c": 3.0})
    logger.log_metrics({"b/c": 4.0}, step=30)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["frames"] for row in rows] == [10, 20, 30]
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "frames,a,b/c"
    assert math.isnan(rows[0]["b/c"])
    assert math.isnan(rows[2]["a"])
    assert rows[1]["b/c"] == 3.0


def test_a_resumed_run_drops_what_was_logged_after_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    for frames in (10, 20, 30):
        MetricsFile(path).log_metrics({"frames": frames, "a": frames})
    resumed = MetricsFile(path)
    resumed.log_metrics({"frames": 20, "a": -1})
    resumed.log_metrics({"frames": 30, "a": -2})
    assert [(row["frames"], row["a"]) for row in read_metrics(path)] == [(10, 10), (20, -1), (30, -2)]


def test_wandb_is_offline_without_a_key_and_never_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert wandb_logger(str(tmp_path), "p", "n")._offline
    with pytest.raises(ValueError, match="there is no API key"):
        wandb_logger(str(tmp_path), "p", "n", mode="online")
    with pytest.raises(ValueError, match="'loud'; choose from auto, online, offline"):
        wandb_logger(str(tmp_path), "p", "n", mode="loud")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert not wandb_logger(str(tmp_path), "p", "n")._offline
    assert wandb_logger(str(tmp_path), "p", "n", mode="offline")._offline
