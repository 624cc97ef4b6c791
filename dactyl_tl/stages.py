"""What a policy has been through: the stages of its training, read from runs or from exported bundles."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from dactyl_tl.checkpoint import BundleError, read_command, read_description, read_run_config
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.metrics import FRAMES, read_metrics
from dactyl_tl.policies import CURVE, DESCRIPTION, METRICS, locate, shipped_policies
from dactyl_tl.restoring import frames_of, resolve_checkpoint

CURVE_POINTS = 200
CURVE_COLUMNS = (
    "episode/successes",
    "rollout/successes_per_second",
    "episode/drop_rate",
    "curriculum/goal_angle",
    "curriculum/randomization_scale",
    "policy/entropy",
)
MINUTES = "minutes"
SPEED = "throughput/frames_per_second"

Rows = list[dict[str, float]]


@dataclass(frozen=True)
class Stage:
    """One training; or all those that an exported bundle has behind it.

    Attributes:
        source: shipped policy that its first weights came from; None where they were new or of no name.
        commands: of each training.
        rows: the curve, with :data:`FRAMES` and :data:`MINUTES` since the stage began; not empty.
    """

    source: str | None
    commands: tuple[str, ...]
    rows: Rows

    @property
    def frames(self) -> int:
        """Environment frames."""
        return int(self.rows[-1][FRAMES])

    @property
    def minutes(self) -> float:
        """Wall-clock time."""
        return self.rows[-1][MINUTES]


def stage_of(path: Path, name: str) -> Stage:
    """The stage that a run, one of its checkpoints or an exported bundle stands for.

    Args:
        path: of a run's directory, of a ``.ckpt`` in it, or of a bundle; or the name of a shipped policy.
        name: of the setting, for errors.

    Raises:
        ConfigurationError: it is none of them, or keeps no record.
    """
    if str(path) in shipped_policies() or (path / DESCRIPTION).is_file():
        return _of_bundle(locate(path), name)
    return stage_of_run(resolve_checkpoint(path, name))


def stage_of_run(checkpoint: Path) -> Stage:
    """The training of a run until ``checkpoint``.

    Raises:
        ConfigurationError: the run kept no metrics.
    """
    run, frames = run_of(checkpoint), frames_of(checkpoint)
    rows = [row for row in read_metrics(run / METRICS) if row[FRAMES] <= frames]
    if not rows:
        raise ConfigurationError(f"{run} has no metrics.csv of its training; log with logger=csv")
    timed = [{**row, MINUTES: until} for row, until in zip(rows, accumulate(_minutes(rows)), strict=True)]
    asked = read_run_config(run)["policy"]
    return Stage(asked if asked in shipped_policies() else None, (read_command(run),), timed)


def run_of(checkpoint: Path) -> Path:
    """Directory of the run that wrote ``checkpoint``."""
    return checkpoint.parent.parent


def write_curve(path: Path, stages: Sequence[Stage]) -> None:
    """Means of at most :data:`CURVE_POINTS` equal stretches, frames and minutes at their ends."""
    rows: Rows = []
    for stage in stages:
        frames, minutes = (rows[-1][FRAMES], rows[-1][MINUTES]) if rows else (0.0, 0.0)
        rows += [{**row, FRAMES: frames + row[FRAMES], MINUTES: minutes + row[MINUTES]} for row in stage.rows]
    columns = [name for name in CURVE_COLUMNS if any(name in row for row in rows)]
    stretches: dict[int, Rows] = {}
    for row in rows:
        stretch = -int(-row[FRAMES] * CURVE_POINTS // rows[-1][FRAMES])
        stretches.setdefault(stretch, []).append(row)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([FRAMES, MINUTES, *columns])
        for part in stretches.values():
            means = [_mean(part, name) for name in columns]
            writer.writerow([int(part[-1][FRAMES]), f"{part[-1][MINUTES]:.2f}", *means])


def _of_bundle(bundle: Path, name: str) -> Stage:
    try:
        training = read_description(bundle).get("training")
    except (BundleError, OSError) as error:
        raise ConfigurationError(f"{name}: {error}") from error
    rows = read_metrics(bundle / CURVE)
    if training is None or not rows:
        raise ConfigurationError(f"{name}={bundle} keeps no record of its training; give the run instead")
    return Stage(training["from"], tuple(training["commands"]), rows)


def _minutes(rows: Rows) -> list[float]:
    """Wall-clock time of each rollout and its update, sessions of a resumed run alike."""
    frames = [0.0, *(row[FRAMES] for row in rows)]
    return [
        (after - before) / row[SPEED] / 60 if row.get(SPEED, 0) > 0 else 0.0
        for before, after, row in zip(frames, frames[1:], rows, strict=False)
    ]


def _mean(rows: Rows, name: str) -> str:
    known = [row[name] for row in rows if not math.isnan(row.get(name, math.nan))]
    return f"{sum(known) / len(known):.5g}" if known else ""
