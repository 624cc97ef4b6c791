"""A contender in a process of its own, so that its CPU time and its memory can be told from the others'.

Standard library only: peers run this under an interpreter that holds none of the project.

The measured process serves a line of text at a time: ``SECONDS`` in, one marked JSON object out. The
measuring process (:class:`Contender`) asks for one sample at a time, so contenders never run at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

MARK = "measured: "
"""Starts an answer, and tells it from what libraries print."""


@dataclass(frozen=True)
class Count:
    """What a contender did since it was made.

    Attributes:
        delivered: physics steps that led to an observation handed to the caller.
        executed: all physics steps, those of resets included.
        held: of the simulations looked at, the share whose object was in the hand.
    """

    delivered: int
    executed: int
    held: float


def descendants(pid: int) -> list[int]:
    """The process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            stat = _read(entry / "stat")
            if stat:
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    tree = [pid]
    for process in tree:
        tree.extend(children.get(process, []))
    return tree


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process tree, its threads and its reaped children included."""
    ticks = 0
    for process in descendants(pid):
        fields = _read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_memory_mib(pid: int) -> float:
    """Highest resident memory of each process of the tree, summed, MiB.

    Pages that processes share (libraries, shared tensors) count once for each of them.
    """
    total = 0
    for process in descendants(pid):
        for line in _read(Path(f"/proc/{process}/status")).splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1])
    return total / 1024


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""  # ended between the listing and the reading


def serve(advance: Callable[[], Count], facts: Mapping[str, Any]) -> None:
    """Answer the measuring process until it closes the pipe.

    Args:
        advance: takes one step of every simulation and returns the totals so far.
        facts: sent once, before anything is measured (versions, sizes, time-steps).
    """
    advance()
    print(f"\n{MARK}{json.dumps(dict(facts))}", flush=True)
    for request in sys.stdin:
        seconds = float(request)
        before, cpu, start = advance(), cpu_seconds(os.getpid()), time.perf_counter()
        while time.perf_counter() - start < seconds:
            after = advance()
        sample = {
            "wall": time.perf_counter() - start,
            "cpu": cpu_seconds(os.getpid()) - cpu,
            "delivered": after.delivered - before.delivered,
            "executed": after.executed - before.executed,
            "held": after.held,
            "peak_memory_mib": peak_memory_mib(os.getpid()),
        }
        print(f"\n{MARK}{json.dumps(sample)}", flush=True)


class ContenderFailed(RuntimeError):
    """A contender's process ended before it answered; the message holds the end of its log."""


class Contender:
    """The measuring end of :func:`serve`: starts the process, asks for samples, ends it.

    Args:
        command: interpreter and arguments.
        folder: working directory.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        """Start the process and wait until it is ready to be measured."""
        self._log = TemporaryFile("w+")  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # One core a process: libraries' own thread pools would spoil CPU time and each other.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        self.facts: dict[str, Any] = self._answer()

    def sample(self, seconds: float) -> dict[str, Any]:
        """Let the contender run for some seconds and return what it measured."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer below says why it ended
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process by closing its input; kill it if it has not ended 20 s later."""
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        self._process.wait()
        self._log.seek(0)
        tail = "".join(self._log.readlines()[-12:]).strip()
        raise ContenderFailed(f"ended with exit code {self._process.returncode}: {tail}")
