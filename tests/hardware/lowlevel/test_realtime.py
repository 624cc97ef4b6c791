"""Deadlines against the clock, lateness by hand, and privileges as root and as nobody.

Nothing here asks the machine to be fast: a late machine skips deadlines, and those must be counted.
"""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.lowlevel.realtime import LOCKED, SCHEDULED, Lateness, Ticker
from hardware.lowlevel.wire import BUCKETS

ROOT = Path(__file__).parents[3]
MS = 1_000_000
PATIENCE = 20.0


@pytest.fixture
def ticker():
    ticker = Ticker(5 * MS)
    yield ticker
    ticker.close()


def wait(ticker: Ticker) -> None:
    assert select.select([ticker], [], [], PATIENCE)[0], "no deadline came"


# Deadlines


def test_a_tick_never_comes_before_its_deadline():
    began = time.monotonic_ns()
    ticker = Ticker(5 * MS)
    count = 0
    while count < 100:
        wait(ticker)
        passed, late = ticker.take()
        count += passed
        assert late >= 0
        assert time.monotonic_ns() - began >= count * 5 * MS
    ticker.close()


def test_deadlines_do_not_drift():
    """However late each tick is, as many deadlines pass as there are periods."""
    before = time.monotonic_ns()
    ticker = Ticker(2 * MS)
    created = time.monotonic_ns()
    count = 0
    for pause in (0.0, 0.003, 0.0, 0.011, 0.001) * 20:
        time.sleep(pause)
        wait(ticker)
        first = count
        asked = time.monotonic_ns()
        passed, late = ticker.take()
        answered = time.monotonic_ns()
        count += passed
        # The deadline was (first + 1) periods after some moment between before and created.
        assert asked - created <= late + (first + 1) * 2 * MS <= answered - before
        # Of all those that passed, the last is less than a period before the question, or came after it.
        assert (count + 1) * 2 * MS > asked - created
        assert count * 2 * MS <= answered - before
    ticker.close()


def test_deadlines_that_are_skipped_are_counted(ticker):
    wait(ticker)
    ticker.take()
    began = time.monotonic_ns()
    time.sleep(0.1)
    passed, late = ticker.take()
    slept = time.monotonic_ns() - began
    assert 19 <= passed <= slept // (5 * MS) + 1
    assert late >= (passed - 1) * 5 * MS


def test_between_deadlines_nothing_has_passed():
    ticker = Ticker(3600 * 1000 * MS)
    assert ticker.take() == (0, 0)
    assert not select.select([ticker], [], [], 0)[0]
    ticker.close()


def test_a_period_of_more_than_a_second_is_whole():
    began = time.monotonic_ns()
    ticker = Ticker(1200 * MS)
    wait(ticker)
    passed, _ = ticker.take()
    assert passed * 1200 * MS <= time.monotonic_ns() - began
    ticker.close()


@pytest.mark.parametrize("period", [0, -1])
def test_a_period_is_positive(period):
    with pytest.raises(ValueError, match="must be positive"):
        Ticker(period)


def test_a_ticker_gives_its_descriptor_back_and_leaves_none_to_children():
    ticker = Ticker(MS)
    assert not os.get_inheritable(ticker.fileno())
    number = ticker.fileno()
    ticker.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


# Lateness


def bucket(late_ns: int) -> int:
    lateness = Lateness(5 * MS)
    lateness.add(1, late_ns)
    assert sum(lateness.counts) == lateness.ticks == 1
    return lateness.counts.index(1)


@pytest.mark.parametrize(
    ("late_ns", "expected"),
    [
        (-5, 0), (0, 0), (1, 0), (1000, 0),
        (1001, 1), (2000, 1),
        (2001, 2), (4000, 2),
        (4001, 3), (8000, 3),
        (66_000, 7),  # over 64 us
        (1_000_000, 10), (1_024_000, 10), (1_024_001, 11),
        (2_097_152_000, 21), (2_097_152_001, 22),
        (4_194_304_000, 22), (4_194_304_001, 23), (10**15, 23),
    ],
)  # fmt: skip
def test_buckets_by_hand(late_ns, expected):
    assert bucket(late_ns) == expected


