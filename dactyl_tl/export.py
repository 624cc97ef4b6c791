"""A run's policy as a bundle to hand on: ``python -m dactyl_tl.export RUN DIRECTORY``.

Half precision, the value network for whoever trains it further, and a record of how it was trained:
command, machine, frames, wall-clock time, and the curve. ``evaluate.py``, ``train.py`` and ``load_policy``
take the directory.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from dactyl_tl.checkpoint import actor_from_checkpoint, critic_from_checkpoint, save_bundle
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.machine import installed_version, memory_gib, processor
from dactyl_tl.metrics import FRAMES, read_metrics
from dactyl_tl.policies import CURVE, shipped_policies
from dactyl_tl.restoring import frames_of, resolve_checkpoint

CURVE_ROWS = 200
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


def export(
    run: Path,
    directory: Path,
    *,
    checkpoint: Path | None = None,
    commands: Sequence[str] = (),
    after: Sequence[Path] = (),
) -> Path:
    """Write the policy of ``run`` as a bundle with its value network and its record.

    Frames, minutes and curve are those of all stages together.

    Args:
        run: directory of a training run.
        directory: of the bundle.
        checkpoint: of that run; by default its last.
        commands: of each stage, where the runs' own records name what only this machine has.
        after: runs that it went on from, each from the last checkpoint of the one before.

    Raises:
        ConfigurationError: there is no such run or checkpoint, or not one command for each stage.
    """
    path = resolve_checkpoint(checkpoint or run, "run")
    runs = [*after, run]
    if commands and len(commands) != len(runs):
        raise ConfigurationError(f"commands are {len(commands)}, stages {len(runs)}; give one for each stage")
    checkpoints = [*(resolve_checkpoint(each, "after") for each in after), path]
    frames = [frames_of(each) for each in checkpoints]
    stages = [_rows(*each) for each in zip(runs, frames, strict=True)]
    config = _config(run)
    # A path means nothing elsewhere.
    first = _config(runs[0])["policy"]
    config["policy"] = first if first in shipped_policies() else None
    training = {
        "from": config["policy"],
        "commands": list(commands) or [_command(each) for each in runs],
        "seed": config["seed"],
        "frames": sum(frames),
        "minutes": round(sum(sum(_seconds(rows)) for rows in stages) / 60, 1),
        "machine": f"{os.cpu_count()} cores of {processor()}, {memory_gib():.0f} GiB, {_accelerator()}",
        "date": date.today().isoformat(),
        "versions": {name: installed_version(name) for name in ("torch", "torchrl", "mujoco")},
    }
    actor, critic = actor_from_checkpoint(path), critic_from_checkpoint(path)
    save_bundle(directory, actor, config, critic=critic, training=training, half=True)
    _write_curve(directory / CURVE, stages)
    return directory


def _config(run: Path) -> Any:
    return OmegaConf.to_container(OmegaConf.load(run / "config.yaml"), resolve=True)


def _rows(run: Path, frames: int) -> list[dict[str, float]]:
    """The metrics of ``run`` until ``frames``."""
    return [row for row in read_metrics(run / "metrics.csv") if row[FRAMES] <= frames]


def _command(run: Path) -> str:
    overrides = run / "hydra" / "overrides.yaml"
    words = list(OmegaConf.load(overrides)) if overrides.is_file() else []
    return " ".join(["python train.py", *map(str, words)])


def _seconds(rows: Sequence[Mapping[str, float]]) -> list[float]:
    """Wall-clock time of each rollout and its update, sessions of a resumed run alike."""
    frames = [0.0, *(row[FRAMES] for row in rows)]
    return [
        (after - before) / row[SPEED] if row.get(SPEED, 0) > 0 else 0.0
        for before, after, row in zip(frames, frames[1:], rows, strict=False)
    ]


def _accelerator() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def _write_curve(path: Path, stages: Sequence[Sequence[Mapping[str, float]]]) -> None:
    """Means over at most :data:`CURVE_ROWS` stretches of all stages, frames and minutes at their ends."""
    minutes = [seconds / 60 for seconds in accumulate(chain.from_iterable(map(_seconds, stages)))]
    behind = [0.0, *accumulate(rows[-1][FRAMES] for rows in stages)]
    rows = [
        {**row, FRAMES: before + row[FRAMES]}
        for before, stage in zip(behind, stages, strict=False)
        for row in stage
    ]
    columns = [name for name in CURVE_COLUMNS if any(name in row for row in rows)]
    width = max(1, math.ceil(len(rows) / CURVE_ROWS))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([FRAMES, MINUTES, *columns])
        for start in range(0, len(rows), width):
            part = rows[start : start + width]
            end = start + len(part) - 1
            means = [_mean(part, name) for name in columns]
            writer.writerow([int(rows[end][FRAMES]), f"{minutes[end]:.2f}", *means])


def _mean(rows: Sequence[Mapping[str, float]], name: str) -> str:
    known = [row[name] for row in rows if not math.isnan(row.get(name, math.nan))]
    return f"{sum(known) / len(known):.5g}" if known else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Export one run."""
    parser = argparse.ArgumentParser(prog="python -m dactyl_tl.export", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of a training run")
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="of the bundle")
    parser.add_argument("--checkpoint", type=Path, help="one of the run's; default: its last")
    parser.add_argument(
        "--after", type=Path, nargs="*", default=[], metavar="RUN", help="runs it went on from"
    )
    parser.add_argument(
        "--commands", nargs="*", default=[], help="one for each run; default: what they recorded"
    )
    options = parser.parse_args(arguments)
    try:
        export(
            options.run,
            options.directory,
            checkpoint=options.checkpoint,
            commands=options.commands,
            after=options.after,
        )
    except ConfigurationError as error:
        parser.error(str(error))
    size = sum(path.stat().st_size for path in options.directory.iterdir())
    print(f"wrote {options.directory}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
