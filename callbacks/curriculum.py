"""Harder as it gets better: goals further away, randomizations wider."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from dactyl_tl.collection.board import KNOBS

LESSON = "curriculum/"
"""What the metrics begin with that say how hard the task is."""


class Curriculum(Callback):
    """Move an attribute of the environment from ``start`` to ``stop`` as successes grow.

    It moves by ``step`` whenever the mean of ``monitor`` is at least ``threshold`` and, since the last move,
    ``episodes`` episodes have ended and ``frames`` frames were collected. The new value reaches the
    simulations of every worker before its next rollout, and episodes or goals that begin there follow it.

    Args:
        knob: ``"goal_angle"``, rad, or ``"randomization_scale"``, a share in [0, 1].
        start: first value.
        stop: last value.
        step: of each move; its sign does not matter.
        threshold: of the monitored metric.
        monitor: metric of the rollouts.
        episodes: between two moves; of an ``episode/`` metric at least the window of the statistics, so that
            it speaks of the present value only.
        frames: between two moves. To wait for episodes slows policies that end few of them, the good ones.

    Raises:
        ValueError: an unknown knob, or a step of 0.
    """

    def __init__(
        self,
        knob: str,
        start: float,
        stop: float,
        step: float,
        threshold: float,
        monitor: str = "episode/successes",
        episodes: int = 0,
        frames: int = 0,
    ) -> None:
        if knob not in KNOBS:
            raise ValueError(f"knob is {knob!r}; choose from {', '.join(KNOBS)}")
        if not step:
            raise ValueError("step is 0; the curriculum would never move")
        self.knob, self.value = knob, float(start)
        self._low, self._high = min(start, stop), max(start, stop)
        self._step = abs(step) if stop >= start else -abs(step)
        self._threshold, self._monitor = threshold, monitor
        self._wait = {"episodes": episodes, "frames": frames}
        self._moved_at = dict.fromkeys(self._wait, 0)

    @property
    def state_key(self) -> str:
        """One for each knob, so that two curricula keep two states."""
        return f"Curriculum[{self.knob}]"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the simulations the value to start, or to go on, with."""
        self._turn(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Move if the last rollouts were good enough, and log where it stands."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        now = {"episodes": data.statistics.finished, "frames": data.frames}
        good = data.metrics.get(self._monitor, float("-inf")) >= self._threshold
        if good and all(now[unit] - self._moved_at[unit] >= wait for unit, wait in self._wait.items()):
            self.value = min(max(self.value + self._step, self._low), self._high)
            self._moved_at = now
            self._turn(trainer)
        pl_module.log(f"{LESSON}{self.knob}", self.value, batch_size=1)

    def _turn(self, trainer: Trainer) -> None:
        trainer.datamodule.source.board.turn(self.knob, self.value)  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, Any]:
        """The value and when it was reached."""
        return {"value": self.value, "moved_at": self._moved_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the value."""
        self.value, self._moved_at = state_dict["value"], state_dict["moved_at"]
