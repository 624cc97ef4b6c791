"""A camera's clock by the host's: planted offsets and drifts, seen through delayed readings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.cameras.clock import DRIFT, READ_EVERY_NS, RECENT_NS, DeviceClock, Reading

MS = 1_000_000


def test_the_offset_is_taken_at_the_middle_of_the_narrowest_recent_reading():
    clock = DeviceClock()
    clock.add(Reading(1_000 * MS, 300 * MS, 1_004 * MS))
    assert clock.host_ns(300 * MS) == 1_002 * MS
    clock.add(Reading(1_100 * MS, 400 * MS, 1_101 * MS))
    assert clock.host_ns(400 * MS) == 1_100 * MS + MS // 2
    clock.add(Reading(1_200 * MS, 500 * MS, 1_209 * MS))  # delayed: the one before says more
    assert clock.host_ns(500 * MS) == 1_200 * MS + MS // 2
    assert clock.error_ns == MS // 2 + DRIFT * RECENT_NS


def test_old_readings_are_forgotten():
    clock = DeviceClock()
    clock.add(Reading(0, 0, 2))
    clock.add(Reading(RECENT_NS + 1, RECENT_NS - 5 * MS, RECENT_NS + 11 * MS))
    assert clock.host_ns(0) == (RECENT_NS + 1 + RECENT_NS + 11 * MS) // 2 - (RECENT_NS - 5 * MS)


def test_readings_are_due_at_once_and_then_at_intervals():
    clock = DeviceClock()
    assert clock.due(0)
    clock.add(Reading(10, 5, 20))
    assert not clock.due(20 + READ_EVERY_NS - 1)
    assert clock.due(20 + READ_EVERY_NS)


def test_without_a_reading_there_is_no_time():
    with pytest.raises(ValueError, match="not been read"):
        DeviceClock().host_ns(5)


@given(
    offset=st.integers(-(10**15), 10**15),
    drift=st.floats(-DRIFT, DRIFT),
    delays=st.lists(st.tuples(st.integers(1, 5 * MS), st.integers(1, 5 * MS)), min_size=12, max_size=40),
    instants=st.lists(st.integers(0, READ_EVERY_NS), min_size=3, max_size=3),
)
def test_the_error_stays_below_what_the_clock_says(offset, drift, delays, instants):
    """Readings are delayed on both ways; the frames in between are held out."""

    def device(host_ns: int) -> int:
        return offset + host_ns + round(drift * host_ns)

    clock = DeviceClock()
    for number, (there, back) in enumerate(delays):
        host_ns = number * (READ_EVERY_NS + 10 * MS) + 20 * MS
        clock.add(Reading(host_ns - there, device(host_ns), host_ns + back))
        for instant in instants:
            taken = host_ns + back + instant
            assert abs(clock.host_ns(device(taken)) - taken) <= clock.error_ns + DRIFT * 2 * READ_EVERY_NS
