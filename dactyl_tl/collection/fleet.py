"""TorchRL's Ray collector for actors that come and go.

:class:`torchrl.collectors.distributed.RayCollector` makes the actors and ends them. Its own loop ends with
the first actor that dies and knows a fixed number of them; here a loop stands instead that asks whoever is
there, replaces whoever is lost, and refuses what is too old.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError
from torchrl.collectors.distributed import RayCollector

from dactyl_tl.collection.actors import ActorCollector, Delivery, installed_packages
from dactyl_tl.collection.board import Posted
from dactyl_tl.collection.cluster import init_arguments
from dactyl_tl.collection.collectors import CollectionPlan
from dactyl_tl.errors import CollectionError

TICK = 0.5
"""s between two looks at the clock while actors are waited for."""

START = 30.0
"""s for which a batch of the newest weights waits for a starting actor rather than ask others twice."""

FRUITLESS = 3
"""Deaths per slot since the last rollout after which replacing actors is given up."""

Lost = (RayActorError, ObjectLostError)
"""The actor is gone, or its machine with a rollout that was not yet fetched."""


@dataclass(frozen=True)
class Arrival:
    """A rollout that arrived.

    Attributes:
        slot: whose.
        delivery: what it brought.
        transit: s that it was on its way and waited to be fetched, by the clocks of two machines.
    """

    slot: int
    delivery: Delivery
    transit: float


@dataclass
class Tally:
    """What happened so far.

    Attributes:
        lost: rollouts that were asked for and never came.
        stale: rollouts that came too late to be used.
        replaced: actors made in the place of lost ones.
    """

    lost: int = 0
    stale: int = 0
    replaced: int = 0


@dataclass(frozen=True)
class _Pending:
    """Something asked of the actor of a slot, at a time by the monotonic clock."""

    slot: int
    since: float


class Fleet(RayCollector):
    """As many actors as the plan has workers, each asked for one rollout at a time.

    An actor that nobody has asked waits, and a rollout that nobody has fetched keeps its actor from making
    another: neither side runs away from the other. Actors for which the cluster has no room yet wait to be
    placed by Ray; they join when machines do.

    Args:
        plan: of the collection.
        first: number of the first actor, which decides its seeds.
    """

    def __init__(self, plan: CollectionPlan, first: int = 0) -> None:
        self.plan = plan
        self.tally = Tally()
        self._born = first
        self._deaths = 0
        self._actors: dict[int, Any] = {}
        self._starting: dict[Any, _Pending] = {}
        self._working: dict[Any, _Pending] = {}
        self._idle: set[int] = set()
        self._packages = installed_packages()
        cpus = plan.workers * plan.threads
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights, which are sent with each request
            super().__init__(
                create_env_fn=[],
                policy_factory=[],
                frames_per_batch=plan.steps,
                collector_class=ActorCollector,
                collector_kwargs=[],
                remote_configs=[],
                weight_sync_schemes={},
                ray_init_config=init_arguments(plan.address, cpus, plan.workers * plan.gpus),
            )
        for slot in range(plan.workers):
            self._start(slot)

    @property
    def alive(self) -> int:
        """Actors that have started and not been lost."""
        return len(self._idle) + len(self._working)

    def collect(self, posted: Posted, tick: Callable[[], None]) -> list[Arrival]:
        """As many rollouts as there are slots, of whoever has them, none older than the plan allows.

        Where only the newest weights are allowed, actors are asked for no more than what is needed, and the
        rollouts come in the order of the slots; otherwise each actor goes on at once, and they come in the
        order of arrival.

        Args:
            posted: weights and knobs for new requests.
            tick: called every now and then while this waits.

        Raises:
            CollectionError: an actor failed by an error of its own, or actors die faster than they deliver.
        """
        reference = ray.put(posted)
        overlapping = self.plan.max_age > 0
        arrivals: list[Arrival] = []
        while len(arrivals) < self.plan.workers:
            self._request(self._idle if overlapping else self._needed(arrivals), reference)
            arrival = self._next()
            tick()
            if arrival is None:
                continue
            if posted.version - arrival.delivery.version > self.plan.max_age:
                self.tally.stale += 1
            else:
                arrivals.append(arrival)
        if overlapping:
            self._request(self._idle, reference)
        else:
            arrivals.sort(key=lambda each: each.slot)
        return arrivals

    def fetch(self) -> None:
        """Have rollouts that are finished brought to this machine, without waiting for them."""
        if self._working:
            ray.wait([*self._working], num_returns=len(self._working), timeout=0)

    def _needed(self, arrivals: list[Arrival]) -> set[int]:
        """Idle slots to ask to complete a batch of the newest weights: each once, if all are there."""
        once = self._idle - {each.slot for each in arrivals}
        began = time.monotonic() - START
        if once or any(pending.since > began for pending in self._starting.values()):
            candidates = once
        else:
            candidates = self._idle
        missing = self.plan.workers - len(arrivals) - len(self._working)
        return set(sorted(candidates)[: max(missing, 0)])

    def _start(self, slot: int) -> None:
        """Have an actor made for ``slot``; Ray places it when a machine has room."""
        plan = self.plan
        options = {
            "policy_factory": plan.make_policy,
            "number": self._born,
            "slot": slot,
            "threads": plan.threads,
            "packages": self._packages,
            "seed": plan.seed,
            "steps": plan.steps,
            "chunk": plan.chunk,
            "device": plan.device,
        }
        resources = {"num_cpus": plan.threads, "num_gpus": plan.gpus, "scheduling_strategy": "SPREAD"}
        self.add_collectors([plan.make_env], 1, None, [options], [resources])
        self._born += 1
        self._actors[slot] = actor = self.remote_collectors[-1]
        self._starting[actor.__ray_ready__.remote()] = _Pending(slot, time.monotonic())

    def _request(self, slots: set[int], posted: Any) -> None:
        """Ask the idle actors of ``slots`` for a rollout each."""
        for slot in sorted(slots):
            self._idle.remove(slot)
            reference = self._actors[slot].collect.remote(posted, time.time())
            self._working[reference] = _Pending(slot, time.monotonic())

    def _next(self) -> Arrival | None:
        """What arrives within a tick, if anything does."""
        ready, _ = ray.wait([*self._starting, *self._working], num_returns=1, timeout=TICK)
        arrival = None
        for reference in ready:
            started = self._starting.pop(reference, None)
            slot = (started or self._working.pop(reference)).slot
            try:
                result = ray.get(reference)
            except RayTaskError as error:
                raise CollectionError(f"an actor failed: {error.cause}") from error
            except Lost as error:
                self.tally.lost += started is None
                self._replace(slot, error)
                continue
            self._idle.add(slot)
            if started is None:
                self._deaths = 0
                arrival = Arrival(slot, result, time.time() - result.sent)
        self._give_up_on_silent_ones()
        return arrival

    def _give_up_on_silent_ones(self) -> None:
        began = time.monotonic() - self.plan.patience
        overdue = [reference for reference, pending in self._working.items() if pending.since < began]
        if not overdue:
            return
        # Nobody asks for what is finished while the learner learns, however long that takes.
        _, silent = ray.wait(overdue, num_returns=len(overdue), timeout=0, fetch_local=False)
        for reference in silent:
            self.tally.lost += 1
            self._replace(self._working.pop(reference).slot, None)

    def _replace(self, slot: int, error: Exception | None) -> None:
        """Put a new actor into the place of a lost one."""
        if isinstance(error, RayActorError) and error.actor_init_failed:
            raise CollectionError(f"an actor could not start: {_last_line(error)}") from error
        self._deaths += 1
        if self._deaths > FRUITLESS * self.plan.workers:
            raise CollectionError(
                f"{self._deaths} actors in a row ended before they delivered a rollout; the last: "
                f"{_last_line(error) if error else 'silence'}"
            ) from error
        actor = self._actors.pop(slot)
        self.remote_collectors.remove(actor)
        ray.kill(actor)
        self.tally.replaced += 1
        self._start(slot)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
