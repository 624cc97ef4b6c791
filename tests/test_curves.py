from pathlib import Path

import pytest
from PIL import Image

from dactyl_tl.curves import main, plot_curves
from dactyl_tl.metrics import MetricsFile


def run(folder: Path, slope: float) -> Path:
    logger = MetricsFile(folder / "metrics.csv")
    for frames in (1000, 2000, 3000):
        logger.log_metrics({"frames": frames, "episode/successes": slope * frames, "reward/total": 0.0})
    return folder


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    assert not plot_curves({"run": tmp_path / "metrics.csv"}, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_runs_share_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = run(tmp_path / "one", 1.0), run(tmp_path / "two", 2.0)
    main([str(one), "--output", str(tmp_path / "one.png")])
    main([str(one), str(two), "--output", str(tmp_path / "both.png")])
    assert f"wrote {tmp_path / 'both.png'}" in capsys.readouterr().out
    alone, together = (Image.open(tmp_path / name).convert("RGB") for name in ("one.png", "both.png"))
    assert alone.size == together.size
    assert len(set(together.getdata())) > len(set(alone.getdata()))  # a second colour, and a legend


def test_a_shipped_policy_brings_its_curve(tmp_path: Path) -> None:
    main(["block_none", str(run(tmp_path / "one", 1.0)), "--output", str(tmp_path / "curves.png")])
    assert Image.open(tmp_path / "curves.png").width > 800


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "has no metrics.csv" in capsys.readouterr().err
