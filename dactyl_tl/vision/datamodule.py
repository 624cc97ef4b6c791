"""The LightningDataModule of pictures: minibatches to learn from, held-out pictures of both renderers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from dactyl_tl.errors import CollectionError, InterruptedCollection
from dactyl_tl.progress import Report, unreported
from dactyl_tl.ranks import any_rank, rank, world_size
from dactyl_tl.vision.building import STATES, about, alone, build_cache, claim
from dactyl_tl.vision.cache import PictureCache
from dactyl_tl.vision.config import PictureConfig
from dactyl_tl.vision.drawing import VALIDATIONS, Drawing, held_out
from dactyl_tl.vision.pictures import Minibatches, Sets, cached, draw_all, fresh, generator_of, join
from dactyl_tl.vision.poses import PoseAugmentation, object_pose
from dactyl_tl.vision.states import States, gather

VALIDATION_BATCH = 32

STATISTICS = 20_000
"""States, with other poses, that a pose's mean and standard deviation are taken over."""


@dataclass(frozen=True)
class PicturePlan:
    """What decides the pictures of a run.

    Attributes:
        pictures: Settings.
        poses: What becomes of the object before a picture is taken.
        environment: Keyword arguments of :func:`dactyl_tl.make_env`, to gather states.
        policy: That is rolled out; None for a scripted one.
        batch_size: Sets of pictures in a minibatch.
        seed: Of everything.
        run: Directory of the run, where the states are kept if there is no cache.
        frames: Sets of pictures that the run has behind it.
    """

    pictures: PictureConfig
    poses: PoseAugmentation
    environment: Mapping[str, Any]
    policy: str | None
    batch_size: int
    seed: int
    run: Path
    frames: int = 0

    @property
    def task(self) -> str:
        """Key of :data:`dactyl_tl.simulation.scene.TASKS`."""
        return str(self.environment["task"])

    @property
    def drawing(self) -> Drawing:
        """How pictures to learn from are drawn."""
        settings = self.pictures
        return Drawing(self.task, settings.renderer, settings.appearance, settings.look)

    @property
    def home(self) -> Path:
        """Where the states are kept."""
        return Path(self.pictures.cache) if self.pictures.cache is not None else self.run


