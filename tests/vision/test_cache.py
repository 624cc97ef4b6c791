"""Pictures on disk: read as they were written, or left out and counted; built where an earlier try ended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dactyl_tl.errors import ConfigurationError, InterruptedCollection
from dactyl_tl.vision.building import about, alone, build_cache, claim
from dactyl_tl.vision.cache import (
    SHARD,
    PictureCache,
    decode,
    encode,
    read_shard,
    unusable_shards,
)
from dactyl_tl.vision.drawing import Drawing
from dactyl_tl.vision.poses import PoseAugmentation
from dactyl_tl.vision.states import States
from tests.processes import kill_children
from tests.rendering.states import HOLDING
from tests.vision.shards import smooth_pictures, write


def test_pictures_survive_but_for_the_losses_of_jpeg() -> None:
    pictures = smooth_pictures(3)
    assert np.abs(decode(encode(pictures)).astype(int) - pictures).max() <= 3


def test_a_cache_reads_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / SHARD.format(0))
    write(tmp_path / SHARD.format(1), sets=2, first=4)
    cache = PictureCache(tmp_path)
    assert (len(cache), cache.damaged) == (6, 0)
    for index in range(6):
        pictures, position, orientation, points = cache[index]
        assert position.tolist() == [index] * 3
        assert orientation.tolist() == [index] * 4
        assert points.shape == (3, 9, 2)
        assert np.abs(pictures.numpy().astype(int) - smooth_pictures(index)).max() <= 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "header", "empty", "text"])
def test_a_damaged_shard_is_left_out_and_counted(tmp_path: Path, damage: str) -> None:
    for number in range(3):
        write(tmp_path / SHARD.format(number))
    path = tmp_path / SHARD.format(1)
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) * 3 // 4] ^= 1
    path.write_bytes(
        {"cut": data[: len(data) // 2], "flipped": data, "header": b"\xff" * 9 + data[9:], "empty": b"",
         "text": b"these are no pictures, but a sentence that is long enough"}[damage]
    )  # fmt: skip
    assert read_shard(path) is None
    cache = PictureCache(tmp_path)
    assert (len(cache), cache.damaged) == (8, 1)
    assert unusable_shards(tmp_path, 4) == ([3], [1])


def test_a_half_written_shard_is_not_seen(tmp_path: Path) -> None:
    write(tmp_path / SHARD.format(0))
    (tmp_path / f".{SHARD.format(1)}.partial").write_bytes(b"half")
    cache = PictureCache(tmp_path)
    assert (len(cache), cache.damaged) == (4, 0)


@pytest.fixture
def states() -> States:
    qpos = torch.tensor(HOLDING).float().expand(12, 31).clone()
    return States(qpos, torch.arange(12, dtype=torch.int32), "block", "test")


def test_a_cache_is_built_and_mended(tmp_path: Path, states: States) -> None:
    reports: list[tuple[int, int]] = []
    drawing = Drawing(renderer="classic", randomized=False)

    def build() -> int:
        return build_cache(
            tmp_path, drawing, states, PoseAugmentation(), sets=5, shard_sets=3, workers=2, seed=5,
            progress=lambda done, total: reports.append((done, total)),
        )  # fmt: skip

    assert build() == 0
    assert reports == [(0, 6), (3, 6), (6, 6)]
    first = [cached[0] for cached in PictureCache(tmp_path)]
    whole = (tmp_path / SHARD.format(1)).read_bytes()
    (tmp_path / SHARD.format(1)).write_bytes(whole[:1000])
    reports.clear()
    assert build() == 1
    assert reports == [(3, 6), (6, 6)]
    for before, after in zip(first, (cached[0] for cached in PictureCache(tmp_path)), strict=True):
        torch.testing.assert_close(before, after, atol=0, rtol=0)
    points = PictureCache(tmp_path)[0][3]
    assert points.shape == (3, 9, 2)
    assert points.abs().max() < 1


def test_a_process_that_is_killed_is_replaced(tmp_path: Path, states: States) -> None:
    drawing = Drawing(renderer="classic", randomized=False)
    reports: list[int] = []

    def build(directory: Path, progress: Callable[[int, int], None]) -> list[Tensor]:
        directory.mkdir()
        build_cache(
            directory, drawing, states, PoseAugmentation(), sets=24, shard_sets=2, workers=1, seed=5,
            progress=progress,
        )  # fmt: skip
        return [cached[0] for cached in PictureCache(directory)]

    def kill_once(done: int, total: int) -> None:
        reports.append(done)
        if done == 2:
            kill_children()

    whole = build(tmp_path / "whole", lambda done, total: None)
    with pytest.warns(UserWarning, match="a process that draws pictures ended; it is replaced"):
        killed = build(tmp_path / "killed", kill_once)
    assert reports == list(range(0, 25, 2))
    torch.testing.assert_close(killed, whole, atol=0, rtol=0)


def test_a_cache_of_other_pictures_is_refused(tmp_path: Path) -> None:
    ours = about(Drawing(), PoseAugmentation(), 0, "block")
    claim(tmp_path / "cache", ours)
    claim(tmp_path / "cache", ours)
    theirs = about(Drawing(randomized=False), PoseAugmentation(), 0, "block")
    with pytest.raises(
        ConfigurationError, match=r'"randomized": true.*"randomized": false.*another directory'
    ):
        claim(tmp_path / "cache", theirs)
    assert json.loads((tmp_path / "cache" / "about.json").read_text()) == ours


def test_a_second_run_waits_for_the_one_that_fills_a_cache(tmp_path: Path) -> None:
    said: list[str] = []
    with alone(tmp_path, said.append):
        with (
            pytest.raises(InterruptedCollection, match="another run fills"),
            alone(tmp_path, said.append, stopping=lambda: bool(said)),
        ):
            pass
        assert said == [f"another run fills {tmp_path}; this one waits for it"]
        script = f"""
from pathlib import Path
from dactyl_tl.vision.building import alone
with alone(Path({str(tmp_path)!r}), lambda line: print(line, flush=True)):
    print("mine", flush=True)
"""
        other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert "this one waits" in other.stdout.readline()
    assert other.communicate(timeout=60)[0] == "mine\n"
