"""The simulated laboratory: hand, motion capture, cameras and low-level controller as processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import zmq

from hardware.client import HandClient, Link
from hardware.errors import HardwareError
from hardware.operators import TwinOperator
from hardware.twin.hand import Addresses
from hardware.twin.owl import PORT

STARTING = 60.0
"""s for a process to be heard of: it imports PyTorch and settles a first object."""

ENDING = 5.0
"""s for a process to end when it is asked to."""


@dataclass(frozen=True)
class Ports:
    """First ports of everything; the addresses follow."""

    requests: int = 5751
    conditions: int = 5752
    topics: int = 5761
    commands: int = 5762
    state: int = 5763
    operator: int = 5764
    mocap: int = PORT
    rosbridge: int = 9090
    pictures: int = 5765
    camera_faults: int = 5766

    @classmethod
    def free(cls) -> Ports:
        """Ports that nobody listens at now."""
        names = list(cls.__dataclass_fields__)
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        return cls(**dict(zip(names, ports, strict=True)))

    def address(self, name: str) -> str:
        """The ZeroMQ address of one of them."""
        return f"tcp://127.0.0.1:{getattr(self, name)}"


class Laboratory:
    """Starts the processes, waits until all are heard of, and ends them.

    Args:
        ports: Where everything listens.
        logs: Directory of what the processes say.
        task, hand, actions: Of the simulated hand, see :class:`hardware.twin.body.Body`.
        backend: How the controller reaches it: ``twin`` or ``rosbridge``.

    Attributes:
        processes: By name: ``hand``, ``mocap``, ``controller``.

    Raises:
        HardwareError: One of them does not start; the text has its last words.
    """

    def __init__(
        self,
        ports: Ports,
        logs: Path,
        *,
        task: str = "block",
        hand: str = "gymnasium_robotics",
        actions: Mapping[str, Any] = MappingProxyType({}),
        backend: str = "twin",
    ) -> None:
        self.ports = ports
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs = logs
        self._commands = _commands(ports, task, hand, actions, backend)
        logs.mkdir(parents=True, exist_ok=True)
        try:
            for name in self._commands:
                self.start(name)
        except BaseException:
            self.close()
            raise

    @property
    def link(self) -> Link:
        """The way to the controller."""
        return Link(self.ports.address("requests"), self.ports.address("conditions"))

    @property
    def capture(self) -> str:
        """The address of motion capture, as :func:`hardware.capture.sources.open_source` takes it."""
        return f"phasespace://127.0.0.1:{self.ports.mocap - PORT}?sdk=hardware.twin.owl"

    def start(self, name: str) -> None:
        """Start a process, or start it again, and wait until it is heard of."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            self.processes[name] = subprocess.Popen(
                self._commands[name], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + STARTING
        while not self._answers(name):
            if self.processes[name].poll() is not None:
                raise HardwareError(f"the {name} process ended at once: {_last_words(log)}")
            if time.monotonic() > deadline:
                raise HardwareError(f"the {name} process is not heard of within {STARTING:g} s; see {log}")
            time.sleep(0.05)

    def close(self) -> None:
        """End all processes, the controller first: it lets the hand go."""
        for name in reversed(self.processes):
            process = self.processes[name]
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            try:
                process.wait(ENDING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _answers(self, name: str) -> bool:
        if name == "mocap":
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.ports.mocap)) == 0
        with zmq.Context() as context, context.socket(zmq.SUB) as listener:
            listener.linger = 0
            listener.subscribe(b"")
            listener.connect(self.ports.address("state" if name == "hand" else "conditions"))
            return bool(listener.poll(500))

    def operator(self) -> TwinOperator:
        """The operator of this laboratory."""
        return TwinOperator(self.ports.address("operator"))

    def client(self) -> HandClient:
        """A connection to the controller."""
        return HandClient(self.link)


def _commands(
    ports: Ports, task: str, hand: str, actions: Mapping[str, Any], backend: str
) -> Mapping[str, Sequence[str]]:
    """Of each process, in the order in which they start."""
    module, beside = [sys.executable, "-m"], ["--with-parent", str(os.getpid())]
    sockets = [part for name in Addresses.__dataclass_fields__ for part in (f"--{name}", ports.address(name))]
    return {
        "hand": [
            *module, "hardware.twin.hand", *beside, "--task", task, "--hand", hand, "--actions",
            json.dumps(dict(actions)), *sockets, "--rosbridge",
            str(ports.rosbridge if backend == "rosbridge" else 0),
        ],
        "mocap": [
            *module, "hardware.twin.mocap_process", *beside, "--state", ports.address("state"),
            "--port", str(ports.mocap),
        ],
        "controller": [
            *module, "hardware.lowlevel.command", *beside, "--backend", backend, "--requests",
            ports.address("requests"), "--conditions", ports.address("conditions"), "--topics",
            ports.address("topics"), "--commands", ports.address("commands"), "--port", str(ports.rosbridge),
        ],
    }  # fmt: skip


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"
