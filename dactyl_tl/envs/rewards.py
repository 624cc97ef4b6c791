"""The reward and its terms (Section 4.2)."""

from __future__ import annotations

from torch import Tensor

from dactyl_tl.envs.config import RewardConfig


def reward_terms(
    config: RewardConfig, before: Tensor, after: Tensor, achieved: Tensor, dropped: Tensor
) -> dict[str, Tensor]:
    """Weighted terms of one transition, named as in :data:`dactyl_tl.contract.REWARD_TERMS`.

    Args:
        config: weights.
        before, after: (n, 1) distance to the same goal before and after the transition, rad.
        achieved, dropped: (n, 1) bool.

    Returns:
        (n, 1) each; their sum is the reward.
    """
    return {
        "rotation": config.rotation * (before - after),
        "success": config.success * achieved.to(after.dtype),
        "drop": config.drop * dropped.to(after.dtype),
        "dense": config.dense * config.softness / (after + config.softness),
    }