class PictureDataModule(pl.LightningDataModule):
    """Minibatches of pictures, and the held-out ones.

    Args:
        plan: What they are.
        progress: Told of what takes long before training.
        say: Told of what a person should know, in a line.
        stopping: Whether to end early.

    Attributes:
        damaged: Shards of the cache that could not be read.
        metrics: What is logged of it with every minibatch: nothing.
    """

    def __init__(
        self,
        plan: PicturePlan,
        progress: Report = unreported,
        say: Callable[[str], None] = lambda line: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.damaged = 0
        self.metrics: dict[str, float] = {}
        self._progress, self._say, self._stopping = progress, say, stopping
        self._split: tuple[States, States] | None = None
        self._validation: list[TensorDataset] = []
        self._learnt: Minibatches | None = None

    @property
    def states(self) -> tuple[States, States]:
        """Those to learn from and the held-out ones; gathered by rank 0 unless an earlier session did."""
        if self._split is None:
            if self.plan.pictures.cache is not None and rank() == 0:
                claim(self.plan.home, self._about())
            self._by_rank_0(self._gather)
            states = States.load(self.plan.home / STATES)
            self._split = states.split(self.plan.pictures.held_out)
        return self._split

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Poses (n, 3), (n, 4) as they are learnt, to normalise with."""
        generator = generator_of((self.plan.seed,))
        qpos = self.states[0].qpos
        chosen = torch.randint(len(qpos), (STATISTICS,), generator=generator)
        return object_pose(self.plan.poses(qpos[chosen], generator))

    def setup(self, stage: str) -> None:
        """Draw what is drawn once: the held-out pictures, and the cache."""
        if self._validation:
            return
        if self.plan.pictures.cache is not None:
            learnt = self.states[0]  # gathered before the directory is claimed for the pictures
            self._by_rank_0(lambda: self._fill_cache(learnt))
        self._validation = [self._draw_held_out(pictures) for pictures in VALIDATIONS]

    def train_dataloader(self) -> DataLoader[Any]:
        """Minibatches without end."""
        self.close()
        self._learnt = Minibatches(self._minibatches())
        return DataLoader(self._learnt, batch_size=None)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """The held-out pictures of :data:`VALIDATIONS`, this rank's part."""
        return [DataLoader(each, VALIDATION_BATCH) for each in self._validation]

    def close(self) -> None:
        """End the processes that draw, if any were started."""
        if self._learnt is not None:
            self._learnt.close()

    def teardown(self, stage: str) -> None:
        """End the processes that draw."""
        self.close()

    def _minibatches(self) -> Generator[Sets, None, None]:
        plan, workers = self.plan, self.plan.pictures.workers
        entropy = (plan.seed, rank(), plan.frames)
        if plan.pictures.cache is None:
            return fresh(plan.drawing, self.states[0].qpos, plan.poses, plan.batch_size, entropy, workers)
        cache = PictureCache(plan.home, self._shards())
        self.damaged = cache.damaged
        if cache.damaged:
            self._say(f"pictures.cache={plan.home}: {cache.damaged} damaged shards are left out")
        if not len(cache):
            raise CollectionError(f"pictures.cache={plan.home} has no shard that can be read")
        return cached(cache, plan.batch_size, entropy, workers)

    def _about(self) -> dict[str, Any]:
        plan = self.plan
        described = about(plan.drawing, plan.poses, plan.seed, plan.policy or "scripted")
        return described | {"sets in a shard": plan.pictures.shard_sets}

    def _by_rank_0(self, fill: Callable[[], None]) -> None:
        """Have rank 0 write in the home while the others wait; if one is asked to end, all do."""
        interrupted = False
        if rank() == 0:
            try:
                with alone(self.plan.home, self._say, self._stopping):
                    fill()
            except InterruptedCollection:
                interrupted = True
        self._end_if_asked(interrupted)

    def _end_if_asked(self, interrupted: bool = False) -> None:
        """All ranks together."""
        if any_rank(interrupted or self._stopping()):
            raise InterruptedCollection("asked to end before training began")

    def _gather(self) -> None:
        path, settings = self.plan.home / STATES, self.plan.pictures
        if path.exists():
            return

        def report(done: int) -> None:
            self._progress("states", done, settings.states)
            if self._stopping():
                raise InterruptedCollection("asked to end while states were gathered")

        gather(
            self.plan.policy,
            self.plan.environment,
            count=settings.states,
            every=settings.every,
            num_envs=settings.num_envs,
            seed=self.plan.seed,
            progress=report,
        ).save(path)

    def _shards(self) -> int:
        return -(-self.plan.pictures.cache_sets // self.plan.pictures.shard_sets)

    def _fill_cache(self, states: States) -> None:
        mended = build_cache(
            self.plan.home,
            self.plan.drawing,
            states,
            self.plan.poses,
            sets=self.plan.pictures.cache_sets,
            shard_sets=self.plan.pictures.shard_sets,
            workers=self.plan.pictures.workers,
            seed=self.plan.seed,
            progress=lambda done, total: self._progress("pictures", done, total),
            stopping=self._stopping,
        )
        if mended:
            self._say(f"pictures.cache={self.plan.home}: {mended} damaged shards were drawn anew")

    def _draw_held_out(self, pictures: str) -> TensorDataset:
        qpos = self.states[1].qpos
        chosen = torch.randint(
            len(qpos), (self.plan.pictures.validation,), generator=generator_of((self.plan.seed, 1))
        )
        # As many for each rank: what they find is gathered.
        mine = chosen[: len(chosen) // world_size() * world_size()][rank() :: world_size()]
        drawing = held_out(self.plan.task, pictures, self.plan.pictures.look)
        drawn: list[Sets] = []
        for part in draw_all(drawing, qpos[mine], self.plan.seed, self.plan.pictures.workers):
            drawn.append(part)
            done = sum(len(each[0]) for each in drawn)
            self._progress(f"held-out pictures ({pictures})", done, len(mine))
            if self._stopping():
                break
        self._end_if_asked()
        return TensorDataset(*join(drawn))
