"""Controllers that run: their hands, which note what they are sent, and peers that speak by hand."""

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

import zmq

from hardware.client import HandClient, Link
from hardware.lowlevel.controller import Controller
from hardware.lowlevel.hand import DryHand
from hardware.lowlevel.sockets import join, newest, serve
from hardware.lowlevel.wire import Condition, Header, Reason, decode, encode

PATIENCE = 30.0
"""s for what happens within milliseconds on a machine that is not busy."""

ANYWHERE = "tcp://127.0.0.1:*"
MS = 1_000_000


def wait_for(condition: Callable[[], object], what: str = "it", seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.002)


class NotingHand(DryHand):
    """A dry hand that notes what it is sent: ("write", 20 numbers) or ("limit", a force)."""

    def __init__(self, torques: bool = False) -> None:
        super().__init__(torques)
        self.sent: list[tuple[str, object]] = []

    def place(self, angles) -> None:
        """Put the joints somewhere, at rest; only while there is no force."""
        self._angles, self._speeds = list(angles), [0.0] * len(angles)

    def write(self, numbers) -> None:
        super().write(numbers)
        self.sent.append(("write", tuple(numbers)))

    def limit(self, force) -> None:
        super().limit(force)
        self.sent.append(("limit", force))

    def writes(self):
        return [what for kind, what in self.sent if kind == "write"]


class Loop:
    """A controller that runs in a thread, behind real sockets.

    Attributes:
        link: the way to it.
        reason: why it ended.
    """

    def __init__(self, hand, lifeline=None) -> None:
        self.hand = hand
        self.reason: Reason | None = None
        self._context = zmq.Context()
        requests = serve(self._context.socket(zmq.ROUTER), ANYWHERE, None)
        conditions = serve(self._context.socket(zmq.PUB), ANYWHERE, None)
        self.link = Link(requests.last_endpoint.decode(), conditions.last_endpoint.decode())
        self.controller = Controller(hand, requests, conditions, lifeline)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.reason = self.controller.run()

    def join(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the controller goes on"

    def close(self) -> None:
        self.controller.end()
        self.join()
        self._context.destroy(linger=0)

    @contextmanager
    def client(self, **how):
        client = HandClient(self.link, **how)
        try:
            client.connect()
            yield client
        finally:
            client.close()


class Peer:
    """Speaks to a controller frame by frame, and hears every condition."""

    def __init__(self, link: Link, every: bool = False) -> None:
        self._context = zmq.Context()
        self._requests = join(self._context.socket(zmq.DEALER), link.requests, link.keys)
        conditions = self._context.socket(zmq.SUB)
        if every:
            conditions.subscribe(b"")
        else:
            newest(conditions)
        self._conditions = join(conditions, link.conditions, link.keys)
        self.hear()
        assert self._requests.poll(1000 * PATIENCE, zmq.POLLOUT)

    def hear(self) -> tuple[Header, Condition]:
        """The next condition."""
        assert self._conditions.poll(1000 * PATIENCE), "no condition"
        header, condition = decode(self._conditions.recv())
        assert isinstance(condition, Condition)
        return header, condition

    def until(self, test: Callable[[Condition], bool]) -> list[tuple[Header, Condition]]:
        """Conditions up to the first that passes a test."""
        heard = [self.hear()]
        deadline = time.monotonic() + PATIENCE
        while not test(heard[-1][1]):
            assert time.monotonic() < deadline, f"waited in vain; now {heard[-1][1]}"
            heard.append(self.hear())
        return heard

    def exchange(self, frame: bytes):
        """A frame's answer."""
        self._requests.send(frame, zmq.NOBLOCK)
        assert self._requests.poll(1000 * PATIENCE), "no answer"
        return decode(self._requests.recv())

    def tell(self, message, session: int, sequence: int, **header):
        """A message's answer, based on the newest condition unless told otherwise."""
        basis = {"basis_ns": self.hear()[0].sent_ns} | header
        return self.exchange(encode(Header(session, sequence, **basis), message))[1]

    def close(self) -> None:
        self._context.destroy(linger=0)
