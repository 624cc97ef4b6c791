"""Minibatches: pictures drawn afresh, held-out ones, those of a cache."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
import torch

from dactyl_tl.errors import CollectionError
from dactyl_tl.rendering.offscreen import RendererError
from dactyl_tl.vision.cache import PictureCache
from dactyl_tl.vision.drawing import Artist, Drawing
from dactyl_tl.vision.pictures import Minibatches, cached, draw_all, fresh, join
from dactyl_tl.vision.poses import PoseAugmentation, object_pose
from tests.rendering.states import HOLDING
from tests.vision.shards import write

DRAWING = Drawing(renderer="classic")


@pytest.fixture
def qpos() -> torch.Tensor:
    states = torch.tensor(HOLDING).float().expand(7, 31).clone()
    states[:, 24] += torch.arange(7) * 1e-3  # tells them apart
    return states


def test_fresh_minibatches_do_not_depend_on_the_number_of_workers(qpos: torch.Tensor) -> None:
    def first(workers: int, entropy: tuple[int, ...]) -> list[torch.Tensor]:
        with closing(fresh(DRAWING, qpos, PoseAugmentation(), 18, entropy, workers)) as batches:
            return list(next(batches))

    one, two, other = first(1, (3, 0)), first(2, (3, 0)), first(1, (3, 1))
    assert one[0].shape == (18, 3, 200, 200, 3)
    torch.testing.assert_close(one, two, atol=0, rtol=0)
    assert len({picture.numpy().tobytes() for picture in one[0]}) == 18, "every picture is new"
    assert (one[1] != other[1]).any()


def test_a_new_epoch_goes_on_with_the_minibatches() -> None:
    batches = Minibatches((torch.full((1,), float(n)),) * 4 for n in range(4))
    first = [float(batch[0]) for batch in islice(batches, 2)]
    assert first + [float(batch[0]) for batch in batches] == [0, 1, 2, 3]


def test_held_out_pictures_come_in_order_and_are_the_same_every_time(qpos: torch.Tensor) -> None:
    one = join(draw_all(DRAWING, qpos, 5, 1))
    torch.testing.assert_close(one[1:3], object_pose(qpos), atol=0, rtol=0)
    torch.testing.assert_close(one, join(draw_all(DRAWING, qpos, 5, 2)), atol=0, rtol=0)
    assert (one[0] != join(draw_all(DRAWING, qpos, 6, 1))[0]).any(), "looks follow from the seed"


class Broken(Drawing):
    def open(self) -> Artist:
        raise RendererError("no driver")


def test_a_renderer_that_cannot_start_says_why(qpos: torch.Tensor) -> None:
    with pytest.raises(CollectionError, match="Cannot render: no driver"):
        list(draw_all(Broken(), qpos, 5, 2))


@pytest.mark.parametrize("workers", [1, 3])
def test_every_pass_over_a_cache_has_each_set_once(tmp_path: Path, workers: int) -> None:
    write(tmp_path / "pictures-00000.safetensors")
    write(tmp_path / "pictures-00001.safetensors", sets=2, first=4)
    cache = PictureCache(tmp_path)
    batches = list(islice(cached(cache, 4, (1,), workers), 6))
    order = torch.cat([position[:, 0] for _, position, _, _ in batches]).long()
    assert len(order) == 24
    for passed in order.split(6):
        assert sorted(passed.tolist()) == list(range(6))
    assert len({tuple(passed.tolist()) for passed in order.split(6)}) > 1, "in ever new orders"
    for index, pictures in zip(order, torch.cat([batch[0] for batch in batches]), strict=True):
        assert (pictures == cache[int(index)][0]).all()
