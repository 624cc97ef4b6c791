"""A hand behind its low-level controller, as the recordings of the calibrations want it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.contract import CONTROL_PERIOD
from hardware.client import HandClient
from hardware.errors import HardwareError
from hardware.lowlevel.joints import CENTRE, HALF_RANGE, NUM_ACTUATORS
from hardware.lowlevel.wire import Mode, State

PERIOD_NS = round(CONTROL_PERIOD * 1e9)
"""After which the last targets are sent again: without a command the controller would hold, then let go."""

ROUNDING = 1e-9
"""By which an action may be beyond its range, and is brought back."""


class LiveHand:
    """An armed hand that is sent targets; also the clock that waits for it, so that it stays armed.

    Args:
        client: of an armed hand.
        meanwhile: called again and again while waiting; what takes a moment, and would pile up.
    """

    def __init__(self, client: HandClient, meanwhile: Callable[[], object] = lambda: None) -> None:
        self._client = client
        self._meanwhile = meanwhile
        self._action: tuple[float, ...] | None = None
        self._sent_ns = 0

    def send(self, targets: Sequence[float] | NDArray[np.float64]) -> None:
        """Take 20 targets, rad, approached at the session's speed.

        Raises:
            HardwareError: they are beyond the range that actions reach, or the controller refuses them.
        """
        action = [
            (target - centre) / half for target, centre, half in zip(targets, CENTRE, HALF_RANGE, strict=True)
        ]
        for index, part in enumerate(action):
            if not abs(part) <= 1.0 + ROUNDING:
                raise HardwareError(f"target {targets[index]} rad of actuator {index} is beyond its range")
        self._action = tuple(min(max(part, -1.0), 1.0) for part in action)
        self._command()

    def read(self) -> tuple[NDArray[np.float64], int]:
        """The 24 angles, rad, and when they were measured, ``time.monotonic_ns()`` of this machine."""
        condition = self._client.condition()
        return np.array(condition.angles), self._client.here(condition.measured_ns)

    def targets(self) -> tuple[float, ...]:
        """What the servos were sent last, rad."""
        sent = self._client.condition().targets
        assert len(sent) == NUM_ACTUATORS
        return sent

    def now_ns(self) -> int:
        """This machine's clock."""
        return time.monotonic_ns()

    def sleep_until(self, time_ns: int) -> None:
        """Wait, and keep the hand where it was sent.

        Raises:
            HardwareError: the controller holds the hand or lets it go.
        """
        while (now := time.monotonic_ns()) < time_ns:
            if self._action is not None and now - self._sent_ns >= PERIOD_NS:
                self._command()
            self._meanwhile()
            self._client.stay(min(time_ns, now + PERIOD_NS // 4))

    def wait(self, seconds: float) -> None:
        """Wait so long; raises as :meth:`sleep_until`."""
        self.sleep_until(time.monotonic_ns() + round(seconds * 1e9))

    def _command(self) -> None:
        assert self._action is not None
        report = self._client.command(self._action, Mode.ABSOLUTE, 0.0).report
        self._sent_ns = time.monotonic_ns()
        if report.state != State.RUNNING:
            raise HardwareError(f"the hand is in {State(report.state).name.lower()}")
