"""Settings of the task. Defaults are the paper's; each stands here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from dactyl_tl.goals import GoalConfig
from dactyl_tl.randomization import Randomization

Config = TypeVar("Config")


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the reward's terms (Section 4.2); ``dense`` is not the paper's."""

    rotation: float = 1.0
    """Per rad that the object came closer to the goal."""
    success: float = 5.0
    drop: float = -20.0
    dense: float = 0.0
    """Of ``softness / (distance + softness)``, paid at every step."""
    softness: float = 0.1
    """rad."""

    def __post_init__(self) -> None:
        _positive("reward", softness=self.softness)


@dataclass(frozen=True)
class ActionConfig:
    """How an action in [-1, 1] becomes a joint target (App. C.1)."""

    relative: bool = True
    """Relative to the present joint angle; otherwise to the centre of the control range. One unit is
    half of the control range (published with OpenAI's later environments)."""
    smoothing: float = 0.3
    """Share of the previous smoothed action that is kept, per control step."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.smoothing < 1.0:
            raise ValueError(f"actions.smoothing must lie in [0, 1), not {self.smoothing!r}.")


@dataclass(frozen=True)
class InitialStateConfig:
    """How an episode starts (App. C.1)."""

    steps: int = 100
    """Control steps of random actions, after the object is placed in a random orientation. Of relative
    actions the hand survives so many with two objects in three."""
    fresh: float = 1.0
    """Share of resets that simulate new initial states. The others draw from the recent ones, which saves
    most of what a reset costs: as much as an episode of its length."""
    pool: int = 1024
    """Recent initial states that are kept; an engine that steps all simulations at once keeps as many as
    there are simulations."""
    position_spread: float = 0.005
    """Standard deviation of the object's placement, m (published with OpenAI's later environments)."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"initial_states.steps must not be negative, not {self.steps!r}.")
        if not 0.0 < self.fresh <= 1.0:
            raise ValueError(f"initial_states.fresh must lie in (0, 1], not {self.fresh!r}.")
        _positive("initial_states", pool=self.pool)


@dataclass(frozen=True)
class EnvConfig:
    """All settings of the task."""

    randomization: Randomization = field(default_factory=Randomization)
    goals: GoalConfig = field(default_factory=GoalConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    actions: ActionConfig = field(default_factory=ActionConfig)
    initial_states: InitialStateConfig = field(default_factory=InitialStateConfig)


def resolve(config_type: type[Config], value: Mapping[str, Any] | Config | None, name: str) -> Config:
    """A ``config_type`` from itself, a mapping of its fields, or None for the defaults.

    Raises:
        ValueError: unknown field (``name`` says where), or a value that the type refuses.
    """
    if not isinstance(value, Mapping) and value is not None:
        return value
    known = [setting.name for setting in fields(config_type)]  # type: ignore[arg-type]
    settings: dict[str, Any] = {}
    for key, setting in (value or {}).items():
        if key not in known:
            raise ValueError(f"Unknown setting {name}.{key}; choose from {', '.join(known)}.")
        settings[key] = tuple(setting) if key == "angle" else setting
    return config_type(**settings)


def _positive(where: str, **values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{where}.{name} must be positive, not {value!r}.")
