"""Learning from rollouts; nothing here builds an environment."""

from dactyl_tl.learning.compiled import check_compilable
from dactyl_tl.learning.config import PPOConfig
from dactyl_tl.learning.ppo import PPOModule

__all__ = ["PPOConfig", "PPOModule", "check_compilable"]
