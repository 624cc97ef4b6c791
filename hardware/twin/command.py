"""``python -m hardware twin``: the simulated laboratory, for practice and for programs of one's own."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path

from dactyl_tl.simulation.hand import HANDS
from dactyl_tl.simulation.scene import TASKS
from hardware.errors import HardwareError
from hardware.twin.laboratory import Laboratory, Ports


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--task", choices=tuple(TASKS), default="block")
    parser.add_argument("--hand", default=HANDS[0], help="parameters of the hand (%(default)s)")
    parser.add_argument("--backend", choices=("twin", "rosbridge"), default="twin")
    parser.add_argument("--logs", type=Path, default=Path("outputs/twin"), help="directory (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C, or until a process ends."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    laboratory = Laboratory(
        Ports(), arguments.logs, task=arguments.task, hand=arguments.hand, backend=arguments.backend
    )
    try:
        ports = laboratory.ports
        print("A simulated laboratory runs on this machine, until Ctrl-C:")
        print(
            f"  controller   requests {ports.address('requests')}, conditions {ports.address('conditions')}"
        )
        print(f"  hand         topics {ports.address('topics')}, commands {ports.address('commands')}")
        if arguments.backend == "rosbridge":
            print(f"  rosbridge    ws://127.0.0.1:{ports.rosbridge}")
        print(f"  mocap        {laboratory.capture}")
        print(f"  operator     {ports.address('operator')}")
        print(f"  logs         {arguments.logs}")
        while True:
            for name, process in laboratory.processes.items():
                if process.poll() is not None:
                    raise HardwareError(f"the {name} process has ended; see {arguments.logs}/{name}.log")
            time.sleep(0.2)
    finally:
        laboratory.close()
