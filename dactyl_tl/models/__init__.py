"""Policy and value networks, and the running normalisation inside them."""

from dactyl_tl.models.config import NetworkConfig
from dactyl_tl.models.deployed import DeployedPolicy
from dactyl_tl.models.distributions import MultiCategorical
from dactyl_tl.models.networks import (
    IS_INIT,
    POLICY_STATE,
    VALUE_STATE,
    Actor,
    Critic,
    build_actor,
    build_critic,
)
from dactyl_tl.models.normalization import ObservationNormalizer, RunningStatistics, ValueNormalizer
from dactyl_tl.models.recurrence import check_backend, inner_starts

__all__ = [
    "IS_INIT",
    "POLICY_STATE",
    "VALUE_STATE",
    "Actor",
    "Critic",
    "DeployedPolicy",
    "MultiCategorical",
    "NetworkConfig",
    "ObservationNormalizer",
    "RunningStatistics",
    "ValueNormalizer",
    "build_actor",
    "build_critic",
    "check_backend",
    "inner_starts",
]
