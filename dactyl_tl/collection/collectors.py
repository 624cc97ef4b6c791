"""Three ways to collect on this machine: in this process, in several in step, in several out of step.

All three run :class:`~dactyl_tl.collection.worker.RolloutCollector` and read the same board; they
differ in who waits for whom.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import multiprocessing as mp
from torchrl.collectors import MultiAsyncCollector, MultiSyncCollector
from torchrl.envs import EnvBase

from dactyl_tl.collection.board import Board
from dactyl_tl.collection.patience import Patience
from dactyl_tl.collection.worker import RolloutCollector, follow_parent
from dactyl_tl.errors import CollectionError
from dactyl_tl.processes import ending, shielded_children, stopped


@dataclass(frozen=True)
class CollectionPlan:
    """What every way of collecting needs to know.

    Attributes:
        make_env: makes the simulations of the worker with the given number, at most once a process.
        make_policy: makes acting networks of the learner's architecture.
        workers: batches of simulations, each in a process of its own unless collected in-process.
        steps: of each simulation in a rollout, a multiple of ``chunk``.
        chunk: steps between two recurrent states that are kept.
        seed: of the sampled actions; worker i samples from ``seed + i``.
        threads: of torch in a worker.
        device: where the policy acts and rollouts are kept. With another than the CPU, collection in
            this process only: then neither weights nor rollouts ever leave it.
        simulations: what they are; a checkpoint continues only those of the same description.
        keep_simulations: whether checkpoints hold them.
        patience: s without a sign of life after which whoever owes a rollout counts as lost.
        address: of a Ray cluster; None for one of our own on this machine.
        max_age: versions that a rollout from a Ray cluster may be behind the newest weights.
        gpus: of each Ray actor; a share is possible.
    """

    make_env: Callable[[int], EnvBase]
    make_policy: Callable[[], TensorDictModuleBase]
    workers: int
    steps: int
    chunk: int
    seed: int
    threads: int = 1
    device: str = "cpu"
    simulations: str = ""
    keep_simulations: bool = True
    patience: float = 300.0
    address: str | None = None
    max_age: int = 0
    gpus: float = 0.0


class RolloutSource(ABC):
    """A running collection. :meth:`close` it, whatever happens."""

    resumable = True
    """Whether :meth:`snapshots` holds all that decides the next rollouts."""

    def __init__(self, plan: CollectionPlan, policy: TensorDictModuleBase, context: Any) -> None:
        if context is not None and torch.device(plan.device).type != "cpu":
            raise ValueError(f"workers in processes of their own collect on the CPU, not on {plan.device}")
        self.plan = plan
        self.stopping: Callable[[], bool] = lambda: False
        """Whether training was asked to end."""
        self.board = Board(policy, context, plan.device, plan.workers)
        self._options: dict[str, Any] = {
            "board": self.board,
            "seed": plan.seed,
            "steps": plan.steps,
            "chunk": plan.chunk,
            "device": plan.device,
        }

    @abstractmethod
    def collect(self) -> TensorDictBase:
        """The next rollout of every worker, [workers * N, chunks].

        Raises:
            CollectionError: a worker process has ended, or was silent for too long.
        """

    @abstractmethod
    def snapshots(self) -> list[bytes]:
        """State of every worker, between two rollouts; empty if not resumable."""

    @abstractmethod
    def restore(self, snapshots: list[bytes]) -> None:
        """Continue from :meth:`snapshots`."""

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers on this machine."""
        return []

    @property
    def metrics(self) -> dict[str, float]:
        """What to log of the latest rollout besides what it says itself."""
        return {}

    @abstractmethod
    def close(self) -> None:
        """End all workers. Can be called twice."""


class InProcess(RolloutSource):
    """All simulations in this process; the learner waits for them and they for the learner."""

    def __init__(self, plan: CollectionPlan, policy: TensorDictModuleBase) -> None:
        super().__init__(plan, policy, None)
        self._workers = [
            RolloutCollector(plan.make_env, policy_factory=plan.make_policy, worker_idx=i, **self._options)
            for i in range(plan.workers)
        ]
        self._rollouts = [iter(worker) for worker in self._workers]

    def collect(self) -> TensorDictBase:
        """The next rollout of every worker, one after the other."""
        return torch.cat([next(rollouts) for rollouts in self._rollouts], 0)

    def snapshots(self) -> list[bytes]:
        """State of every worker."""
        return [worker.snapshot() for worker in self._workers]

    def restore(self, snapshots: list[bytes]) -> None:
        """Continue from :meth:`snapshots`."""
        for worker, snapshot in zip(self._workers, snapshots, strict=True):
            worker.restore(snapshot)

    def close(self) -> None:
        """Close the environments."""
        for worker in self._workers:
            worker.shutdown(raise_on_error=False)


