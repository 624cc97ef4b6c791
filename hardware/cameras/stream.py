"""One Basler camera at work: a thread takes its frames, finds out when they were taken and hands them in."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hardware.cameras.clock import DeviceClock, Reading
from hardware.cameras.devices import first_line, load_pylon
from hardware.cameras.frames import Frame
from hardware.cameras.intake import FAILED, UNSURE, Intake
from hardware.errors import HardwareError

POLL_SECONDS = 0.003
"""Between two looks for a frame. Pylon's own waiting is not used: on Linux its time-outs come as SIGALRM,
which end the process where anything else in it has dealt with that signal. Without a wait no timer runs."""

CHECK_SECONDS = 0.1
"""Between two looks whether the camera is there at all."""

BUFFERS = 10
"""Frames that pylon holds for the thread."""

JOIN_SECONDS = 5.0
"""How long closing waits for the thread; a driver whose camera is gone may hang."""


class Stream:
    """Frames of one camera.

    With the software trigger a frame's time is that of the command that started it: frames come in the
    order of the commands, of which there is only ever one under way. A camera whose frame stays away, or
    whose frames are out of step with the commands, is restarted, which discards what it had. With a trigger
    line a frame's time is what the camera's own clock stamped, by the host's clock.

    Args:
        name: One of :data:`dactyl_tl.contract.CAMERAS`.
        device: Pylon's ``InstantCamera``, configured.
        intake: Where frames go.
        lock: Held while commands are given, so that a frame never comes before its command is noted.
        clock: Of the camera; None with the software trigger.
    """

    def __init__(
        self, name: str, device: Any, intake: Intake, lock: threading.Lock, clock: DeviceClock | None
    ) -> None:
        self.name, self.device = name, device
        self._intake, self._lock, self._clock = intake, lock, clock
        self._pylon, self._genicam = load_pylon()
        self._no_waiting = self._pylon.TimeoutHandling_Return
        self._shots: deque[int | None] = deque()
        self._first_block: int | None = None
        self._blocks = 0
        self._restart = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to take frames."""
        self.device.MaxNumBuffer.Value = BUFFERS
        self._grab()
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a command's frame has not come yet; with the lock held."""
        return bool(self._shots)

    def ready(self) -> bool:
        """Whether a command would be followed: one that is not is ignored, and nothing tells.

        Raises:
            HardwareError: The camera has failed.
        """
        with self._named_failures():
            return bool(self.device.WaitForFrameTriggerReady(0, self._no_waiting))

    def fire(self) -> int:
        """Command an exposure: by the host's clock, when it began, ns. With the lock held.

        Raises:
            HardwareError: The camera has failed.
        """
        before = time.monotonic_ns()
        with self._named_failures():
            self.device.TriggerSoftware.Execute()
        return (before + time.monotonic_ns()) // 2

    def expect(self, time_ns: int | None) -> None:
        """Note when the next frame was taken, None if that is not sure. With the lock held."""
        self._shots.append(time_ns)

    def restart(self) -> None:
        """Discard what is under way, and begin anew."""
        self._restart.set()

    def close(self) -> None:
        """End the thread and give the camera back."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(JOIN_SECONDS)
        try:
            self.device.StopGrabbing()
            self.device.Close()
            self.device.DestroyDevice()
        except self._genicam.GenericException:
            pass  # it is gone already

    def _grab(self) -> None:
        self.device.StartGrabbing(self._pylon.GrabStrategy_OneByOne, self._pylon.GrabLoop_ProvidedByUser)

    def _run(self) -> None:
        try:
            with self._named_failures():
                self._watch()
        except HardwareError as error:
            self._intake.fail(str(error))

    def _watch(self) -> None:
        check = 0.0
        while not self._stop.wait(POLL_SECONDS):
            self._read_clock()
            if self._restart.is_set():
                self._begin_anew()
            while (result := self.device.RetrieveResult(0, self._no_waiting)).IsValid():
                self._take(result)
                result.Release()
            if time.monotonic() < check:
                continue
            check = time.monotonic() + CHECK_SECONDS
            if self.device.IsCameraDeviceRemoved():
                raise HardwareError(self._disconnected())
            if not self.device.IsGrabbing():
                self.restart()

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        """Pylon's errors as ours, which name the camera."""
        try:
            yield
        except self._genicam.GenericException as error:
            gone = self.device.IsCameraDeviceRemoved()
            text = self._disconnected() if gone else f"{self.name} failed: {first_line(error)}"
            raise HardwareError(text) from error

    def _disconnected(self) -> str:
        return f"{self.name} was disconnected: plug it in and open the cameras again"

    def _take(self, result: Any) -> None:
        whole = result.GrabSucceeded()
        if self._clock is None:
            time_ns = self._commanded(result.BlockID if whole else None)
        else:
            time_ns = self._clock.host_ns(result.TimeStamp)
        if not whole:
            self._intake.drop(self.name, FAILED)
        elif time_ns is None:
            self._intake.drop(self.name, UNSURE)
        else:
            self._intake.add(Frame(self.name, result.Array, time_ns, result.TimeStamp, result.BlockID))

    def _read_clock(self) -> None:
        if self._clock is None or not self._clock.due(time.monotonic_ns()):
            return
        before = time.monotonic_ns()
        self.device.TimestampLatch.Execute()
        after = time.monotonic_ns()
        self._clock.add(Reading(before, self.device.TimestampLatchValue.Value, after))

    def _commanded(self, block: int | None) -> int | None:
        """When the frame that has come was commanded, None if that is not sure.

        Args:
            block: The camera's number of the frame, None of one that did not arrive as a whole.
        """
        with self._lock:
            expected = bool(self._shots)
            time_ns = self._shots.popleft() if self._shots else None
        if block is not None:
            if self._first_block is None:
                self._first_block = block - self._blocks
            expected = expected and block - self._first_block == self._blocks
        self._blocks += 1
        if not expected:  # one was lost or came on its own: all that follow would be dated wrongly
            self.restart()
            return None
        return time_ns

    def _begin_anew(self) -> None:
        with self._lock:  # no command is given meanwhile
            self._restart.clear()
            self.device.StopGrabbing()
            self._shots.clear()
            self._first_block, self._blocks = None, 0
            self._intake.restart(self.name)
            self._grab()
