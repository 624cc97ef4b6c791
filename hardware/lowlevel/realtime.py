"""Soft real time: absolute deadlines, a scheduler's and memory's privileges, and how late ticks are.

Measured lateness is all that is claimed; nothing is guaranteed. Linux only.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import sys
import time
from contextlib import contextmanager, suppress
from typing import Iterator

from hardware.lowlevel.wire import BUCKETS

PRIORITY = 50
"""Of SCHED_FIFO: above everything that is not real time, below the kernel's own threads."""

SCHEDULED, LOCKED = 1, 2
"""What was permitted, see :func:`privileges`."""

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_LOCK_ALL = 3  # MCL_CURRENT | MCL_FUTURE
_MAY_LOCK = 1 << 14  # CAP_IPC_LOCK
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_SECOND = 1000000000

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Interval(ctypes.Structure):
    _fields_ = [("period", _Timespec), ("first", _Timespec)]


def schedule(priority: int = PRIORITY, inherited: bool = True) -> bool:
    """Ask for SCHED_FIFO for the calling thread; whether it was permitted.

    Args:
        priority: 1 to 99.
        inherited: whether threads and processes that it starts have it, too.
    """
    policy = os.SCHED_FIFO if inherited else os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except OSError:
        return False
    return True


@contextmanager
def unscheduled() -> Iterator[None]:
    """Give the calling thread's priority back for what takes long, and ask for it again afterwards."""
    policy, before = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, policy, before)


def settle() -> None:
    """Collect garbage now, and leave what is in memory alone from now on.

    Python's garbage collector looks through everything now and then, which takes a tenth of a second where
    PyTorch is loaded; afterwards it looks through what is new.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def end_with_parent(parent: int) -> None:
    """Have this process asked to end (SIGTERM) when the thread that started it ends.

    Args:
        parent: that thread's process, which may have ended already.
    """
    _checked(_libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0))
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def privileges() -> int:
    """Ask for SCHED_FIFO and for memory that stays in place; the sum of what was permitted."""
    granted = SCHEDULED if schedule() else 0
    if _may_lock_everything() and _libc.mlockall(_LOCK_ALL) == 0:
        granted |= LOCKED
    return granted


def _may_lock_everything() -> bool:
    """Whether there is no limit; below one, memory asked for later is refused, in the middle of a tick."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    with suppress(OSError), open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"CapEff:"):
                return bool(int(line.split()[1], 16) & _MAY_LOCK)
    return False


class Ticker:
    """Deadlines ``period_ns`` apart, on the monotonic clock; its file descriptor is readable when one is due.

    A descriptor can be waited for together with sockets, to the microsecond; a poll's own time-out counts
    milliseconds. Deadlines are absolute: a late tick does not shift those after it.

    Raises:
        ValueError: the period is not positive.
        OSError: the system gives no timer.
    """

    def __init__(self, period_ns: int) -> None:
        if period_ns <= 0:
            raise ValueError(f"a period of {period_ns} ns; it must be positive")
        self._period = period_ns
        self._due = time.monotonic_ns()
        self._descriptor = _checked(_libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        first = _Timespec(*divmod(self._due + period_ns, _SECOND))
        interval = _Interval(_Timespec(*divmod(period_ns, _SECOND)), first)
        try:
            _checked(_libc.timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(interval), None))
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def take(self) -> tuple[int, int]:
        """How many deadlines have passed since the last call, and how long ago the first of them was, ns."""
        try:
            passed = int.from_bytes(os.read(self._descriptor, 8), sys.byteorder)
        except BlockingIOError:
            return 0, 0
        late = time.monotonic_ns() - (self._due + self._period)
        self._due += passed * self._period
        return passed, late

    def close(self) -> None:
        """Give the timer back."""
        os.close(self._descriptor)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Lateness:
    """How much later than due ticks began.

    Attributes:
        ticks: counted, those that were skipped among them.
        missed: of those, begun later than one period after they were due, or skipped.
        counts: see :data:`hardware.lowlevel.wire.BUCKETS`.
    """

    def __init__(self, period_ns: int) -> None:
        self._period = period_ns
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.ticks = self.missed = 0
        self.counts = [0] * BUCKETS

    def add(self, passed: int, late_ns: int) -> None:
        """Count what :meth:`Ticker.take` tells: of several deadlines, each is as late as it is.

        Takes as long after an hour's standstill as after one tick.
        """
        self.ticks += passed
        self.missed += max(self._later(passed, late_ns, self._period), passed - 1, 0)
        above = passed
        for bucket in range(BUCKETS):
            last = bucket == BUCKETS - 1
            beyond = 0 if last else self._later(passed, late_ns, 1000 << bucket)
            self.counts[bucket] += above - beyond
            above = beyond

    def _later(self, passed: int, late_ns: int, than_ns: int) -> int:
        """How many of the deadlines were more than ``than_ns`` ago."""
        return min(max(-(-(late_ns - than_ns) // self._period), 0), passed)
