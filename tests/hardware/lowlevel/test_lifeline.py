"""The lifeline's two ends over a real pair of sockets."""

import socket
import threading
import time

import pytest

from hardware.lowlevel.lifeline import SILENCE, Lifeline, Watch
from tests.hardware.lowlevel.loops import wait_for


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Lifeline(ours), Watch(theirs), ours, theirs


def test_a_beat_tells_the_force_and_is_answered(ends):
    lifeline, watch, *_ = ends
    assert not watch.begun
    assert lifeline.beat(0.6)
    assert watch.listen()
    assert watch.begun
    assert watch.force == pytest.approx(0.6, abs=1 / 510)
    assert lifeline.beat(0.0)
    assert watch.listen()
    assert watch.force == 0.0


def test_of_several_beats_the_last_counts(ends):
    lifeline, watch, *_ = ends
    for force in (1.0, 0.5, 0.25):
        assert lifeline.beat(force)
    assert watch.listen()
    assert watch.force == pytest.approx(0.25, abs=1 / 510)


def test_before_the_first_beat_a_controller_may_take_its_time_but_not_end(ends):
    _, watch, ours, _ = ends
    began = time.monotonic_ns()
    assert watch.listen()
    assert time.monotonic_ns() - began >= 0.99 * SILENCE
    assert not watch.begun
    ours.close()
    assert not watch.listen()


def test_silence_after_the_first_beat_is_a_loss(ends):
    lifeline, watch, *_ = ends
    lifeline.beat(1.0)
    assert watch.listen()
    began = time.monotonic_ns()
    assert not watch.listen()
    assert time.monotonic_ns() - began >= 0.99 * SILENCE
    assert watch.force == 1.0, "as it was last told"


def test_a_supervisor_that_answers_nothing_is_lost_after_a_while_and_stays_so(ends):
    _, watch, ours, _ = ends
    began = time.monotonic_ns()
    lifeline = Lifeline(ours)
    assert lifeline.beat(1.0)
    wait_for(lambda: not lifeline.beat(1.0))
    assert time.monotonic_ns() - began >= SILENCE
    watch.listen()
    assert not lifeline.alive


def test_an_end_that_closes_is_noticed_at_once(ends):
    lifeline, _, _, theirs = ends
    assert lifeline.beat(1.0)
    theirs.close()
    assert not lifeline.beat(1.0)
    assert not lifeline.alive


def test_a_supervisor_that_is_heard_now_and_then_lives(ends):
    lifeline, watch, *_ = ends
    ending = threading.Event()

    def answer() -> None:
        while not ending.is_set() and watch.listen():
            pass

    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(60):
        assert lifeline.beat(0.5)
        time.sleep(0.005)
    ending.set()
    lifeline.beat(0.5)
    thread.join()
