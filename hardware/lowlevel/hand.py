"""What the controller drives, and the one hand that is nothing but this program: :class:`DryHand`."""

from __future__ import annotations

import math
import time
from typing import NamedTuple, Protocol, Sequence

from hardware.lowlevel.joints import DRIVEN, NUM_JOINTS


class HandError(RuntimeError):
    """The hand cannot be reached, or can no longer be."""


class Reading(NamedTuple):
    """What a hand tells.

    Attributes:
        measured_ns: when the angles came, by this machine's monotonic clock.
        angles, velocities: of the 24 joints, rad and rad/s.
        calibrated: whether the vendor says so.
        temperature: of the hottest motor, degrees Celsius; NaN where it is not told.
    """

    measured_ns: int
    angles: tuple[float, ...]
    velocities: tuple[float, ...]
    calibrated: bool = True
    temperature: float = math.nan


class Hand(Protocol):
    """A hand.

    Attributes:
        name: for people, at most 16 ASCII characters.
        gains: of each actuator, Nm/rad, Nm s/rad and Nm, of a hand that wants torques; None of one that has
            servos of its own.
    """

    name: str
    gains: Sequence[tuple[float, float, float]] | None

    def read(self) -> Reading | None:
        """The latest reading; None before the first one.

        Raises:
            HandError: the hand cannot be reached any more.
        """

    def write(self, numbers: Sequence[float]) -> None:
        """Send 20 targets, rad, or torques, Nm.

        Raises:
            HandError: the hand cannot be reached any more.
        """

    def limit(self, force: float) -> None:
        """Let the servos use that share of their greatest force, 0..1.

        Raises:
            HandError: the hand cannot be reached any more.
        """

    def close(self) -> None:
        """Let go of the connection; the hand stays as it is."""


class DryHand:
    """No hand: each joint moves as a damped unit mass, while there is force.

    Args:
        torques: whether it wants torques; else it has servos of its own.
    """

    STIFFNESS, DAMPING, STRONGEST = 400.0, 40.0, 200.0
    """1/s^2, 1/s and rad/s^2 of its servos: critically damped, settled within 0.2 s."""

    def __init__(self, torques: bool = False) -> None:
        self.name = "dry torques" if torques else "dry"
        servo = (self.STIFFNESS, self.DAMPING, self.STRONGEST)
        self.gains: Sequence[tuple[float, float, float]] | None = [servo] * len(DRIVEN) if torques else None
        self._angles = [0.0] * NUM_JOINTS
        self._speeds = [0.0] * NUM_JOINTS
        self._numbers: Sequence[float] | None = None
        self._force = 0.0
        self._then = time.monotonic_ns()

    def read(self) -> Reading:
        """Where the joints are now."""
        now = time.monotonic_ns()
        elapsed = min((now - self._then) * 1e-9, 0.01)
        self._then = now
        for index, driven in enumerate(DRIVEN):
            self._move(index, driven, elapsed)
        return Reading(now, tuple(self._angles), tuple(self._speeds))

    def _move(self, actuator: int, driven: Sequence[int], elapsed: float) -> None:
        pull = 0.0 if self._numbers is None or not self._force else self._numbers[actuator]
        for joint in driven:
            angle, speed = self._angles[joint], self._speeds[joint]
            if self.gains is not None:
                push = pull
            elif self._numbers is None or not self._force:
                push = -self.DAMPING * speed
            else:
                wanted = self.STIFFNESS * (pull / len(driven) - angle) - self.DAMPING * speed
                push = self._force * min(max(wanted, -self.STRONGEST), self.STRONGEST)
            self._speeds[joint] = speed + push * elapsed
            self._angles[joint] = angle + self._speeds[joint] * elapsed

    def write(self, numbers: Sequence[float]) -> None:
        """Take targets, rad, or torques."""
        if len(numbers) != len(DRIVEN):
            raise ValueError(f"{len(numbers)} numbers for {len(DRIVEN)} actuators")
        self._numbers = tuple(numbers)

    def limit(self, force: float) -> None:
        """Take a force, 0..1."""
        self._force = force

    def close(self) -> None:
        """Nothing is open."""
