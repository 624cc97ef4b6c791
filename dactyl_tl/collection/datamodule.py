"""The LightningDataModule that yields rollouts: one epoch of Lightning's is one rollout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from pytorch_lightning.utilities import rank_zero_warn
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch.utils.data import DataLoader, IterableDataset

from dactyl_tl.collection.collectors import CollectionPlan, RolloutSource, pack, unpack
from dactyl_tl.collection.sources import SOURCES
from dactyl_tl.collection.statistics import EpisodeStatistics
from dactyl_tl.collection.worker import VERSION
from dactyl_tl.contract import STEPS
from dactyl_tl.errors import CollectionError, ConfigurationError, RankError
from dactyl_tl.ranks import meet, objects_of_all_ranks, rank, world_size


class RolloutDataModule(LightningDataModule):
    """Collects with the learner's present weights and yields TensorDicts [N_total, chunks].

    Their entries are those of :mod:`~dactyl_tl.collection.worker`: the environment's and the policy's
    at every step, the recurrent states where a chunk starts and nowhere else, and for each chunk the
    number of its simulation. They stay on the plan's device.

    Args:
        plan: environments, networks and sizes.
        policy: the learner's acting networks, whose parameters change in place.
        kind: a key of :data:`~dactyl_tl.collection.sources.SOURCES`.
        window: episodes that the statistics average over.
        stopping: whether training was asked to end; collection then waits no longer than it must.

    Attributes:
        frames: environment steps collected so far, over all simulations of all ranks.
        metrics: of the latest rollout, by the name to log them under.
    """

    def __init__(
        self,
        plan: CollectionPlan,
        policy: TensorDictModuleBase,
        kind: str = "multiprocess",
        window: int = 200,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.plan, self.kind = plan, kind
        self._stopping = stopping
        self.frames = 0
        self.metrics: dict[str, float] = {}
        self.statistics = EpisodeStatistics(window)
        self._policy = policy
        self._source: RolloutSource | None = None
        self._pending_generator: torch.Tensor | None = None
        self._lost = False
        self._spent = (0.0, 0.0)

    @property
    def source(self) -> RolloutSource:
        """The running collection, started at first use."""
        if self._source is None:
            self._source = SOURCES[self.kind](self.plan, self._policy)
            self._source.stopping = self._stopping
        return self._source

    def setup(self, stage: str) -> None:
        """Start the workers."""
        _ = self.source

    def train_dataloader(self) -> DataLoader[TensorDictBase]:
        """A loader of one rollout an epoch.

        A generator of its own, because a DataLoader draws from torch's global one at every epoch.
        """
        return DataLoader(_Rollouts(self), batch_size=None, collate_fn=_same, generator=torch.Generator())

    def collect(self) -> TensorDictBase:
        """Post the learner's weights and collect a rollout [N_total, chunks] with them.

        Raises:
            CollectionError: a worker of this rank was lost.
            RankError: another rank was; in both cases nothing has changed.
        """
        if self._pending_generator is not None:
            torch.set_rng_state(self._pending_generator)
            self._pending_generator = None
        self.source.board.post(self._policy)
        with self._noticing_loss():
            collected = self.source.collect()
            meet()  # before anything is changed
        self.frames += collected[STEPS].numel() * world_size()
        age = self.source.board.version - collected[VERSION].double()
        ages = {"collection/weights_age": age.mean(), "collection/weights_age_max": age.max()}
        size = {"collection/megabytes": collected.bytes() / 1e6}
        said = self.statistics.update(collected[STEPS].flatten(1, 2), ages)
        self.metrics = said | size | self.source.metrics | self._waiting()
        return collected

    def _waiting(self) -> dict[str, float]:
        """Share of their time that the workers waited to be asked, since the rollout before."""
        before, self._spent = self._spent, self.source.board.spent
        collecting, waiting = (now - then for now, then in zip(self._spent, before, strict=True))
        return {"throughput/workers_waiting": waiting / max(collecting + waiting, 1e-9)}

    def close(self) -> None:
        """End the workers, if any were started."""
        if self._source is not None:
            self._source.close()

    def teardown(self, stage: str) -> None:
        """End the workers."""
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """Counters, statistics, generators and every worker's simulations; tensors only.

        When a worker or a rank was lost, or the plan says so, the state is without the simulations;
        otherwise all ranks have to ask for it together.
        """
        snapshots: list[bytes] = []
        kept = self.plan.keep_simulations and not self._lost
        if kept:
            with self._noticing_loss():
                snapshots = self.source.snapshots()
                meet()
        return {
            "frames": self.frames,
            "kind": self.kind,
            "board": self.source.board.state_dict(),
            "statistics": self.statistics.state_dict(),
            "generator": torch.get_rng_state(),
            "simulations": self.plan.simulations,
            "ranks": objects_of_all_ranks([unpack(each) for each in snapshots])
            if kept and not self._lost
            else [],
        }

    @contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        try:
            yield
        except (CollectionError, RankError):
            self._lost = True
            raise

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`.

        Without the workers' states, with another number of them, or with another engine or number of
        simulations, they start new episodes.

        Raises:
            ConfigurationError: the simulations are of another task.
        """
        self.frames = state["frames"]
        self.source.board.load_state_dict(state["board"])
        self.statistics.load_state_dict(state["statistics"])
        self._pending_generator = state["generator"]
        if not self.source.resumable:
            return
        ranks = state["ranks"]
        theirs, ours = state.get("simulations", self.plan.simulations), self.plan.simulations
        if theirs != ours:
            rank_zero_warn(f"The simulations begin new episodes: the checkpoint's were {theirs}, not {ours}.")
            return
        if ranks and len(ranks) != world_size():
            rank_zero_warn(
                f"The simulations begin new episodes: the checkpoint's number of ranks is {len(ranks)}, "
                f"not {world_size()}."
            )
            return
        if [len(workers) for workers in ranks] != [self.plan.workers] * world_size():
            rank_zero_warn("The simulations begin new episodes: the checkpoint does not have their states.")
            return
        try:
            self.source.restore([pack(worker) for worker in ranks[rank()]])
        except ValueError as error:
            raise ConfigurationError(f"resume: {error}") from error


class _Rollouts(IterableDataset[TensorDictBase]):
    """One rollout, then the end, and with a length: of an endless loader Lightning fetches a batch
    ahead, and the learner would always be one update behind the data's weights.
    """

    def __init__(self, module: RolloutDataModule) -> None:
        self._module = module

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[TensorDictBase]:
        yield self._module.collect()


def _same(batch: TensorDictBase) -> TensorDictBase:
    return batch
