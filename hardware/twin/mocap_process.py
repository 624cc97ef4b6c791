"""The twin's motion capture as a process: ``python -m hardware.twin.mocap_process``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import zmq

from hardware.capture.rig import FINGERTIP_IDS, REFERENCE_IDS
from hardware.lowlevel.realtime import end_with_parent, schedule, settle
from hardware.twin.body import STEP_NS
from hardware.twin.hand import PEERS_PRIORITY, Addresses
from hardware.twin.markers import OBJECT_MARKERS
from hardware.twin.mocap import FREQUENCY, MocapServer
from hardware.twin.owl import PORT

LAG_NS = STEP_NS + 2_000_000
"""How late markers are shown, ns: a step, and what the machine may take to compute it."""

REMEMBERED = 3
"""Steps kept besides the newest."""

POLL = 100
"""ms between two looks whether the process is to end."""


class Motion:
    """Where markers are between two steps of the simulation, a little late.

    Frames come faster than steps: what stood still between them would seem to jump at twice its speed.
    """

    def __init__(self) -> None:
        self._steps: tuple[tuple[int, dict[int, np.ndarray]], ...] = ()

    def add(self, time_ns: int, places: dict[int, np.ndarray]) -> None:
        """The next step: when it was, and id -> (3,) m."""
        self._steps = (*self._steps[-REMEMBERED:], (time_ns, places))

    def now(self) -> Mapping[int, np.ndarray]:
        """Id -> (3,) m; nothing while the simulation is behind."""
        steps, shown = self._steps, time.monotonic_ns() - LAG_NS
        for (before_ns, before), (after_ns, after) in pairwise(steps):
            if before_ns <= shown < after_ns:
                part = (shown - before_ns) / (after_ns - before_ns)
                return {id_: (1.0 - part) * before[id_] + part * place for id_, place in after.items()}
        return {}


def main() -> int:
    """Stream what the twin hand publishes, until asked to end."""
    parser = argparse.ArgumentParser(prog="python -m hardware.twin.mocap_process", description=__doc__)
    parser.add_argument("--with-parent", type=int, help="end when that process, which started this, ends")
    parser.add_argument("--state", default=Addresses().state, help="where the twin hand publishes")
    parser.add_argument("--port", type=int, default=PORT, help="to stream from (%(default)s)")
    parser.add_argument("--frequency", type=float, default=FREQUENCY, help="Hz (%(default)s)")
    options = parser.parse_args()
    if options.with_parent is not None:
        end_with_parent(options.with_parent)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    schedule(PEERS_PRIORITY)
    motion = Motion()
    ids = (*FINGERTIP_IDS.values(), *REFERENCE_IDS, *OBJECT_MARKERS)
    with zmq.Context() as context, context.socket(zmq.SUB) as state:
        state.subscribe(b"")
        state.connect(options.state)
        with MocapServer(motion.now, ids, frequency=options.frequency, port=options.port):
            settle()
            while not ending.is_set():
                if state.poll(POLL):
                    step = json.loads(state.recv())
                    places = {int(id_): np.array(at) for id_, at in step["markers"].items()}
                    motion.add(step["time_ns"], places)
    return 0


if __name__ == "__main__":
    sys.exit(main())
