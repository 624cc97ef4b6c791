"""Who stands beside the hand: puts the object on it, and says how a trial that broke off is to go on."""

from __future__ import annotations

import json
import select
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import zmq

from hardware.errors import HardwareError

NOBODY = "nobody is at the terminal: run this where somebody can answer"

ANSWERING = 10_000
"""ms for the twin's operator to answer."""


class Operator(Protocol):
    """Looks after the hand between trials."""

    def prepare(self, seed: int) -> None:
        """A trial is about to begin; the hand has no force yet."""

    def hand_over(self, meanwhile: Callable[[], None]) -> None:
        """The hand holds its starting pose: put the object on it and step back.

        Args:
            meanwhile: To be called at least every 50 ms, or the hand lets go.
        """

    def begin(self) -> None:
        """The first action is about to be sent."""

    def dropped(self) -> bool:
        """Whether the object has fallen; asked when it is seen no more."""

    def go_on(self, why: str) -> bool:
        """Whether to try an interrupted trial once more."""

    def close(self) -> None:
        """Nothing more to do."""


class TerminalOperator:
    """A person at this terminal."""

    def prepare(self, seed: int) -> None:
        """Nothing: the hand takes its starting pose first."""

    def hand_over(self, meanwhile: Callable[[], None]) -> None:
        """Ask for the object, and wait for Enter."""
        with suppress(termios.error):  # no terminal: nothing was typed ahead
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
        print("Put the object on the palm, step back, and press Enter. ", end="", flush=True)
        while not select.select([sys.stdin], [], [], 0.02)[0]:
            meanwhile()
        if not sys.stdin.readline():
            raise HardwareError(NOBODY)

    def begin(self) -> None:
        """Nothing: the operator has stepped back."""

    def dropped(self) -> bool:
        """Ask."""
        return _ask("The object is not seen. Has it fallen off the hand?")

    def go_on(self, why: str) -> bool:
        """Ask."""
        print(f"Interrupted: {why}")
        return _ask("Repeat this trial?")

    def close(self) -> None:
        """Nothing is open."""


def _ask(question: str) -> bool:
    while True:
        try:
            answer = input(f"{question} [y/n] ").strip().lower()
        except EOFError:
            raise HardwareError(NOBODY) from None
        if answer in ("y", "n"):
            return answer == "y"


class TwinOperator:
    """The operator of the simulated laboratory.

    Args:
        address: Of the twin hand's socket for operators.
        attempts: Interruptions after which the campaign is given up.
    """

    FALLEN = -0.11
    """m in the hand-base frame: 0.1 m below the palm, see ``dactyl_tl.contract.DROP_DEPTH``."""

    def __init__(self, address: str, attempts: int = 3) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._address = address
        self._left = attempts
        self._socket = self._connected()

    def prepare(self, seed: int) -> None:
        """Hold object and fingers as a simulated trial of that seed begins."""
        self.ask(do="place", seed=seed)

    def hand_over(self, meanwhile: Callable[[], None]) -> None:
        """Nothing: the object is on the hand."""

    def begin(self) -> None:
        """Let go of object and fingers."""
        self.ask(do="release")

    def dropped(self) -> bool:
        """Look."""
        return bool(self.ask(do="state")["object_position"][2] < self.FALLEN)

    def go_on(self, why: str) -> bool:
        """As often as there are attempts."""
        print(f"Interrupted: {why}", file=sys.stderr)
        self._left -= 1
        return self._left >= 0

    def ask(self, **request: Any) -> dict[str, Any]:
        """The twin's answer to a request.

        Raises:
            HardwareError: There is none, or it is an error.
        """
        self._socket.send(json.dumps(request).encode())
        if not self._socket.poll(ANSWERING):
            self._socket.close()
            self._socket = self._connected()  # a request socket waits for its answer for ever
            raise HardwareError(f"the twin hand does not answer at {self._address}")
        answer: dict[str, Any] = json.loads(self._socket.recv())
        if "error" in answer:
            raise HardwareError(f"twin hand: {answer['error']}")
        return answer

    def close(self) -> None:
        """Close the socket."""
        self._context.destroy(linger=0)

    def _connected(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.REQ)
        socket.linger = 0
        socket.connect(self._address)
        return socket
