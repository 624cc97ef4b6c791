"""The task: turn the object in the hand to one goal orientation after another (Section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from dactyl_tl import rotations
from dactyl_tl.contract import (
    DROP_DEPTH,
    NUM_ACTUATORS,
    PHYSICS_STEPS,
    PHYSICS_TIMESTEP,
    POLICY,
    PRIVILEGED,
    REWARD_TERMS,
)
from dactyl_tl.envs.actuation import Actuators, decode
from dactyl_tl.envs.config import EnvConfig
from dactyl_tl.envs.initial_states import InitialStates
from dactyl_tl.envs.memory import assign
from dactyl_tl.envs.observations import (
    HandState,
    Measurement,
    StateReader,
    privileged_observation,
    relative_orientation,
)
from dactyl_tl.envs.rewards import reward_terms
from dactyl_tl.envs.sensing import Sensing
from dactyl_tl.envs.snapshot import restore, snapshot
from dactyl_tl.envs.specs import action_spec, done_spec, observation_spec, reward_spec
from dactyl_tl.goals import sample_goals
from dactyl_tl.randomization import EpisodeSampler
from dactyl_tl.randomization.actuation import added_time, backlash
from dactyl_tl.randomization.physics import PhysicsFields
from dactyl_tl.simulation.physics import Physics
from dactyl_tl.simulation.scene import Scene


class ReorientEnv(EnvBase):
    """N simulations of in-hand reorientation as one batched TorchRL environment.

    Build it with :func:`dactyl_tl.make_env`. A step's entries are listed in
    :mod:`dactyl_tl.envs.specs`. ``terminated`` is a drop; ``truncated`` is a goal not achieved in time,
    the last goal achieved, or a simulation that diverged. A finished simulation that is stepped
    without a reset stays as it is.

    Attributes:
        goal_angle: upper end of the goals' angle, rad, for ``within_angle`` goals (a curriculum's).
        randomization_scale: share in [0, 1] of all randomizations (a curriculum's).
        config: the task's settings.
        physics, scene: the engine and its model.
    """

    batch_locked = True

    def __init__(
        self,
        scene: Scene,
        physics: Physics,
        config: EnvConfig,
        *,
        seed: int,
    ) -> None:
        n, device = physics.num_worlds, physics.qpos.device
        super().__init__(device=device, batch_size=[n])
        self.scene = scene
        self.physics = physics
        self.config = config
        self.goal_angle = config.goals.angle[1]
        self.randomization_scale = 1.0
        self._divergences = torch.zeros((), dtype=torch.int64, device=device)
        self._sampler = EpisodeSampler(config.randomization, num_links=len(scene.link_bodies))
        self._fields = PhysicsFields(scene, physics)
        self._actuators = Actuators(scene, physics, config.actions)
        physics.forward(torch.ones(n, dtype=torch.bool, device=device))
        self._read_state = StateReader(scene, physics)
        self._sensing = Sensing(scene, physics, self._sampler)
        self._initial_states = InitialStates(
            config.initial_states, scene, physics, self._actuators, self._sample_parameters
        )

        self.action_spec = action_spec(n, device)
        self.observation_spec = observation_spec(n, device)
        self.reward_spec = reward_spec(n, device)
        self.full_done_spec = done_spec(n, device)

        # Two streams, so that the noise of a step never shifts what an episode starts with.
        self._episode_generator = torch.Generator(device)
        self._step_generator = torch.Generator(device)
        self.set_seed(seed)
        self._parameters = self._sampler.sample(n, 0.0, torch.Generator(device))
        self._episode = _new_episode(n, device)
        self._output = {
            key: spec.zero()
            for group in (self.observation_spec, self.full_done_spec)
            for key, spec in group.items(True, True)
        }
        # What a reset says of the step before it; these zeros are never written in place.
        self._nothing_happened = {key: self._output[key] for key in _EVENTS}

    @property
    def divergences(self) -> int:
        """Simulations that diverged and were reset, so far."""
        return int(self._divergences)

    def check(self) -> None:
        """Look for contacts that the engine left out for want of memory since the last call.

        Collectors call it after each rollout: a GPU has to be waited for.

        Raises:
            SimulationError: how many, and what to raise.
        """
        self.physics.check()

    @property
    def parameters(self) -> TensorDict:
        """A copy of every value sampled for the current episode: [N]."""
        return TensorDict(self._parameters, batch_size=self.batch_size, device=self.device).clone()

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            self._episode_generator.manual_seed(seed)
            self._step_generator.manual_seed(seed + 1)
            self._initial_states.forget()

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDictBase:
        mask = torch.ones(self.batch_size, dtype=torch.bool, device=self.device)
        if tensordict is not None and "_reset" in tensordict.keys():
            mask = tensordict["_reset"].reshape(self.batch_size)
        n = len(mask)
        self._sample_parameters(mask)
        self._initial_states.place(mask, self._episode_generator)

        state = self._read_state()
        assign(self._episode, _new_episode(n, mask.device), mask)
        goal = self._sample_goals(state)
        distance = rotations.distance(state.object_orientation, goal)[:, None]
        assign(self._episode, {"goal": goal, "distance": distance}, mask)
        measured = self._sensing.start(state, self._parameters, mask, self._step_generator)
        assign(self._output, self._observe(state, measured), mask)
        assign(self._output, self._nothing_happened, mask)
        return self._tensordict(self._output)

    def _sample_parameters(self, mask: Tensor) -> None:
        """New values of everything that is held for an episode, for the simulations in ``mask`` (N,)."""
        sampled = self._sampler.sample(len(mask), self.randomization_scale, self._episode_generator)
        assign(self._parameters, sampled, mask)
        self._fields.write(self._parameters)
        self.physics.field("opt.timestep").masked_fill_(mask, PHYSICS_TIMESTEP)
        self.physics.fields_changed(mask)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        episode, active = self._episode, ~self._episode["finished"][:, 0]
        elapsed = self._actuate(decode(tensordict["action"]), active)
        self.physics.step(active, PHYSICS_STEPS)
        diverged = active & self.physics.diverged()
        self._divergences += diverged.sum()

        state = self._read_state()
        alive = active & ~diverged
        before = episode["distance"]
        after = rotations.distance(state.object_orientation, episode["goal"])[:, None]
        dropped = alive[:, None] & (state.clearance < -DROP_DEPTH)
        achieved = alive[:, None] & (after < self.config.goals.tolerance) & ~dropped
        terms = reward_terms(self.config.reward, before, after, achieved, dropped)
        terms = {name: torch.where(alive[:, None], term, 0.0) for name, term in terms.items()}

        goal = torch.where(achieved, self._sample_goals(state), episode["goal"])
        waited = torch.where(achieved, 0.0, episode["waited"] + elapsed)
        successes = episode["successes"] + achieved
        truncated = (
            (waited > self.config.goals.timeout)
            | (successes >= self.config.goals.maximum)
            | diverged[:, None]
        )
        assign(
            episode,
            {
                "goal": goal,
                "distance": rotations.distance(state.object_orientation, goal)[:, None],
                "successes": successes,
                "waited": waited,
                "elapsed": episode["elapsed"] + elapsed,
            },
            alive,
        )
        measured = self._sensing.sense(state, self._parameters, elapsed, alive, self._step_generator)
        assign(self._output, self._observe(state, measured), alive)
        assign(
            self._output,
            {
                "achieved": achieved,
                "dropped": dropped,
                "diverged": diverged[:, None],
                "terminated": dropped,
                "truncated": truncated & ~dropped,
                "done": dropped | truncated,
            },
            active,
        )
        episode["finished"] = self._output["done"]
        for name, term in terms.items():
            self._output["reward_terms", name] = term
        reward = torch.stack(tuple(terms.values())).sum(dim=0)
        # A finished simulation repeats its last observation, but achieves nothing more.
        return self._tensordict({**self._output, "achieved": achieved, "reward": reward})

    def _actuate(self, action: Tensor, active: Tensor) -> Tensor:
        """Set controls and forces for the simulations in ``active``; the control step's length (n, 1) s."""
        episode, parameters, generator = self._episode, self._parameters, self._step_generator
        smoothed = self._actuators.smooth(action, episode["smoothed"])
        applied = smoothed
        timestep = torch.full_like(episode["elapsed"], PHYSICS_TIMESTEP)
        slack, force = episode["slack"], episode["force"]
        if self.config.randomization.unmodeled > 0.0:
            actuation = self._sampler.actuation
            applied = torch.where(parameters["action_delay"], episode["smoothed"], applied)
            applied = actuation.noisy(
                applied, parameters["action_bias"], parameters["action_noise"], generator
            )
            timestep = timestep + added_time(parameters["timing_rate"], parameters["timing"], generator)
            period = PHYSICS_STEPS * timestep
            applied, slack = backlash(applied, slack, parameters["backlash_rates"], period)
            force = self._sampler.forces.advance(
                force,
                self.physics.field("body_mass")[:, self.scene.object_body, None].float(),
                parameters["force_probability"],
                parameters["force_scale"],
                generator,
            )
            held = self.physics.field("opt.timestep")
            held.copy_(torch.where(active, timestep[:, 0].to(held.dtype), held))
            pull = self.physics.xfrc_applied[:, self.scene.object_body, :3]
            pull.copy_(torch.where(active[:, None], force.to(pull.dtype), pull))
        targets = self._actuators.targets(applied)
        self.physics.ctrl.copy_(torch.where(active[:, None], targets, self.physics.ctrl))
        assign(episode, {"smoothed": smoothed, "slack": slack, "force": force}, active)
        return PHYSICS_STEPS * timestep

    def _sample_goals(self, state: HandState) -> Tensor:
        goals = self.config.goals
        angle = (min(goals.angle[0], self.goal_angle), self.goal_angle)
        return sample_goals(goals.kind, state.object_orientation, angle, self._episode_generator)

    def _observe(self, state: HandState, measured: Measurement) -> dict[str | tuple[str, str], Tensor]:
        episode = self._episode
        goal = episode["goal"]
        noisy = {
            "fingertip_positions": measured.fingertips,
            "object_position": measured.object_position,
            "relative_target_orientation": relative_orientation(goal, measured.object_orientation),
        }
        return {
            **{(POLICY, name): value for name, value in noisy.items()},
            **{(PRIVILEGED, name): value for name, value in privileged_observation(state, goal).items()},
            "goal_distance": episode["distance"],
            "successes": episode["successes"],
            "elapsed": episode["elapsed"],
        }

    def _tensordict(self, output: Mapping[Any, Tensor]) -> TensorDict:
        # No tensor of the output is ever written in place, so the tensordict may hold them as they are.
        nested: dict[str, Any] = {}
        for key, value in output.items():
            if isinstance(key, tuple):
                nested.setdefault(key[0], {})[key[1]] = value
            else:
                nested[key] = value
        return TensorDict(nested, batch_size=self.batch_size, device=self.device)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Everything that decides the environment's future, as tensors: see :meth:`load_state_dict`."""
        return snapshot(self)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        """Continue from :meth:`state_dict`, bit for bit, in an environment built with the same settings.

        Raises:
            ValueError: the state belongs to an environment of another size or task.
        """
        restore(self, state_dict)


_EVENTS = (
    "achieved",
    "dropped",
    "diverged",
    "done",
    "terminated",
    "truncated",
    *(("reward_terms", name) for name in REWARD_TERMS),
)


def _new_episode(n: int, device: torch.device) -> dict[str, Tensor]:
    """What an episode accumulates, at its start."""
    return {
        "goal": torch.zeros(n, 4, device=device),
        "distance": torch.zeros(n, 1, device=device),  # rad, to the goal
        "successes": torch.zeros(n, 1, dtype=torch.int64, device=device),
        "elapsed": torch.zeros(n, 1, device=device),  # s
        "waited": torch.zeros(n, 1, device=device),  # s, for the present goal
        "smoothed": torch.zeros(n, NUM_ACTUATORS, device=device),  # the last smoothed action
        "slack": torch.zeros(n, NUM_ACTUATORS, device=device),
        "force": torch.zeros(n, 3, device=device),  # N, on the object
        "finished": torch.zeros(n, 1, dtype=torch.bool, device=device),
    }
