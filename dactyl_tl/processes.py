"""What the system knows of a process: whether it runs, how it ended, that it shall not outlive another."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dactyl_tl.errors import ENDING_SIGNALS

PARENT_DEATH_SIGNAL = 1
"""``PR_SET_PDEATHSIG`` of Linux's ``prctl``."""

STOPPED, ENDED = "Tt", "ZX"
"""States of a process in ``/proc``: stopped, as by SIGSTOP or a debugger; ended, as a zombie."""


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Let the system kill this process as soon as its parent has ended, even where this one is stopped.

    Linux only; elsewhere nothing happens.

    Args:
        parent: process id of the parent, which may have ended already.
        number: what to send instead of SIGKILL.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PARENT_DEATH_SIGNAL, number)
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def shielded_children() -> Iterator[None]:
    """Processes started here never see Ctrl-C or SIGTERM, which a terminal or a batch system sends
    to all of them at once: the trainer decides when they end, and they end when it does.
    """
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def ended(pid: int) -> bool:
    """Whether there is no such process any more, or only its exit code; False where nobody can tell."""
    fields = _fields(pid)
    return Path("/proc/self").exists() and (fields is None or fields[0] in ENDED)


def stopped(pid: int) -> bool:
    """Whether the process exists and is stopped."""
    fields = _fields(pid)
    return fields is not None and fields[0] in STOPPED


def computed(pid: int) -> int | None:
    """Time on a processor that all threads of a process had so far, in units that only grow.

    None where nobody can tell.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
        return sum(int(each.read_text().split()[0]) for each in tasks) if tasks else _ticks(pid)
    except (OSError, ValueError):
        return _ticks(pid)


def ending(code: int) -> str:
    """Words for an exit code."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", often the system's answer to a lack of memory" if name == "SIGKILL" else ""
        return f"signal {name}{hint}"
    return f"exit code {code}"


def _ticks(pid: int) -> int | None:
    fields = _fields(pid)
    return None if fields is None else int(fields[11]) + int(fields[12])


def _fields(pid: int) -> list[str] | None:
    """Fields of ``/proc/<pid>/stat`` from the state on; None without such a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
