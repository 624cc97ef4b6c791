"""What ties controller and supervisor to each other: each hears at once that the other has ended or hangs.

A pair of sockets that only the two processes hold. The controller sends its force, a byte, every tick; the
supervisor sends each byte back.
"""

from __future__ import annotations

import socket
import time

SILENCE = 100000000
"""After which the other end counts as lost, ns."""

_MANY = 4096


class Lifeline:
    """The controller's end.

    Args:
        connection: one end of a ``socket.socketpair()``.

    Attributes:
        alive: whether the supervisor was there when last looked at.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._heard = time.monotonic_ns()
        self.alive = True

    def beat(self, force: float) -> bool:
        """Tell that this process lives and how much force the hand has, 0..1; whether the other lives."""
        now = time.monotonic_ns()
        try:
            self._connection.send(bytes((round(255 * force),)))
            if not self._connection.recv(_MANY):
                self.alive = False
            self._heard = now
        except BlockingIOError:
            self.alive = self.alive and now - self._heard <= SILENCE
        except OSError:
            self.alive = False
        return self.alive


class Watch:
    """The supervisor's end.

    Args:
        connection: the other end of the pair.

    Attributes:
        force: the hand's, as it was last told, 0..1.
        begun: whether anything was heard yet; a controller may take seconds to connect.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.force = 0.0
        self.begun = False

    def listen(self) -> bool:
        """Wait for the next sign of life and answer it; false if the other end is lost.

        Before the first one this returns after the same time, and says true.
        """
        self._connection.settimeout(SILENCE * 1e-9)
        try:
            beats = self._connection.recv(_MANY)
            if not beats:
                return False
            self._connection.send(beats)
        except socket.timeout:  # TimeoutError only since Python 3.10
            return not self.begun
        except OSError:
            return False
        self.force = beats[-1] / 255
        self.begun = True
        return True
