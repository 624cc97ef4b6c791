"""The machine at hand, and the versions of what is installed on it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch


def installed_version(distribution: str) -> str | None:
    """Version of a distribution; None where it is not installed, as a checkout that is only on the path."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Name of the processor as the kernel reports it, or the architecture where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine() -> str:
    """Cores, processor, memory and GPU, in words for a record."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores of {processor()}, {memory_gib():.0f} GiB, {gpu}"


def memory_gib() -> float:
    """Physical memory of the machine, GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
