"""The simulated hand's cameras: live renders behind the interface of the real ones.

The real cameras' driver is practised with pylon's emulated cameras, which show pictures of files. They read
those once, when they are set up, and cannot change them while they run, so they cannot show a hand that
moves. Its live pictures come from here instead: a process draws the states that the twin publishes
(:mod:`hardware.twin.camera_renderer`) and publishes frames, which are screened and matched as the real
ones are. What is not practised this way is pylon, its triggers and the cameras' clocks.

The twin publishes states with a ZeroMQ PUB socket that it binds, one JSON message each:
``{"qpos": [31 numbers], "time_ns": time.monotonic_ns() of the state}``; other entries are ignored.
"""

from __future__ import annotations

import select
import subprocess
import sys
import threading
from typing import Self

import zmq

from hardware.cameras.frames import Look, Report
from hardware.cameras.intake import Intake, Limits
from hardware.errors import HardwareError
from hardware.twin.camera_renderer import QUEUE, RATE, READY
from hardware.twin.camera_wire import Fault, WireError, check_local, pack_fault, unpack_frame

POLL_MS = 100
"""How long the thread waits for a frame before it looks whether it shall end."""

START_SECONDS = 120.0
"""How long a renderer may take to start, on a slow machine without a GPU."""


class TwinCameras:
    """Frames of a renderer; see :class:`hardware.cameras.frames.Cameras`.

    Args:
        address: Where the renderer publishes frames.
        limits: What pictures may be used.

    Raises:
        ConfigurationError: An address on another machine.
    """

    def __init__(self, address: str, limits: Limits | None = None) -> None:
        check_local(address, "address")
        self._address, self._limits = address, limits or Limits()
        self._intake = Intake(self._limits)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Connect, anew if it was open. A renderer may start later, or again."""
        self.close()
        self._intake, self._stop = Intake(self._limits), threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._intake, self._stop), name="twin cameras", daemon=True
        )
        self._thread.start()

    def latest(self, now_ns: int) -> Look:
        """The newest triple, or why there is none; see :class:`hardware.cameras.frames.Cameras`.

        Raises:
            HardwareError: They are not open, or something else publishes there.
        """
        if self._thread is None:
            raise HardwareError("the cameras are not open")
        return self._intake.latest(now_ns)

    def report(self) -> Report:
        """Counts since they were opened."""
        return self._intake.report()

    def close(self) -> None:
        """Disconnect; closing twice is fine."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, intake: Intake, stop: threading.Event) -> None:
        context = zmq.Context()
        try:
            socket = context.socket(zmq.SUB)
            socket.rcvhwm = QUEUE
            socket.subscribe(b"")
            socket.connect(self._address)
            while not stop.is_set():
                if socket.poll(POLL_MS):
                    intake.add(unpack_frame(socket.recv()))
        except (WireError, zmq.ZMQError) as error:
            intake.fail(f"the twin's cameras at {self._address}: {error}")
        finally:
            context.destroy(linger=0)


class RendererProcess:
    """A renderer in a process of its own, which ends with this one.

    Args:
        states: Where the twin publishes states.
        pictures: Where the renderer shall publish frames.
        faults: Where it shall take faults.
        task: Whose object is in the hand.
        look: How the object looks; an estimator knows what it learnt (``PoseEstimator.look``).
        rate: Sets of pictures a second, at most.
        seed: Of noise and losses.
    """

    def __init__(
        self,
        states: str,
        pictures: str,
        faults: str,
        *,
        task: str = "block",
        look: str = "lettered",
        rate: float = RATE,
        seed: int = 0,
    ) -> None:
        self._faults = faults
        given = {"states": states, "pictures": pictures, "faults": faults, "task": task, "look": look}
        numbers = {"rate": rate, "seed": seed}
        self._arguments = [f"--{name}={value}" for name, value in {**given, **numbers}.items()]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it can draw.

        Raises:
            HardwareError: It ended instead, having said why, or took too long.
        """
        command = [sys.executable, "-m", "hardware.twin.camera_renderer", "--with-parent", *self._arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process = process
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        said = process.stdout.readline().decode().strip() if ready else ""
        if said != READY:
            self.stop()
            raise HardwareError(f"the cameras' renderer did not start (exit code {process.returncode})")

    def check(self) -> None:
        """See that it runs.

        Raises:
            HardwareError: It does not.
        """
        if self._process is None:
            raise HardwareError("the cameras' renderer was not started")
        if (code := self._process.poll()) is not None:
            raise HardwareError(f"the cameras' renderer has ended (exit code {code})")

    def inject(self, fault: Fault) -> None:
        """Have the cameras fail."""
        with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
            socket.linger = 1000
            socket.connect(self._faults)
            socket.send(pack_fault(fault))

    def stop(self) -> None:
        """End it; stopping twice is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
