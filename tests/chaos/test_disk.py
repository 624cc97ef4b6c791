"""A disk that fills up under a run."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos.running import Trainer, assert_resumable
from tests.processes import assert_none_left


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of eight megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"0" * 4096)


@pytest.mark.filterwarnings("ignore:The simulations begin new episodes")
def test_a_full_disk_ends_training_and_costs_what_came_after_the_last_checkpoint(
    small_disk: Path, record_chaos: Callable[..., None]
) -> None:
    trainer = Trainer(small_disk / "run", "callbacks.checkpoints.minutes=0.02")
    trainer.wait_for_rollouts(2)
    filler = small_disk / "filler"
    began = time.monotonic()
    fill(filler)
    said = trainer.finish()
    detected = time.monotonic() - began
    assert trainer.process.returncode == 3, said
    assert "Traceback" not in said
    assert "No space left on device" in said
    assert f"resume={trainer.run}" in said
    assert_none_left(trainer.descendants)
    filler.unlink()
    assert_resumable(trainer.run)
    record_chaos("disk: filled", detected, "since the last checkpoint", "resume, once there is room")
