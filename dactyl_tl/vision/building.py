"""Fills a cache of pictures, in worker processes; goes on where it was interrupted."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dactyl_tl.errors import ConfigurationError, InterruptedCollection
from dactyl_tl.vision.artists import Artists, this_artist
from dactyl_tl.vision.cache import SHARD, encode, unusable_shards, write_shard
from dactyl_tl.vision.drawing import Drawing
from dactyl_tl.vision.pictures import SETS_AT_ONCE, generator_of
from dactyl_tl.vision.poses import PoseAugmentation, object_pose
from dactyl_tl.vision.states import States

ABOUT = "about.json"
"""In the directory of a cache: what its pictures are of, and how they were drawn."""

STATES = "states.safetensors"
"""In the directory of a cache: the states they were drawn of, those held out for validation included."""


def about(drawing: Drawing, poses: PoseAugmentation, seed: int, source: str) -> dict[str, Any]:
    """What decides the pictures of a cache, of JSON types."""
    described = {"drawing": asdict(drawing), "poses": asdict(poses), "seed": seed, "states of": source}
    return json.loads(json.dumps(described))


def claim(directory: Path, description: Mapping[str, Any]) -> None:
    """Make ``directory`` the place of a cache of this description, or see that it is one.

    Raises:
        ConfigurationError: It holds pictures of another description, or cannot be written to.
    """
    path = directory / ABOUT
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(json.dumps(description, indent=2) + "\n")
            return
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"pictures.cache={directory} cannot be used: {error}") from error
    differing = [key for key in description if found.get(key) != description[key]]
    if differing:
        ours, theirs = ({key: each.get(key) for key in differing} for each in (description, found))
        raise ConfigurationError(
            f"pictures.cache={directory} holds pictures of {json.dumps(theirs)}, this run asks for "
            f"{json.dumps(ours)}; choose another directory"
        )


@contextmanager
def alone(
    directory: Path, say: Callable[[str], None], stopping: Callable[[], bool] = lambda: False
) -> Iterator[None]:
    """Write in ``directory`` as the only process; another run that does so is waited for.

    Raises:
        InterruptedCollection: Asked to stop while waiting.
    """
    lock = os.open(directory, os.O_RDONLY)  # the system frees it, however this process ends
    try:
        waited = False
        while not _locked(lock):
            if stopping():
                raise InterruptedCollection(f"asked to end while another run fills {directory}")
            if not waited:
                say(f"another run fills {directory}; this one waits for it")
            waited = True
            time.sleep(0.2)
        yield
    finally:
        os.close(lock)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def build_cache(
    directory: Path,
    drawing: Drawing,
    states: States,
    poses: PoseAugmentation,
    *,
    sets: int,
    shard_sets: int,
    workers: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Draw the shards that are missing or damaged.

    Args:
        directory: Of the shards.
        drawing: How.
        states: To take pictures of.
        poses: What becomes of the object in them.
        sets: Of pictures, rounded up to whole shards.
        shard_sets: Of pictures in a shard.
        workers: Processes, each with a renderer.
        seed: Of everything; a shard's pictures follow from it and the shard's number.
        progress: Called with the sets that are there and those that will be.
        stopping: Whether to end early, asked after each shard.

    Returns:
        how many shards were there, but damaged.

    Raises:
        CollectionError: Worker processes end again and again, or a renderer does not work; what is drawn so
            far stays.
    """
    total = -(-sets // shard_sets)
    absent, damaged = unusable_shards(directory, total)
    missing = sorted([*absent, *damaged])
    done = total - len(missing)
    progress(done * shard_sets, total * shard_sets)
    if not missing:
        return 0
    calls = [
        (directory / SHARD.format(number), states.qpos, poses, shard_sets, (seed, number))
        for number in missing
    ]
    with closing(Artists(drawing, min(workers, len(missing)))) as artists:
        for _ in artists.map(_draw_shard, calls):
            done += 1
            progress(done * shard_sets, total * shard_sets)
            if stopping():
                break
    return len(damaged)


def _draw_shard(
    path: Path, qpos: torch.Tensor, poses: PoseAugmentation, sets: int, entropy: tuple[int, ...]
) -> None:
    artist, generator = this_artist(), generator_of(entropy)
    chosen = torch.randint(len(qpos), (sets,), generator=generator)
    posed = poses(qpos[chosen], generator)
    encoded, points = [], []
    for part in posed.split(SETS_AT_ONCE):
        pictures, seen = artist.draw(part, generator)
        encoded += [encode(each) for each in pictures]
        points.append(seen)
    write_shard(path, encoded, *object_pose(posed), torch.cat(points))
