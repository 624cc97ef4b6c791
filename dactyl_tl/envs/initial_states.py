"""Initial states (App. C.1): the object placed on the palm at random, then random actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.contract import (
    DROP_DEPTH,
    NUM_ACTUATORS,
    NUM_BINS,
    NUM_JOINTS,
    PHYSICS_STEPS,
    PHYSICS_TIMESTEP,
)
from dactyl_tl.envs.actuation import Actuators, decode
from dactyl_tl.envs.config import InitialStateConfig
from dactyl_tl.randomization.sampling import bernoulli, normal
from dactyl_tl.simulation.objects import START_POSITION
from dactyl_tl.simulation.physics import Physics
from dactyl_tl.simulation.scene import Scene

SETTLING_STEPS = 5
"""Control steps that a placed object has to fall onto the hand, before its height is looked at."""

PATIENCE = 20
"""Placements of one object after which its whole trial is discarded: some hands hold nothing."""

MAX_PLACEMENTS = 10 * PATIENCE
"""Placements of one object after which the settings must be wrong."""

COUNTED_EVERY = 64
"""Resets between two looks at how many initial states were used: a look waits for the device."""


class InitialStates:
    """Puts simulations into initial states, simulated anew or drawn from a pool of recent ones.

    Where a masked step costs only what it moves, a reset simulates what it needs, or draws from the pool at
    random. Where it costs as much as a step of all, all simulate a stock at once, each under its present
    parameters, and go back to what they were doing; resets hand it out in turn, ``1 / fresh`` times.

    Args:
        config: settings.
        scene, physics: the world.
        actuators: that turn random actions into targets.
        discard: called with a mask (n,) of simulations whose parameters are to be sampled again.
    """

    def __init__(
        self,
        config: InitialStateConfig,
        scene: Scene,
        physics: Physics,
        actuators: Actuators,
        discard: Callable[[Tensor], None],
    ) -> None:
        self._config = config
        self._palm = scene.palm_body
        self._physics = physics
        self._actuators = actuators
        self._discard = discard
        self._start = torch.tensor(START_POSITION, device=physics.qpos.device)
        self._next_slot = torch.zeros((), dtype=torch.int64, device=physics.qpos.device)
        self.forget()

    def forget(self) -> None:
        """Empty the pool, so that what follows depends on the seed alone."""
        self._pool = self._physics.state()[:0]
        self._next_slot.zero_()
        self._resets = 0

    def place(self, mask: Tensor, generator: torch.Generator) -> None:
        """Give every simulation in ``mask`` (n,) an initial state."""
        if self._physics.masked_steps_cost_all:
            self._hand_out(mask, generator)
        else:
            self._draw_or_simulate(mask, generator)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all that decides the next initial states."""
        return {
            "pool": self._pool.clone(),
            "next_slot": self._next_slot.clone(),
            "resets": torch.tensor(self._resets),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from :meth:`state_dict`."""
        self._pool = state["pool"].to(self._pool, copy=True)
        self._next_slot.copy_(state["next_slot"])
        self._resets = int(state["resets"])

    def _draw_or_simulate(self, mask: Tensor, generator: torch.Generator) -> None:
        fresh = mask
        if len(self._pool) >= min(self._config.pool, self._physics.num_worlds):
            # Each decides for itself: many that simulate at once would have other workers wait.
            fresh = mask & bernoulli(mask.shape, self._config.fresh, generator)
            rows = torch.randint(len(self._pool), mask.shape, generator=generator, device=mask.device)
            self._begin_from(rows, mask & ~fresh)
        if fresh.any():
            self._simulate(fresh, generator)
            if self._config.fresh < 1.0:
                self._keep(self._physics.state()[fresh])

    def _hand_out(self, mask: Tensor, generator: torch.Generator) -> None:
        # ``next_slot`` counts on the device; the host asks for it now and then.
        if self._resets % COUNTED_EVERY == 0 and self._next_slot >= len(self._pool) / self._config.fresh:
            self._simulate_stock(mask, generator)
        self._resets += 1
        rows = (self._next_slot + mask.cumsum(0) - 1) % len(self._pool)
        self._next_slot += mask.sum()
        self._begin_from(rows, mask)

    def _begin_from(self, rows: Tensor, mask: Tensor) -> None:
        self._physics.reset(mask)
        self._physics.set_state(self._pool[rows], mask)

    def _simulate(self, mask: Tensor, generator: torch.Generator) -> None:
        """Place and shake until every simulation has held its object for all the steps."""
        waiting = mask
        for ready in self._shake(mask, mask, generator):
            waiting = waiting & ~ready
            if not waiting.any():
                return

    def _simulate_stock(self, beginning: Tensor, generator: torch.Generator) -> None:
        """Fill the pool with as many initial states as there are simulations.

        Those in ``beginning`` (n,) are between two episodes: their parameters may be sampled again.
        """
        physics = self._physics
        everyone = torch.ones(physics.num_worlds, dtype=torch.bool, device=physics.qpos.device)
        timestep = physics.field("opt.timestep")
        before, timesteps = physics.state(), timestep.clone()
        timestep.fill_(PHYSICS_TIMESTEP)
        stock: list[Tensor] = []
        for ready in self._shake(everyone, beginning, generator, again=True):
            stock.append(physics.state()[ready])
            if sum(map(len, stock)) >= physics.num_worlds:
                break
        self._pool = torch.cat(stock)
        self._next_slot.zero_()
        timestep.copy_(timesteps)
        physics.reset(everyone)
        physics.set_state(before, everyone)

    def _shake(
        self, mask: Tensor, beginning: Tensor, generator: torch.Generator, again: bool = False
    ) -> Iterator[Tensor]:
        """Place the objects of ``mask`` (n,), then step; again and again those that lose theirs.

        Args:
            mask: simulations to work on.
            beginning: (n,) bool, those whose parameters are discarded when they lose it too often.
            generator: of placements and actions.
            again: place those anew, too, that have held their object for all the steps.

        Yields:
            After each control step, (n,) bool: which have just held their object for all the steps.
        """
        physics = self._physics
        n = len(mask)
        total = SETTLING_STEPS + self._config.steps
        remaining = torch.zeros(n, dtype=torch.int64, device=mask.device)
        smoothed = torch.zeros(n, NUM_ACTUATORS, dtype=physics.ctrl.dtype, device=mask.device)
        losses = torch.zeros_like(remaining)  # in a row
        begin = mask
        while True:
            self._drop_object(begin, generator)
            smoothed = smoothed.masked_fill(begin[:, None], 0.0)
            remaining = torch.where(begin, total, remaining)
            active = remaining > 0
            bins = torch.randint(NUM_BINS, (n, NUM_ACTUATORS), generator=generator, device=mask.device)
            shaking = remaining <= self._config.steps
            action = torch.where(shaking[:, None], decode(bins), 0.0)
            smoothed = self._actuators.smooth(action, smoothed)
            physics.ctrl.copy_(torch.where(active[:, None], self._actuators.targets(smoothed), physics.ctrl))
            physics.step(active, PHYSICS_STEPS)
            remaining = remaining - active.to(remaining.dtype)
            lost = active & (self._dropped() | physics.diverged()) & (remaining <= self._config.steps)
            ready = active & ~lost & (remaining == 0)
            yield ready
            begin = lost | ready if again else lost
            losses = torch.where(ready, 0, losses + lost)
            hopeless = lost & beginning & (losses % PATIENCE == 0)
            if hopeless.any():
                if losses[hopeless].max() >= MAX_PLACEMENTS:
                    physics.check()  # contacts that were left out would explain it
                    raise RuntimeError(
                        f"No initial state in {MAX_PLACEMENTS} placements: the hand drops the object within "
                        f"{self._config.steps} steps of random actions (initial_states.steps)."
                    )
                self._discard(hopeless)

    def _drop_object(self, mask: Tensor, generator: torch.Generator) -> None:
        physics = self._physics
        n = len(mask)
        physics.reset(mask)
        offset = normal((n, 3), self._config.position_spread, generator)
        pose = torch.cat((self._start + offset, rotations.uniform((n,), generator)), dim=1)
        held = physics.qpos[:, NUM_JOINTS:]
        held.copy_(torch.where(mask[:, None], pose.to(held.dtype), held))
        physics.forward(mask)

    def _dropped(self) -> Tensor:
        palm_height = self._physics.xpos[:, self._palm, 2]
        return self._physics.qpos[:, NUM_JOINTS + 2] < palm_height - DROP_DEPTH

    def _keep(self, states: Tensor) -> None:
        for state in states:
            if len(self._pool) < self._config.pool:
                self._pool = torch.cat((self._pool, state[None]))
            else:
                slot = int(self._next_slot)
                self._pool[slot] = state
                self._next_slot.fill_((slot + 1) % self._config.pool)
