"""``python -m hardware pack``: the one file that runs beside the hand, in the vendor's container."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import hardware.lowlevel
from dactyl_tl.errors import ConfigurationError

MAIN = "import sys\n\nfrom hardware.lowlevel.command import main\n\nsys.exit(main())\n"

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archive, so that the same sources give the same bytes."""


def pack(path: Path) -> Path:
    """Write the low-level controller as a zipped application: ``python3 controller.pyz --backend ros``.

    It needs Python 3.8 or later and pyzmq, and ROS or roslibpy for those backends.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    folder = Path(hardware.lowlevel.__file__).parent
    members = {"__main__.py": MAIN, "hardware/__init__.py": ""}
    for source in sorted(folder.glob("*.py")):
        members[f"hardware/lowlevel/{source.name}"] = source.read_text(encoding="utf-8")
    try:
        with path.open("wb") as file:
            file.write(b"#!/usr/bin/env python3\n")
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in members.items():
                    archive.writestr(zipfile.ZipInfo(name, EPOCH), text, zipfile.ZIP_DEFLATED)
        path.chmod(0o755)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
    return path


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("path", nargs="?", default="controller.pyz", help="file to write (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Write the file and say how to start it."""
    path = pack(Path(arguments.path))
    print(f"wrote {path} ({path.stat().st_size / 1024:.0f} KiB). Beside the hand, with pyzmq installed:")
    print(f"  python3 {path.name} --backend ros --keys controller.key_secret --allowed allowed/ \\")
    print("    --requests tcp://ADDRESS:5751 --conditions tcp://ADDRESS:5752")
    return 0
