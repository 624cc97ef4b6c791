"""What pictures a pose network learns from, with defaults."""

from __future__ import annotations

from dataclasses import dataclass

from dactyl_tl.vision.drawing import RENDERERS


@dataclass(frozen=True)
class PictureConfig:
    """States, renderer, workers and cache.

    Args:
        states: to gather from rollouts (1,000,000 in App. D.2).
        every: control steps between two of them.
        num_envs: simulations that are rolled out side by side.
        held_out: share of the states, whole episodes, that pictures for validation are taken of.
        validation: sets of pictures of each validation.
        renderer: that draws the pictures to learn from; validation has those of both.
        appearance: whether their looks are drawn anew for each set (Table 9).
        look: of the object: ``"lettered"`` or ``"plain"``, see :mod:`dactyl_tl.rendering.objects`.
        workers: processes that draw, each with a renderer of its own; threads that read a cache.
        cache: directory for pictures that are drawn once and read again and again, for machines where
            drawing is slow; null draws every picture afresh.
        cache_sets: sets of pictures in the cache, 30 KB each.
        shard_sets: sets of pictures in each of its files.
    """

    states: int = 100_000
    every: int = 3
    num_envs: int = 128
    held_out: float = 0.05
    validation: int = 512
    renderer: str = "filament"
    appearance: bool = True
    look: str = "lettered"
    workers: int = 2
    cache: str | None = None
    cache_sets: int = 50_000
    shard_sets: int = 256

    def __post_init__(self) -> None:
        if self.renderer not in RENDERERS:
            raise ValueError(f"pictures.renderer is {self.renderer!r}; choose from {', '.join(RENDERERS)}")
        for name in ("states", "every", "num_envs", "validation", "workers", "cache_sets", "shard_sets"):
            if getattr(self, name) < 1:
                raise ValueError(f"pictures.{name} is {getattr(self, name)!r}; it must be at least 1")
        if not 0 < self.held_out < 1:
            raise ValueError(f"pictures.held_out is {self.held_out!r}; it must be between 0 and 1")
