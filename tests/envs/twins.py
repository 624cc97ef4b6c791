"""Two environments in the same state, on different engines."""

import torch

from dactyl_tl.envs.snapshot import _memories
from dactyl_tl.simulation.physics import RANDOMIZED_FIELDS

STATE = ("qpos", "qvel", "ctrl", "xfrc_applied")


def copy_state(source, target):
    """Put ``target`` into the state of ``source``; warm starts are cleared in both."""
    everyone = torch.ones(source.batch_size, dtype=torch.bool, device=target.device)
    for name in RANDOMIZED_FIELDS:
        target.physics.field(name).copy_(source.physics.field(name))
    state = {name: getattr(source.physics, name).clone() for name in STATE}
    target.physics.fields_changed(everyone)
    for env in (target, source):
        everyone = torch.ones(env.batch_size, dtype=torch.bool, device=env.device)
        env.physics.reset(everyone)
        for name, value in state.items():
            getattr(env.physics, name).copy_(value)
        env.physics.forward(everyone)
    for theirs, ours in zip(_memories(target).values(), _memories(source).values(), strict=True):
        for key, value in ours.items():
            theirs[key] = value.to(target.device, copy=True)
    if source.device == target.device:
        target._step_generator.set_state(source._step_generator.get_state())
        target._episode_generator.set_state(source._episode_generator.get_state())
