"""It learns: a cue shown once is recalled eight steps later by the LSTM, and by nothing without memory."""

from typing import Any

import pytest
import torch

from dactyl_tl.models import NetworkConfig
from tests.learning.cue import CueEnv
from tests.learning.runs import collector, fit, make_module


def late_success(policy: str, updates: int, **trainer: Any) -> float:
    """Mean reward per episode, -1 to 1, over the last fifth of the updates."""
    network = NetworkConfig(dense=32, lstm=32, policy=policy, value="feedforward")
    module = make_module(
        network,
        learning_rate=3e-3,
        epochs=3,
        minibatches=4,
        chunk=8,
        gamma=0.95,
        entropy_coefficient=0.0,
        max_gradient_norm=1.0,
    )
    data = collector(CueEnv(64, length=8), module.actor, 16)
    rewards = []

    def watched():
        for rollout in data:
            ended = rollout["next", "done"]
            rewards.append((rollout["next", "reward"][ended]).mean().item())
            yield rollout

    torch.manual_seed(1)
    fit(module, watched(), updates, **trainer)
    data.shutdown()
    late = rewards[-max(1, updates // 5) :]
    return sum(late) / len(late)


@pytest.mark.parametrize(("policy", "succeeds"), [("lstm", True), ("feedforward", False)])
def test_only_a_policy_with_memory_recalls_the_cue(policy, succeeds):
    success = late_success(policy, updates=25)
    if succeeds:
        assert success > 0.8
    else:
        assert abs(success) < 0.3  # chance is 0


def test_half_precision_learns_it_as_well():
    assert late_success("lstm", updates=25, precision="bf16-mixed") > 0.8
