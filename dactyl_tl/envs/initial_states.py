"""Initial states (App. C.1): the object placed on the palm at random, then random actions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.contract import DROP_DEPTH, NUM_ACTUATORS, NUM_BINS, NUM_JOINTS, PHYSICS_STEPS
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


class InitialStates:
    """Puts simulations into initial states, simulated anew or drawn from a pool of recent ones.

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
        self._scene = scene
        self._physics = physics
        self._actuators = actuators
        self._discard = discard
        self.forget()

    def forget(self) -> None:
        """Empty the pool, so that what follows depends on the seed alone."""
        self.pool = self._physics.state()[:0]
        self.next_slot = 0

    def place(self, mask: Tensor, generator: torch.Generator) -> None:
        """Give every simulation in ``mask`` (n,) an initial state."""
        full = len(self.pool) >= min(self._config.pool, self._physics.num_worlds)
        # One decision for the whole call: simulating few at a time would waste the batch.
        if full and not bernoulli((1,), self._config.fresh, generator):
            rows = torch.randint(len(self.pool), mask.shape, generator=generator, device=mask.device)
            self._physics.reset(mask)
            self._physics.set_state(self.pool[rows], mask)
            return
        self._simulate(mask, generator)
        if self._config.fresh < 1.0:
            self._keep(self._physics.state()[mask])

    def _simulate(self, mask: Tensor, generator: torch.Generator) -> None:
        """Place and shake until every simulation has held its object for all the steps."""
        physics = self._physics
        n = len(mask)
        total = SETTLING_STEPS + self._config.steps
        remaining = torch.where(mask, total, 0)
        smoothed = torch.zeros(n, NUM_ACTUATORS, dtype=physics.ctrl.dtype, device=mask.device)
        lost = mask
        placements = torch.zeros(n, dtype=torch.int64, device=mask.device)
        while True:
            placements += lost
            hopeless = lost & (placements > 1) & (placements % PATIENCE == 1)
            if hopeless.any():
                if placements.max() > MAX_PLACEMENTS:
                    raise RuntimeError(
                        f"No initial state in {MAX_PLACEMENTS} placements: the hand drops the object within "
                        f"{self._config.steps} steps of random actions (initial_states.steps)."
                    )
                self._discard(hopeless)
            self._drop_object(lost, generator)
            smoothed[lost] = 0.0
            remaining = torch.where(lost, total, remaining)
            active = remaining > 0
            if not active.any():
                return
            bins = torch.randint(NUM_BINS, (n, NUM_ACTUATORS), generator=generator, device=mask.device)
            shaking = remaining <= self._config.steps
            action = torch.where(shaking[:, None], decode(bins), 0.0)
            smoothed = self._actuators.smooth(action, smoothed)
            physics.ctrl.copy_(torch.where(active[:, None], self._actuators.targets(smoothed), physics.ctrl))
            physics.step(active, PHYSICS_STEPS)
            remaining = remaining - active.to(remaining.dtype)
            lost = active & (self._dropped() | physics.diverged()) & (remaining <= self._config.steps)

    def _drop_object(self, mask: Tensor, generator: torch.Generator) -> None:
        physics = self._physics
        n = len(mask)
        physics.reset(mask)
        offset = normal((n, 3), self._config.position_spread, generator)
        position = torch.tensor(START_POSITION, device=mask.device) + offset
        pose = torch.cat((position, rotations.uniform((n,), generator)), dim=1).to(physics.qpos.dtype)
        physics.qpos[:, NUM_JOINTS:] = torch.where(mask[:, None], pose, physics.qpos[:, NUM_JOINTS:])
        physics.forward(mask)

    def _dropped(self) -> Tensor:
        palm_height = self._physics.xpos[:, self._scene.palm_body, 2]
        return self._physics.qpos[:, NUM_JOINTS + 2] < palm_height - DROP_DEPTH

    def _keep(self, states: Tensor) -> None:
        for state in states:
            if len(self.pool) < self._config.pool:
                self.pool = torch.cat((self.pool, state[None]))
            else:
                self.pool[self.next_slot] = state
                self.next_slot = (self.next_slot + 1) % self._config.pool
