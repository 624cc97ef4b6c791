"""Faults of the simulated cameras, put between what is drawn and what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np

from dactyl_tl.contract import CAMERAS
from hardware.cameras.frames import Frame
from hardware.twin.camera_wire import Fault


class FaultyFeed:
    """Which frames are sent when. It reads no clock; what is lost follows from the seed.

    Args:
        seed: Of what is lost.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)
        self._faults: dict[str, dict[str, float]] = {name: {} for name in CAMERAS}
        self._last: dict[str, Frame] = {}
        self._held: list[tuple[int, Frame]] = []

    def inject(self, fault: Fault) -> None:
        """Begin a fault, beside those there are; "none" ends its camera's."""
        for name in CAMERAS if fault.camera is None else (fault.camera,):
            if fault.fault == "none":
                self._faults[name].clear()
            else:
                self._faults[name][fault.fault] = fault.amount

    def send(self, frames: Sequence[Frame], now_ns: int) -> list[Frame]:
        """What is to be sent now that ``frames`` were drawn, earlier ones that were held back included."""
        for frame in frames:
            faults = self._faults[frame.camera]
            if "loss" in faults and self._random.random() < faults["loss"]:
                continue
            if "freeze" in faults and frame.camera in self._last:
                frame = replace(frame, picture=self._last[frame.camera].picture)
            if "dark" in faults:
                frame = replace(frame, picture=np.minimum(frame.picture, 2))
            self._last[frame.camera] = frame
            due = now_ns + round(faults.get("delay", 0.0) * 1e9)
            self._held += [(due, frame)] * (2 if "duplicate" in faults else 1)
        return self.due(now_ns)

    def due(self, now_ns: int) -> list[Frame]:
        """Frames that were held back until now, in the order of their times."""
        ready = [frame for due, frame in self._held if due <= now_ns]
        self._held = [(due, frame) for due, frame in self._held if due > now_ns]
        return ready

    def next_ns(self) -> int | None:
        """When the next frame that is held back is due."""
        return min((due for due, _ in self._held), default=None)
