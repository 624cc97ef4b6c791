"""A run's estimator as a bundle to hand on: ``python -m dactyl_tl.vision.export RUN DIRECTORY``.

With a record of how it was trained: commands, machine, sets of pictures, minutes, and the curve.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from dactyl_tl.checkpoint import read_command, read_run_config
from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators.bundles import load_estimator, save_estimator
from dactyl_tl.machine import installed_version, machine
from dactyl_tl.metrics import FRAMES, read_metrics
from dactyl_tl.policies import BUNDLES, CURVE, METRICS, RUN_CONFIG
from dactyl_tl.vision.calibration import camera_calibration

COLUMNS = (
    "filament/rotation",
    "filament/rotation_median",
    "filament/position",
    "classic/rotation",
    "classic/rotation_median",
    "classic/position",
    "loss",
)
MINUTES = "minutes"


def export_estimator(run: Path, directory: Path, commands: Sequence[str] = ()) -> Path:
    """Write the last estimator of ``run`` as a bundle with its record and curve.

    Not the best one: which is best is told by the very pictures that it is then measured on.

    Args:
        run: directory of a training run.
        directory: of the bundle.
        commands: with which it was trained, where the recorded one names what only this machine has.

    Raises:
        ConfigurationError: there is no such run, or it kept no metrics.
    """
    rows = read_metrics(run / METRICS)
    if not (run / RUN_CONFIG).is_file() or not rows:
        raise ConfigurationError(f"{run} is no training run with a {RUN_CONFIG} and a {METRICS}")
    estimator = load_estimator(run / BUNDLES / "last")
    config = read_run_config(run)
    if config["pictures"]["cache"] is not None:
        config["pictures"]["cache"] = "runs/pictures"
    minutes = _minutes(rows)
    training = {
        "commands": list(commands) or [read_command(run)],
        "seed": config["seed"],
        "sets": int(rows[-1][FRAMES]),
        "minutes": round(minutes[-1], 1),
        "machine": machine(),
        "date": date.today().isoformat(),
        "versions": {name: installed_version(name) for name in ("torch", "kornia", "mujoco")},
    }
    save_estimator(
        directory,
        estimator.network,
        task=config["environment"]["task"],
        cameras=camera_calibration(),
        config=config,
        training=training,
    )
    with (directory / CURVE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([FRAMES, MINUTES, *COLUMNS])
        for row, until in zip(rows, minutes, strict=True):
            values = (row.get(name, math.nan) for name in COLUMNS)
            writer.writerow([int(row[FRAMES]), f"{until:.2f}", *(f"{value:.5g}" for value in values)])
    return directory


def _minutes(rows: list[dict[str, float]]) -> list[float]:
    """Time of learning until each row; that of drawing for a cache and of validation is not in it."""
    until, total, before = [], 0.0, 0.0
    for row in rows:
        sets = row[FRAMES] - before
        total += len(CAMERAS) * sets / row["throughput/pictures_per_second"] / 60
        before = row[FRAMES]
        until.append(total)
    return until


def main(arguments: Sequence[str] | None = None) -> None:
    """Export one run."""
    parser = argparse.ArgumentParser(prog="python -m dactyl_tl.vision.export", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of a training run")
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="of the bundle")
    parser.add_argument("--commands", nargs="*", default=[], help="default: what the run recorded")
    options = parser.parse_args(arguments)
    try:
        export_estimator(options.run, options.directory, options.commands)
    except (ConfigurationError, FileNotFoundError) as error:
        parser.error(str(error))
    size = sum(path.stat().st_size for path in options.directory.iterdir())
    print(f"wrote {options.directory}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
