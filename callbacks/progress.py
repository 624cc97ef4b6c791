"""What a person sees while training runs."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

Lines = dict[str, dict[str, tuple[str, str]]]
"""Lines of the display: metric, its name there and its format."""

POLICY_LINES: Lines = {
    "behaviour": {
        "episode/successes": ("goals/episode", ".2f"),
        "episode/drop_rate": ("drops/episode", ".2f"),
        "episode/seconds": ("episode s", ".1f"),
        "rollout/goal_distance": ("goal distance", ".2f"),
    },
    "reward": {
        "reward/total": ("a step", ".3f"),
        "reward/rotation": ("rotation", ".3f"),
        "reward/success": ("success", ".3f"),
        "reward/drop": ("drop", ".3f"),
        "reward/dense": ("dense", ".3f"),
    },
    "learning": {
        "policy/entropy": ("entropy", ".2f"),
        "policy/kl": ("KL", ".4f"),
        "policy/clip_fraction": ("clipped", ".2f"),
        "value/explained_variance": ("explained variance", ".2f"),
        "learning_rate": ("rate", ".1e"),
    },
}

POSE_LINES: Lines = {
    "other renderer": {
        "classic/rotation": ("degrees", ".1f"),
        "classic/rotation_median": ("median", ".1f"),
        "classic/position": ("mm", ".1f"),
        "classic/position_median": ("median", ".1f"),
    },
    "this renderer": {
        "filament/rotation": ("degrees", ".1f"),
        "filament/rotation_median": ("median", ".1f"),
        "filament/position": ("mm", ".1f"),
        "filament/position_median": ("median", ".1f"),
    },
    "learning": {
        "loss": ("loss", ".4f"),
        "learning_rate": ("rate", ".1e"),
        "throughput/waiting": ("waiting", ".2f"),
    },
}

KINDS: dict[str, tuple[Lines, tuple[str, ...], str, str]] = {
    "policy": (POLICY_LINES, ("behaviour", "learning"), "frames", "throughput/frames_per_second"),
    "pose": (
        POSE_LINES, ("other renderer", "learning"), "sets of pictures", "throughput/pictures_per_second",
    ),
}  # fmt: skip
"""What is trained: lines of the display, those that a line of text has, what ``frames`` are, speed."""


class ProgressDisplay(Callback):
    """A bar with frames and speed, and the metrics of the latest rollout beneath it.

    Where the output is no terminal, a line now and then instead.

    Args:
        seconds: between two lines where the output is no terminal.
        lines: a key of :data:`KINDS`.

    Raises:
        ValueError: unknown ``lines``.
    """

    def __init__(self, seconds: float = 30.0, lines: str = "policy") -> None:
        if lines not in KINDS:
            raise ValueError(f"progress.lines is {lines!r}; choose from {', '.join(KINDS)}")
        self._lines, self._in_text, self._counted, self._speed = KINDS[lines]
        self._unit = self._counted.rsplit(" ", 1)[-1]
        self._seconds = seconds
        self._console = Console(highlight=False)
        self._live: Live | None = None
        self._metrics: dict[str, float] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[share]}"),
            TextColumn("{task.fields[clock]}"),
            TextColumn("[bold]{task.fields[frames]}[/] " + self._counted),
            TextColumn("{task.fields[speed]} " + f"{self._unit}/s"),
            console=self._console,
        )
        self._task = self._bar.add_task("training", total=1.0, share="", clock="", frames="0", speed="-")
        self._began = self._last = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the display."""
        self._began = time.monotonic()
        self._last = 0.0
        if trainer.is_global_zero and self._console.is_terminal:
            # Drawn anew at every refresh, so that the clock runs while a rollout takes its time.
            self._live = Live(
                get_renderable=lambda: self._view(_progress(trainer)),
                console=self._console,
                refresh_per_second=2,
            )
            self._live.start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the rollout's metrics."""
        if not trainer.is_global_zero:
            return
        self._metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
        if self._live is None and (time.monotonic() - self._last >= self._seconds or trainer.should_stop):
            self._last = time.monotonic()
            self._console.print(self._line(self._metrics), soft_wrap=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the display; its last state stays on the screen."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the display."""
        self._close()

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _view(self, progress: float | None) -> Table:
        metrics = self._metrics
        self._bar.update(
            self._task,
            completed=min(progress or 0.0, 1.0),
            share="" if progress is None else f"{min(progress, 1.0):.0%}",
            clock=_clock(time.monotonic() - self._began),
            frames=f"{int(metrics.get('frames', 0)):,}",
            speed=f"{metrics.get(self._speed, 0.0):,.0f}",
        )
        grid = Table.grid(padding=(0, 2))
        grid.add_row(self._bar)
        body = Table.grid(padding=(0, 2))
        for name, fields in self._lines.items():
            body.add_row(
                f"[dim]{name}[/]",
                *(f"{label} [bold]{_value(metrics, key, form)}[/]" for key, (label, form) in fields.items()),
            )
        grid.add_row(body)
        return grid

    def _line(self, metrics: dict[str, float]) -> str:
        parts = [
            _clock(time.monotonic() - self._began),
            f"{int(metrics.get('frames', 0)):>10,} {self._counted}",
            f"{metrics.get(self._speed, 0.0):>6,.0f} {self._unit}/s",
        ]
        for fields in (self._lines[name] for name in self._in_text):
            parts += [f"{label} {_value(metrics, key, form)}" for key, (label, form) in fields.items()]
        return "  ".join(parts)


def _value(metrics: dict[str, float], key: str, form: str) -> str:
    return format(metrics[key], form) if key in metrics else "-"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _progress(trainer: Any) -> float | None:
    for callback in trainer.callbacks:
        if hasattr(callback, "progress"):
            return callback.progress
    return None
