"""Where trained policies are: those that come with the package, and those of training runs.

The shipped ones are bundles in this folder, each under its name. What each can do and how it was trained:
``docs/policies.md``, and ``"training"`` in the bundle itself.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent

DESCRIPTION = "bundle.json"
"""Of every bundle."""

CURVE, METRICS = "curve.csv", "metrics.csv"
"""How training went: beside an exported bundle, over frames and minutes, and in a run's directory."""

CHECKPOINTS, LAST, BEST, BUNDLES = "checkpoints", "last.ckpt", "best.ckpt", "bundles"
"""Names in a run's directory."""

RUN_CONFIG = "config.yaml"
"""In a run's directory: its configuration, resolved."""

CHECKPOINT_SUFFIX = ".ckpt"

IN_A_RUN = ("bundles/best", "bundles/last", "checkpoints/best.ckpt", "checkpoints/last.ckpt")
"""Where a training run's directory may hold its policy; the first that exists is taken."""


def shipped_policies() -> list[str]:
    """Names that :func:`dactyl_tl.load_policy`, ``evaluate.py policy=`` and ``train.py policy=`` take."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{DESCRIPTION}"))


def choices() -> str:
    """What names a policy, in words."""
    shipped = ", ".join(shipped_policies())
    return (
        f"{shipped}, a bundle's directory, a checkpoint ({CHECKPOINT_SUFFIX}), or a training run's directory"
    )


def locate(path: str | os.PathLike[str], within_run: tuple[str, ...] = IN_A_RUN) -> Path:
    """The bundle's directory or the checkpoint that ``path`` means.

    Args:
        path: name of a shipped policy, a bundle (or its description), a checkpoint, or a run's directory.
            A name wins over a folder of that name in the working directory; ``./block`` is the folder.
        within_run: places in a run's directory; the first that exists is taken.

    Raises:
        FileNotFoundError: nothing is there, or no policy; the message names the choices.
    """
    if os.fspath(path) in shipped_policies():
        return FOLDER / path
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; choose {choices()}")
    if path.is_file() and path.name == DESCRIPTION:
        return path.parent
    if path.is_file() or (path / DESCRIPTION).is_file():
        return path
    for place in within_run:
        inside = path / place
        if inside.is_file() or (inside / DESCRIPTION).is_file():
            return inside
    raise FileNotFoundError(
        f"{path} holds no policy: neither {DESCRIPTION} nor {', '.join(within_run)}; choose {choices()}"
    )
