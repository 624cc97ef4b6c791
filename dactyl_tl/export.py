"""A run's policy as a bundle to hand on: ``python -m dactyl_tl.export RUN DIRECTORY``.

Half precision, the value network for whoever trains it further, and a record of how it was trained:
command, machine, frames, wall-clock time, and the curve. ``evaluate.py``, ``train.py`` and ``load_policy``
take the directory.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from itertools import chain
from pathlib import Path

from dactyl_tl.checkpoint import (
    actor_from_checkpoint,
    critic_from_checkpoint,
    read_run_config,
    save_bundle,
)
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.machine import installed_version, machine
from dactyl_tl.policies import CURVE
from dactyl_tl.restoring import resolve_checkpoint
from dactyl_tl.stages import run_of, stage_of, stage_of_run, write_curve


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
        commands: one for each training of all stages, where their records name what only this machine has.
        after: what it went on from, the first one first: runs, exported bundles or names of shipped policies.

    Raises:
        ConfigurationError: there is no such run or checkpoint, or not one command for each training.
    """
    path = resolve_checkpoint(checkpoint or run, "run")
    stages = [*(stage_of(each, "after") for each in after), stage_of_run(path)]
    recorded = list(chain.from_iterable(stage.commands for stage in stages))
    if commands and len(commands) != len(recorded):
        raise ConfigurationError(
            f"commands are {len(commands)}, trainings {len(recorded)}; give one for each"
        )
    config = read_run_config(run_of(path))
    config["policy"] = stages[0].source
    training = {
        "from": stages[0].source,
        "commands": list(commands) or recorded,
        "seed": config["seed"],
        "frames": sum(stage.frames for stage in stages),
        "minutes": round(sum(stage.minutes for stage in stages), 1),
        "machine": machine(),
        "date": date.today().isoformat(),
        "versions": {name: installed_version(name) for name in ("torch", "torchrl", "mujoco")},
    }
    actor, critic = actor_from_checkpoint(path), critic_from_checkpoint(path)
    save_bundle(directory, actor, config, critic=critic, training=training, half=True)
    write_curve(directory / CURVE, stages)
    return directory


def main(arguments: Sequence[str] | None = None) -> None:
    """Export one run."""
    parser = argparse.ArgumentParser(prog="python -m dactyl_tl.export", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of a training run")
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="of the bundle")
    parser.add_argument("--checkpoint", type=Path, help="one of the run's; default: its last")
    parser.add_argument(
        "--after",
        type=Path,
        nargs="*",
        default=[],
        metavar="PATH",
        help="what it went on from: runs or bundles",
    )
    parser.add_argument(
        "--commands", nargs="*", default=[], help="one for each training; default: what they recorded"
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
