"""Where the Hydra groups are."""

from __future__ import annotations

from pathlib import Path


def config_directory() -> Path:
    """``conf/`` of a checkout or an editable install, ``dactyl_tl/conf`` of a wheel."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
