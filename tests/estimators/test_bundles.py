"""The estimator's bundle: what it holds, and that it is refused where it does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dactyl_tl import rotations
from dactyl_tl.bundle import BundleError
from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators import shipped_estimators
from dactyl_tl.estimators.bundles import load_estimator, load_estimator_network, save_estimator
from dactyl_tl.estimators.checkpoints import find_pose_checkpoint
from dactyl_tl.models.config import PoseNetworkConfig
from dactyl_tl.models.pictures import standardize
from dactyl_tl.models.pose import PoseNetwork
from dactyl_tl.policies import DESCRIPTION
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.scene import CAMERA_DISTANCE, CAMERA_FOV
from dactyl_tl.vision.calibration import camera_calibration


@pytest.fixture
def network() -> PoseNetwork:
    torch.manual_seed(0)
    made = PoseNetwork(PoseNetworkConfig(filters=8, dense=16, rotation="matrix"))
    generator = torch.Generator().manual_seed(0)
    made.set_statistics(torch.randn(50, 3, generator=generator), rotations.uniform((50,), generator))
    return made


def test_what_is_loaded_sees_the_same(tmp_path: Path, network: PoseNetwork) -> None:
    save_estimator(
        tmp_path,
        network,
        task="block",
        cameras=camera_calibration(),
        config={"seed": 3},
        training={"sets": 10},
    )
    estimator = load_estimator(tmp_path)
    pictures = torch.randint(0, 256, (2, 3, 200, 200, 3), dtype=torch.uint8)
    position, orientation = estimator(pictures.numpy())
    expected = network.pose(network(standardize(pictures)))
    torch.testing.assert_close((position, orientation), expected)
    assert position.shape == (2, 3)
    torch.testing.assert_close(orientation.norm(dim=-1), torch.ones(2))
    assert (estimator.description["config"], estimator.description["training"]) == ({"seed": 3}, {"sets": 10})
    assert load_estimator_network(tmp_path).head[0].weight.requires_grad


def test_a_bundle_states_calibration_and_normalisation(tmp_path: Path, network: PoseNetwork) -> None:
    save_estimator(tmp_path, network, task="block", cameras=camera_calibration())
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    assert [camera["name"] for camera in description["cameras"]] == list(CAMERAS)
    for camera in description["cameras"]:
        start = np.subtract((1.0, 0.87, 0.2), MOUNT_POSITION)
        assert np.linalg.norm(start - camera["position"]) == pytest.approx(CAMERA_DISTANCE, abs=1e-5)
        assert np.linalg.norm(camera["orientation"]) == pytest.approx(1.0, abs=1e-5)
        assert camera["vertical_fov_degrees"] == pytest.approx(CAMERA_FOV, abs=1e-4)
        assert (camera["picture"], camera["size"]) == ([640, 480], 200)
    assert description["normalization"]["mean"] == pytest.approx(network.mean.tolist())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.json", "weights.safetensors"]


@pytest.mark.parametrize("shape", [(2, 3, 200, 200), (1, 2, 200, 200, 3), (1, 3, 100, 200, 3)])
def test_other_pictures_are_refused(tmp_path: Path, network: PoseNetwork, shape: tuple[int, ...]) -> None:
    estimator = load_estimator(save_estimator(tmp_path, network, task="block", cameras=camera_calibration()))
    with pytest.raises(ValueError, match="pictures are"):
        estimator(torch.zeros(shape, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"pictures are torch\.float32"):
        estimator(torch.zeros(1, 3, 200, 200, 3))


def test_what_is_no_estimator_is_refused(tmp_path: Path, network: PoseNetwork) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere holds no pose estimator; choose"):
        load_estimator("nowhere")
    save_estimator(tmp_path, network, task="block", cameras=camera_calibration())
    description = json.loads((tmp_path / DESCRIPTION).read_text())
    for change, message in (
        ({"kind": "policy"}, "is no pose estimator but a policy"),
        ({"contract_version": 0}, "contract version 0"),
        ({"sha256": "0"}, "damaged"),
        ({"network": {"rotation": "euler"}}, "cannot be built"),
    ):
        (tmp_path / DESCRIPTION).write_text(json.dumps(description | change))
        with pytest.raises(BundleError, match=message):
            load_estimator(tmp_path)
    with pytest.raises(ConfigurationError, match=r"estimator: .*nowhere"):
        load_estimator_network("nowhere")
    (tmp_path / "code.ckpt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ConfigurationError, match=r"resume: .* cannot be read"):
        find_pose_checkpoint(tmp_path / "code.ckpt", "resume")


@pytest.mark.parametrize("name", shipped_estimators())
def test_shipped_estimators_load_and_say_how_they_were_trained(name: str) -> None:
    estimator = load_estimator(name)
    training = estimator.description["training"]
    assert training["sets"] > 0
    assert training["commands"]
    assert len(estimator.description["cameras"]) == len(CAMERAS)
