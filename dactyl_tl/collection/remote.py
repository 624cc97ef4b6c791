"""Collection by Ray actors on any number of machines, as the learner sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any

from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import multiprocessing as mp

from dactyl_tl.collection import broker
from dactyl_tl.collection.cluster import check_gpus, environment, exported
from dactyl_tl.collection.collectors import CollectionPlan, OutOfStep
from dactyl_tl.errors import CollectionError, InterruptedCollection
from dactyl_tl.processes import ending, shielded_children

TICK = 0.5
"""s between two looks whether the broker lives."""

START = 60.0
"""s that starting a broker, and with it perhaps a cluster, may take on a busy machine."""

BROOD = 1_000_000
"""More actors than one broker ever makes: those of the next one have other numbers, and so other seeds."""

GRACE = 20.0
"""s that a rollout may still take when training was asked to end."""


class Remote(OutOfStep):
    """Rollouts of whichever actors of a Ray cluster have them ready.

    They are :attr:`CollectionPlan.max_age` versions old at most. Nothing is lost for good with an actor,
    a machine or the cluster itself: the collection waits until there are actors (again), and says so. After
    ``patience`` without a cluster it gives up.

    Raises:
        ConfigurationError: no cluster is named, and this machine does not have the GPUs.
        CollectionError: the cluster that is named does not answer.
    """

    def __init__(self, plan: CollectionPlan, policy: TensorDictModuleBase) -> None:
        check_gpus(plan.address, plan.workers * plan.gpus)
        self._context = mp.get_context("spawn")
        # Whatever device the actors have, weights are posted and rollouts arrive in the host's memory.
        super().__init__(replace(plan, device="cpu"), policy, self._context)
        self.plan = plan
        self._buffer: TensorDictBase | None = None
        self._report: broker.Collected | None = None
        self._anybody = True
        self._stopping_since: float | None = None
        self._past = {"lost": 0, "stale": 0, "replaced": 0}
        self._brokers = 0
        self._start()
        self._await_connection()

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        self._beat = self._context.Value("d", time.monotonic() + START, lock=False)
        self._process = self._context.Process(
            target=broker.run,
            args=(self.plan, self.board, theirs, self._beat, BROOD * self._brokers),
            name="broker",
        )
        self._brokers += 1
        with shielded_children(), exported(environment(self.plan.address)):
            self._process.start()
        theirs.close()

    def _await_connection(self) -> None:
        try:
            message = self._receive()
        except _BrokerLost as lost:
            message = broker.Failed(f"the broker of the Ray cluster {lost}", reachable=False)
        if isinstance(message, broker.Failed):
            self._end()
            raise CollectionError(message.reason)

    @property
    def pids(self) -> list[int]:
        """Process id of the broker; actors may be anywhere."""
        return [] if self._process.pid is None else [self._process.pid]

    def collect(self) -> TensorDictBase:
        """As many rollouts as there are workers in the plan, [workers * N, chunks].

        Raises:
            CollectionError: an actor cannot start or fails by an error of its own, or there was no cluster
                for as long as ``patience``.
            InterruptedCollection: training was asked to end while there was nothing to be had.
        """
        lost_at: float | None = None
        while True:
            try:
                self._ask()
                message = self._receive()
                while isinstance(message, (broker.Waiting, broker.Connected)):
                    self._tell(message)
                    message = self._receive()
            except _BrokerLost as lost:
                message = broker.Failed(f"the broker {lost}", reachable=False)
            if isinstance(message, broker.Collected):
                self._report, self._anybody = message, True
                if message.buffer is not None:
                    self._buffer = message.buffer
                assert self._buffer is not None  # comes with the first batch
                return self._buffer.copy()  # the same memory, but not locked
            if message.reachable:
                raise CollectionError(message.reason)
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > self.plan.patience:
                self._end()
                raise CollectionError(f"no Ray cluster for {self.plan.patience:g} s: {message.reason}")
            self._restart(message.reason)

    def _restart(self, reason: str) -> None:
        """Another broker, and all rollouts that were under way are lost."""
        print(f"Lost the Ray cluster ({reason}); looking for it again.", file=sys.stderr, flush=True)
        if self._report is not None:
            for name in self._past:
                self._past[name] += getattr(self._report, name)
            self._past["lost"] += self._report.alive
            self._report = None
        self._end()
        time.sleep(2 * TICK)
        self._start()

    def _ask(self) -> None:
        """Let the broker look for rollouts.

        Raises:
            _BrokerLost: it has ended.
        """
        try:
            self._connection.send(broker.COLLECT)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _BrokerLost(self._ending()) from error

    def _receive(self) -> Any:
        """The broker's next message.

        Raises:
            _BrokerLost: it has ended or gives no sign of life.
            InterruptedCollection: training is to end.
        """
        while not self._connection.poll(TICK):
            now = time.monotonic()
            if self._process.exitcode is not None and not self._connection.poll():
                raise _BrokerLost(self._ending())
            if now - self._beat.value > self.plan.patience:
                raise _BrokerLost(f"gave no sign of life for {self.plan.patience:g} s")
            if self.stopping():
                self._stopping_since = self._stopping_since or now
                if not self._anybody or now - self._stopping_since > GRACE:
                    raise InterruptedCollection("training was asked to end while rollouts were waited for")
        try:
            return self._connection.recv()
        except (EOFError, ConnectionResetError) as error:
            raise _BrokerLost(self._ending()) from error

    def _ending(self) -> str:
        """How the broker ended, whose connection is gone a moment before its process."""
        self._process.join(5)
        code = self._process.exitcode
        return "closed its connection" if code is None else f"ended with {ending(code)}"

    def _tell(self, message: Any) -> None:
        if isinstance(message, broker.Waiting):
            self._anybody = message.alive > 0
            where = self.plan.address or "this machine"
            print(
                f"Waiting for rollouts: {message.alive} of {message.wanted} actors have started ({where}).",
                file=sys.stderr,
                flush=True,
            )

    @property
    def metrics(self) -> dict[str, float]:
        """Actors, losses, and what the way costs."""
        if self._report is None:
            return {}
        report = self._report
        counts = {name: float(past + getattr(report, name)) for name, past in self._past.items()}
        return {
            "collection/actors": float(report.alive),
            **{f"collection/{name}": count for name, count in counts.items()},
            "throughput/weights_seconds": report.latency,
            "throughput/rollout_seconds": report.transit,
        }

    def close(self) -> None:
        """Ask the broker to end its actors, then end it."""
        if self._process.is_alive():
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is ending
                self._connection.send(broker.CLOSE)
            self._process.join(20)
        self._end()

    def _end(self) -> None:
        """End the broker and what it started: Ray's agents outlast a killed broker by a minute."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._connection.close()


class _BrokerLost(Exception):
    """How the broker was lost, as the end of a sentence."""
