"""Versions of what is installed."""

from __future__ import annotations

from importlib import metadata


def installed_version(distribution: str) -> str | None:
    """Version of a distribution; None where it is not installed, as a checkout that is only on the path."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
