"""Starts the controller and lets the hand go should it die: the vendor's loop would hold the last target.

The supervisor has a connection to the hand of its own, made before there is a controller.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from typing import Sequence

from hardware.lowlevel.backends import Backend, open_hand
from hardware.lowlevel.hand import Hand, HandError
from hardware.lowlevel.lifeline import Watch
from hardware.lowlevel.realtime import schedule
from hardware.lowlevel.safety import RAMP

STEPS = 10
"""In which the force fades."""

INSISTENCE = 4
"""Times that a force of zero is sent: the vendor's topics acknowledge nothing."""

PAUSE = 1.0
"""s before a controller is started again."""

GIVING_UP = 3
"""Controllers that end without ever having been heard of, one after the other, before it is given up."""

UNUSABLE = 2
"""Exit code of a controller whose settings cannot be used: starting it again would not help."""

ENDING = 2.0
"""s for a controller that is asked to end: it lets the hand go first."""


class _Request:
    """Whether the supervisor was asked to end: looked at between beats, never while it lets go."""

    made = False

    def make(self, *_: object) -> None:
        self.made = True


def supervise(backend: Backend, arguments: Sequence[str]) -> int:
    """Run controllers, one after the other, until asked to end.

    A controller that ends or falls silent is killed, the hand let go, and another one started, which
    stays disarmed until somebody arms it.

    Args:
        backend: which hand.
        arguments: of the controller's command line.

    Returns:
        The exit code: that of a controller that cannot begin, or 0.

    Raises:
        HandError: the hand cannot be reached.
    """
    schedule()  # one that waits for other programs would be taken for dead
    request = _Request()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, request.make)
    hand = open_hand(backend)
    schedule(inherited=False)  # a controller asks for itself, once it is loaded
    failures = 0
    try:
        while True:
            began, code = _run_one(hand, arguments, request)
            if request.made:
                return 0
            failures = 0 if began else failures + 1
            if failures == GIVING_UP or (not began and code == UNUSABLE):
                return code
            time.sleep(PAUSE)
            hand = _reachable(hand, backend, request)
    finally:
        hand.close()


def _run_one(hand: Hand, arguments: Sequence[str], request: _Request) -> tuple[bool, int]:
    """One controller's life: whether it ever drove the hand, and its exit code."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, *_entry(), *arguments, "--lifeline", str(theirs.fileno())]
    with ours, subprocess.Popen(command, pass_fds=(theirs.fileno(),)) as child:
        theirs.close()
        watch = Watch(ours)
        while not request.made and watch.listen():
            _drain(hand)
        noticed = time.monotonic()
        if request.made:
            child.terminate()
            while watch.listen() and time.monotonic() - noticed < ENDING:
                pass
        # One that hangs must not come back to life and raise the force again.
        child.kill()
        child.wait()
        _let_go(hand, watch.force)
        if watch.begun and not request.made:
            _say(
                f"the controller is lost (exit code {child.returncode}); "
                f"{1000 * (time.monotonic() - noticed):.0f} ms later the hand has no force"
            )
        return watch.begun, child.returncode


def _let_go(hand: Hand, force: float) -> None:
    """Let the force fade as the controller would have."""
    try:
        for step in reversed(range(STEPS if force else 1)):
            hand.limit(force * step / STEPS)
            time.sleep(RAMP * 1e-9 / STEPS)
        for _ in range(INSISTENCE):
            hand.limit(0.0)
            time.sleep(0.01)
    except HandError as error:
        _say(f"CANNOT LET GO of the hand ({error}): press its emergency stop")


def _drain(hand: Hand) -> None:
    """Take what the hand sends, which would pile up."""
    with suppress(HandError):  # the controller tells, and ends
        hand.read()


def _reachable(hand: Hand, backend: Backend, request: _Request) -> Hand:
    """The connection, made anew if it was lost."""
    while not request.made:
        try:
            hand.read()
            return hand
        except HandError as error:
            _say(f"{error}; trying again")
            hand.close()
        time.sleep(PAUSE)
        try:
            hand = open_hand(backend)
        except HandError:
            continue
    return hand


def _entry() -> list[str]:
    """How this program was started: a zipped file, or a module of the checkout."""
    packed = zipfile.is_zipfile(sys.argv[0])
    return [sys.argv[0]] if packed else ["-m", "hardware.lowlevel.command"]


def _say(what: str) -> None:
    print(f"supervisor: {what}", file=sys.stderr, flush=True)
