"""Where trained pose estimators are: those that come with the package, each a bundle in this folder."""

from __future__ import annotations

import os
from pathlib import Path

from dactyl_tl.policies import BUNDLES, CURVE, DESCRIPTION, METRICS

FOLDER = Path(__file__).parent


def shipped_estimators() -> list[str]:
    """Names that ``evaluate.py pose=`` and :func:`dactyl_tl.load_estimator` take."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{DESCRIPTION}"))


def locate_estimator(path: str | os.PathLike[str]) -> Path:
    """The bundle's directory that ``path`` means.

    Args:
        path: name of a shipped estimator, a bundle, or a training run's directory.

    Raises:
        FileNotFoundError: nothing is there, or no estimator; the message names the choices.
    """
    if os.fspath(path) in shipped_estimators():
        return FOLDER / path
    places = [Path(path), *(Path(path) / BUNDLES / name for name in ("best", "last"))]
    for place in places:
        if (place / DESCRIPTION).is_file():
            return place
    choices = ", ".join([*shipped_estimators(), "a bundle's directory", "a training run's directory"])
    raise FileNotFoundError(f"{path} holds no pose estimator; choose {choices}")


def curve_of(path: str | os.PathLike[str]) -> Path | None:
    """The metrics file of how the estimator that ``path`` means was trained, where there is one."""
    bundle = locate_estimator(path)
    places = [bundle / CURVE, bundle.parent.parent / METRICS]
    return next((place for place in places if place.is_file()), None)
