"""A run's estimator, exported with how it was trained."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators.bundles import load_estimator, save_estimator
from dactyl_tl.metrics import read_metrics
from dactyl_tl.models.config import PoseNetworkConfig
from dactyl_tl.models.pose import PoseNetwork
from dactyl_tl.vision.calibration import camera_calibration
from dactyl_tl.vision.export import export_estimator, main

CONFIG = {"seed": 4, "environment": {"task": "block"}, "pictures": {"cache": "/somewhere/else"}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    directory = tmp_path / "run"
    network = PoseNetwork(PoseNetworkConfig(filters=8, dense=16))
    save_estimator(directory / "bundles" / "last", network, task="block", cameras=camera_calibration())
    OmegaConf.save(OmegaConf.create(CONFIG), directory / "config.yaml")
    (directory / "metrics.csv").write_text(
        "frames,classic/rotation,throughput/pictures_per_second\n6000,90.5,300\n12000,60.25,600\n"
    )
    (directory / "hydra").mkdir()
    OmegaConf.save(OmegaConf.create(["experiment=pose", "seed=4"]), directory / "hydra" / "overrides.yaml")
    return directory


def test_the_record_says_how_much_and_how_long(tmp_path: Path, run: Path) -> None:
    export_estimator(run, tmp_path / "bundle")
    description = load_estimator(tmp_path / "bundle").description
    training = description["training"]
    assert training["commands"] == ["python train.py experiment=pose seed=4"]
    assert (training["sets"], training["minutes"], training["seed"]) == (12000, 1.5, 4)
    assert "/somewhere/else" not in (tmp_path / "bundle" / "bundle.json").read_text()
    rows = read_metrics(tmp_path / "bundle" / "curve.csv")
    assert [(row["frames"], row["minutes"], row["classic/rotation"]) for row in rows] == [
        (6000, 1.0, 90.5), (12000, 1.5, 60.25),
    ]  # fmt: skip


def test_the_command_exports_and_refuses(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(run), str(tmp_path / "bundle"), "--commands", "python train.py experiment=pose"])
    assert "wrote" in capsys.readouterr().out
    assert load_estimator(tmp_path / "bundle").description["training"]["commands"] == [
        "python train.py experiment=pose"
    ]
    with pytest.raises(ConfigurationError, match="is no training run"):
        export_estimator(tmp_path, tmp_path / "other")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "nowhere"), str(tmp_path / "other")])
    assert "is no training run" in capsys.readouterr().err
