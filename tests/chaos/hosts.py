"""Hosts with addresses of their own: network namespaces of this machine, joined by a wire that can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

LEFT, RIGHT = "10.213.77.1", "10.213.77.2"


class Wire:
    """Two hosts and what is between them.

    Attributes:
        left: words before a command that is to run on the first host, at :data:`LEFT`.
        right: the same for the second, at :data:`RIGHT`.
    """

    def __init__(self) -> None:
        number = os.getpid()
        self._names = (f"dactyl-{number}-l", f"dactyl-{number}-r")
        self._ends = (f"dl{number}", f"dr{number}")
        self.left, self.right = ([*_IP, "netns", "exec", name] for name in self._names)
        try:
            for name in self._names:
                _ip("netns", "add", name)
            _ip("link", "add", self._ends[0], "type", "veth", "peer", "name", self._ends[1])
            for name, end, address in zip(self._names, self._ends, (LEFT, RIGHT), strict=True):
                _ip("link", "set", end, "netns", name)
                _ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", end, "up")
        except subprocess.CalledProcessError:
            self.close()
            raise

    def cut(self) -> None:
        """Nothing passes any more, and nobody is told."""
        _ip("-n", self._names[1], "link", "set", self._ends[1], "down")

    def mend(self) -> None:
        _ip("-n", self._names[1], "link", "set", self._ends[1], "up")

    def close(self) -> None:
        for name in self._names:
            subprocess.run([*_IP, "netns", "delete", name], capture_output=True, check=False)


@contextmanager
def wire() -> Iterator[Wire | None]:
    """Two hosts, or None where this machine does not let us have them."""
    try:
        made = Wire() if shutil.which("ip") else None
    except subprocess.CalledProcessError:
        made = None
    try:
        yield made
    finally:
        if made is not None:
            made.close()


_IP = ["ip"]


def _ip(*words: str) -> None:
    subprocess.run([*_IP, *words], check=True, capture_output=True)