class MultiProcess(RolloutSource):
    """A process for every worker; each rollout waits for the slowest, all act on the same weights."""

    collector = MultiSyncCollector

    def __init__(self, plan: CollectionPlan, policy: TensorDictModuleBase) -> None:
        context = mp.get_context("spawn")
        super().__init__(plan, policy, context)
        self._asked = 0
        threads = torch.get_num_threads()
        with shielded_children(), _explained_start():
            self._pool = self.collector(
                [plan.make_env] * plan.workers,
                policy_factory=plan.make_policy,
                collector_class=partial(RolloutCollector, **self._options),
                frames_per_batch=plan.workers * plan.steps,  # each worker counts its own simulations
                total_frames=-1,
                use_buffers=True,
                num_threads=threads,
                num_sub_threads=plan.threads,
                init_fn=follow_parent,
                **self._pool_options(),
            )
        self._processes = list(self._pool.procs)
        self._pids = [process.pid for process in self._processes]
        self._rollouts: Iterator[TensorDictBase] = iter(self._pool)
        self._patience = Patience(self._pids, plan.patience)
        self._closed = False

    def _pool_options(self) -> dict[str, Any]:
        return {"cat_results": 0}

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return list(self._pids)

    def collect(self) -> TensorDictBase:
        """The next rollout of every worker, made at the same time."""
        self._asked += 1
        with self._explained(), self._patience.waiting(self._behind):
            return next(self._rollouts)

    def _behind(self) -> list[int]:
        """The workers whose rollout is not complete, or that are stopped; the others wait with reason."""
        behind = [index for index, made in enumerate(self.board.completed) if made < self._asked]
        return [*behind, *self._stopped()]

    def _stopped(self) -> list[int]:
        """The workers that are stopped; who has answered already waits with reason."""
        return [index for index, pid in enumerate(self._pids) if stopped(pid)]

    def snapshots(self) -> list[bytes]:
        """State of every worker."""
        with self._explained(), self._patience.waiting(self._stopped):
            return self._pool.map_fn("snapshot")

    def restore(self, snapshots: list[bytes]) -> None:
        """Continue from :meth:`snapshots`."""
        with self._explained(), self._patience.waiting(self._stopped):
            self._pool.map_fn("restore", [(snapshot,) for snapshot in snapshots])

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn whatever a dead worker causes into one error that says which worker and how it ended."""
        try:
            self._check()
            yield
        except (RuntimeError, ValueError, OSError, EOFError) as error:
            # A pipe can break a moment before the process that held it counts as ended.
            for _ in range(20):
                self._check(error)
                time.sleep(0.05)
            raise

    def _check(self, cause: BaseException | None = None) -> None:
        codes = [_exit_code(p, pid) for p, pid in zip(self._processes, self._pids, strict=True)]
        ended = [index for index, code in enumerate(codes) if code is not None]
        if ended:
            # The pool asks the others to end when one has died; the one that died says why.
            index = max(ended, key=lambda each: (each in self._patience.lost, codes[each] != 0))
            reason = self._patience.lost.get(index, f"ended with {ending(codes[index] or 0)}")
            raise CollectionError(
                f"worker {index} of {len(codes)} (process {self._pids[index]}) {reason}"
            ) from cause

    def close(self) -> None:
        """Ask the workers to end, then end those that do not."""
        if self._closed:
            return
        self._closed = True
        threads = torch.get_num_threads()
        if all(_exit_code(p, pid) is None for p, pid in zip(self._processes, self._pids, strict=True)):
            self._pool.shutdown(timeout=10, raise_on_error=False)
        for process, pid in zip(self._processes, self._pids, strict=True):
            if _exit_code(process, pid) is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ValueError):  # the process object was closed by the pool
                process.join(5)
        self._pool.shutdown(timeout=1, raise_on_error=False)
        torch.set_num_threads(threads)  # the pool changes it


class OutOfStep(RolloutSource):
    """Workers go on acting while the learner learns.

    Rollouts are a version or more old when they arrive; :data:`~dactyl_tl.collection.worker.VERSION`
    says which. A worker in the middle of a rollout has no state to hand out, so a resumed run starts
    new episodes.
    """

    resumable = False

    def snapshots(self) -> list[bytes]:
        """Nothing: workers are in the middle of rollouts."""
        return []

    def restore(self, snapshots: list[bytes]) -> None:
        """Nothing to restore."""


class Asynchronous(OutOfStep, MultiProcess):
    """A process for every worker, out of step."""

    collector = MultiAsyncCollector

    def _pool_options(self) -> dict[str, Any]:
        return {}

    def collect(self) -> TensorDictBase:
        """The next ``workers`` rollouts, of whichever workers have them ready."""
        # A worker that is lost is missed when no other has a rollout ready.
        with self._explained(), self._patience.waiting(lambda: range(self.plan.workers)):
            return torch.cat([next(self._rollouts) for _ in range(self.plan.workers)], 0)


def unpack(snapshot: bytes) -> dict[str, Any]:
    """A worker's snapshot as a dictionary of tensors in the host's memory."""
    return torch.load(io.BytesIO(snapshot), map_location="cpu", weights_only=True)


def pack(state: dict[str, Any]) -> bytes:
    """Inverse of :func:`unpack`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@contextlib.contextmanager
def _explained_start() -> Iterator[None]:
    """One line for workers that end before they have begun; the pool has ended the others."""
    try:
        yield
    except (RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CollectionError(f"the workers could not start: {reason}") from error


def _exit_code(process: Any, pid: int) -> int | None:
    """Exit code of a process, None while it runs; also when the pool has closed the object."""
    try:
        return process.exitcode
    except ValueError:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        return os.waitstatus_to_exitcode(status) if ended else None
