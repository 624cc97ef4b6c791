"""Too little memory is a plain sentence with the settings that help."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dactyl_tl import launch
from dactyl_tl.collection import RolloutDataModule
from dactyl_tl.errors import TrainingError
from dactyl_tl.learning import PPOModule
from dactyl_tl.training import train
from tests.compose import TOY, compose

WORDS = ["experiment=smoke", TOY, "logger=csv"]


def exhausted(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def test_an_update_without_memory_names_the_minibatches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PPOModule, "_clip_gradients", exhausted)
    with pytest.raises(TrainingError) as caught:
        train(compose(tmp_path, WORDS))
    assert str(caught.value) == (
        "out of memory on cpu while learning; raise ppo.minibatches (now 2, 32 of the 64 frames of a rollout "
        "each); if that does not help, lower collection.num_envs (now 4) or collection.steps (now 16)"
    )
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_a_rollout_without_memory_names_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RolloutDataModule, "collect", exhausted)
    message = r"while collecting; lower collection\.num_envs \(now 4\) or collection\.steps \(now 16\)$"
    with pytest.raises(TrainingError, match=message):
        train(compose(tmp_path, WORDS))


def test_the_command_ends_as_with_other_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(PPOModule, "_clip_gradients", exhausted)
    with pytest.raises(SystemExit) as caught:
        launch._run(compose(tmp_path, WORDS))
    assert caught.value.code == launch.FAILED
    assert capsys.readouterr().err.startswith("error: out of memory on cpu while learning; raise ppo.min")