@pytest.mark.parametrize(("late_ns", "missed"), [(0, 0), (5 * MS, 0), (5 * MS + 1, 1), (9 * MS, 1)])
def test_a_tick_is_missed_when_it_begins_later_than_the_next(late_ns, missed):
    lateness = Lateness(5 * MS)
    lateness.add(1, late_ns)
    assert lateness.missed == missed


def test_skipped_deadlines_are_as_late_as_they_are():
    lateness = Lateness(5 * MS)
    lateness.add(4, 17 * MS)  # due 17, 12, 7 and 2 ms ago: over 16.384, 8.192, 4.096 and 1.024 ms
    assert (lateness.ticks, lateness.missed) == (4, 3)
    assert {bucket: count for bucket, count in enumerate(lateness.counts) if count} == {
        15: 1,
        14: 1,
        13: 1,
        11: 1,
    }


def test_nothing_passed_counts_as_nothing():
    lateness = Lateness(5 * MS)
    lateness.add(0, 0)
    assert (lateness.ticks, lateness.missed, sum(lateness.counts)) == (0, 0, 0)


def test_counts_add_up_and_are_cleared():
    lateness = Lateness(5 * MS)
    for late in (1000, 1000, 3000):
        lateness.add(1, late)
    assert lateness.counts[:3] == [2, 0, 1]
    lateness.clear()
    assert (lateness.ticks, lateness.missed, lateness.counts) == (0, 0, [0] * BUCKETS)


@given(st.integers(1, 200), st.integers(0, 10**9), st.integers(MS, 10 * MS))
def test_many_deadlines_count_as_one_by_one(passed, late, period):
    together, apart = Lateness(period), [0] * BUCKETS
    together.add(passed, late)
    for skipped in range(passed):
        apart[bucket(late - skipped * period)] += 1
    assert together.counts == apart
    assert together.ticks == passed
    over = sum(late - skipped * period > period for skipped in range(passed))
    assert together.missed == max(over, passed - 1)


def test_an_hour_s_standstill_is_counted_at_once():
    lateness = Lateness(5 * MS)
    began = time.process_time()
    for _ in range(100):
        lateness.add(720_000, 3600 * 1000 * MS)
    assert time.process_time() - began < 5.0  # one by one: half a minute
    assert sum(lateness.counts) == lateness.ticks == 72_000_000


# Privileges: in processes of their own, which they change

ASK = """
import os, resource, sys
{before}
from hardware.lowlevel.realtime import privileges
granted = privileges()
blocks = [bytearray(1 << 20) for _ in range(64)]  # memory asked for later is given
locked = [line for line in open("/proc/self/status") if line.startswith("VmLck")][0].split()[1]
print(granted, os.sched_getscheduler(0) == os.SCHED_FIFO, int(locked) > 0)
"""


def ask(limit: str | None = None) -> tuple[int, bool, bool]:
    """What is granted; with ``limit``, to nobody, who may lock that much memory."""
    before = ""
    if limit is not None:
        before = (
            "import hardware.lowlevel.realtime\n"
            f"resource.setrlimit(resource.RLIMIT_MEMLOCK, ({limit}, {limit})); os.setuid(65534)"
        )
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(before=before)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "not allowed to raise maximum limit" in done.stderr:
        pytest.skip("this machine lets not even root raise limits")
    assert done.returncode == 0, done.stderr
    granted, fifo, locked = done.stdout.split()
    return int(granted), fifo == "True", locked == "True"


def test_privileges_are_what_was_granted():
    granted, fifo, locked = ask()
    assert granted == SCHEDULED * fifo + LOCKED * locked


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@root_only
@pytest.mark.parametrize("limit", ["64 << 10", "1 << 30"])
def test_where_nothing_is_permitted_nothing_is_granted_and_nothing_raised(limit):
    """A limit that the program fits into today is no leave to lock what it asks for tomorrow."""
    assert ask(limit) == (0, False, False)


@root_only
def test_memory_is_locked_where_there_is_no_limit():
    granted, _, locked = ask("resource.RLIM_INFINITY")
    assert granted & LOCKED
    assert locked
