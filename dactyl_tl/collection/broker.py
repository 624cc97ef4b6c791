"""The process that talks to Ray on the learner's behalf.

Ray ends a process that loses its cluster, and a learner with an update half done is the last process that
may end so. The broker keeps no state that matters: when it ends, the learner starts another.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase

from dactyl_tl.collection.board import Board
from dactyl_tl.collection.cluster import UnreachableError, check_reachable
from dactyl_tl.collection.collectors import CollectionPlan
from dactyl_tl.collection.worker import VERSION, follow_parent
from dactyl_tl.contract import STEPS
from dactyl_tl.errors import CollectionError

COLLECT, CLOSE = "collect", "close"
"""What the learner asks."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

REPORT = 10.0
"""s without a batch after which the learner is told who is there, and again after twice as long."""


@dataclass(frozen=True)
class Connected:
    """The broker has found or started the cluster."""


@dataclass(frozen=True)
class Waiting:
    """No rollout for a while."""

    alive: int
    wanted: int


@dataclass(frozen=True)
class Failed:
    """Collection cannot go on.

    Attributes:
        reason: for people.
        reachable: whether there is a cluster at all.
    """

    reason: str
    reachable: bool


@dataclass(frozen=True)
class Collected:
    """A batch of rollouts is in the shared buffer.

    Attributes:
        buffer: where, [workers * N, chunks], the first time and whenever it is another; then None.
        alive: actors that work for the learner now.
        lost: rollouts that this broker was owed and never got, so far.
        stale: rollouts that came too late, so far.
        replaced: actors made in the place of lost ones, so far.
        latency: s from a request until new weights had arrived, mean over the actors that needed them.
        transit: s that a rollout was on its way and waited to be fetched, mean.
    """

    buffer: TensorDictBase | None
    alive: int
    lost: int
    stale: int
    replaced: int
    latency: float
    transit: float


def run(plan: CollectionPlan, board: Board, connection: Connection, beat: Any, first: int) -> None:
    """Serve the learner at the other end of ``connection`` until it asks to close or ends.

    Args:
        plan: of the collection.
        board: the learner's.
        connection: where requests come from and answers go to.
        beat: shared number; the monotonic clock of the latest sign of life, s.
        first: number of the first actor; earlier brokers had lower ones.
    """
    os.setsid()  # a signal to the learner's group is for the learner to answer
    follow_parent(with_group=True)
    _disregard_signals()
    # The learner starts us with them blocked; Ray's processes would inherit that and be slow to end.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        check_reachable(plan.address)
        broker = _Broker(plan, board, connection, beat, first)
    except UnreachableError as error:
        connection.send(Failed(str(error), reachable=False))
        return
    connection.send(Connected())
    try:
        broker.serve()
    except CollectionError as error:
        connection.send(Failed(str(error), reachable=True))
    finally:
        broker.close()


class _Broker:
    def __init__(
        self, plan: CollectionPlan, board: Board, connection: Connection, beat: Any, first: int
    ) -> None:
        self._board, self._connection, self._beat = board, connection, beat
        self._buffer: TensorDictBase | None = None
        self._wanted = plan.workers
        self._closing = False
        from dactyl_tl.collection.fleet import Fleet  # needs Ray, which not everybody has installed

        try:
            self._fleet = Fleet(plan, first)
        except (ConnectionError, RuntimeError) as error:
            raise UnreachableError(f"cannot connect to the Ray cluster: {error}") from error
        _disregard_signals()  # Ray has set its own handlers
        self._told, self._quiet = time.monotonic(), REPORT

    def serve(self) -> None:
        while not self._closing:
            self._beat.value = time.monotonic()
            if not self._connection.poll(0.1):
                self._fleet.fetch()  # while the learner learns
                continue
            request = self._connection.recv()
            if request == CLOSE:
                return
            try:
                self._connection.send(self._collected())
            except _Closing:
                return

    def _collected(self) -> Collected:
        self._told, self._quiet = time.monotonic(), REPORT
        arrivals = self._fleet.collect(self._board.posted(), self._tick)
        parts = [arrival.delivery for arrival in arrivals]
        for arrival in arrivals:
            self._board.complete(arrival.slot, arrival.delivery.collecting, arrival.delivery.waiting)
        latencies = [part.latency for part in parts if part.latency] or [0.0]
        tally = self._fleet.tally
        return Collected(
            buffer=self._fill([part.arrays for part in parts]),
            alive=self._fleet.alive,
            lost=tally.lost,
            stale=tally.stale,
            replaced=tally.replaced,
            latency=sum(latencies) / len(latencies),
            transit=sum(arrival.transit for arrival in arrivals) / len(arrivals),
        )

    def _tick(self) -> None:
        now = self._beat.value = time.monotonic()
        if now - self._told > self._quiet:
            self._told, self._quiet = now, min(2 * self._quiet, 600.0)
            self._connection.send(Waiting(self._fleet.alive, self._wanted))
        if self._connection.poll() and self._connection.recv() == CLOSE:
            raise _Closing

    def _fill(self, parts: list[dict[Any, np.ndarray]]) -> TensorDictBase | None:
        """Write the rollouts [N, chunks] one after the other; the buffer if the learner does not have it."""
        new = self._buffer is None
        if self._buffer is None:
            self._buffer = _shared_like(parts)
        for key, tensor in self._buffer.items(True, True):
            np.concatenate([part[key] for part in parts], out=tensor.numpy())
        return self._buffer if new else None

    def close(self) -> None:
        self._fleet.shutdown()


def _shared_like(parts: list[dict[Any, np.ndarray]]) -> TensorDictBase:
    """Shared memory for rollouts one after the other, with the batch sizes that a worker's have."""
    rows = sum(len(part[VERSION]) for part in parts)
    _, chunks, steps = parts[0][(STEPS, "action")].shape[:3]
    buffer = TensorDict({STEPS: TensorDict({}, [rows, chunks, steps])}, [rows, chunks])
    for key, array in parts[0].items():
        like = torch.from_numpy(array[:0].copy())
        buffer.set(key, torch.empty((rows, *array.shape[1:]), dtype=like.dtype))
    return buffer.share_memory_()


class _Closing(Exception):
    """The learner needs no rollouts any more."""


def _disregard_signals() -> None:
    """The learner decides when the broker ends. With handlers, which unlike SIG_IGN are not inherited."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)
