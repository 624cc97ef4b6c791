"""Three Basler cameras, such as the paper's acA640-750uc, through pylon (Appendix B.3)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from hardware.cameras.clock import DeviceClock
from hardware.cameras.devices import attach, choose, configure, connected, first_line, has_clock, load_pylon
from hardware.cameras.frames import Look, Report
from hardware.cameras.intake import Intake
from hardware.cameras.settings import SOFTWARE, CameraSettings
from hardware.cameras.stream import Stream
from hardware.errors import HardwareError

FRAME_SECONDS = 0.5
"""After a command, when a frame that has not come is taken for lost, and its camera restarted."""


class BaslerCameras:
    """The driver; see :class:`hardware.cameras.frames.Cameras`.

    Args:
        settings: Which cameras, and how they take pictures.
    """

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
        self._intake = Intake(settings.limits)
        self._streams: list[Stream] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._commander: threading.Thread | None = None
        self.missing: dict[str, list[str]] = {}

    def open(self) -> None:
        """Find, set up and start all three cameras, anew if they were open.

        Raises:
            HardwareError: pypylon or a camera is missing, or one cannot do what the settings ask for.
        """
        self.close()
        _, genicam = load_pylon()
        self._intake = Intake(self._settings.limits)
        self._stop = threading.Event()
        try:
            for name, camera in choose(self._settings.cameras, connected()).items():
                device = attach(camera)
                clock = None if self._settings.trigger == SOFTWARE else DeviceClock()
                self._streams.append(Stream(name, device, self._intake, self._lock, clock))
                self.missing[name] = configure(device, name, self._settings, camera.kind)
                if clock is not None and not has_clock(device):
                    raise HardwareError(
                        f"{name} ({camera}) has no clock that can be read, which "
                        f"trigger={self._settings.trigger} needs: choose trigger={SOFTWARE}"
                    )
            # The first camera may set the pace of the others, which are to be ready then.
            for stream in reversed(self._streams):
                stream.start()
        except genicam.GenericException as error:
            self.close()
            raise HardwareError(f"the cameras cannot be started: {first_line(error)}") from error
        except HardwareError:
            self.close()
            raise
        if self._settings.trigger == SOFTWARE:
            self._commander = threading.Thread(
                target=self._command,
                args=(tuple(self._streams), self._stop),
                name="camera trigger",
                daemon=True,
            )
            self._commander.start()

    def latest(self, now_ns: int) -> Look:
        """The newest triple, or why there is none; see :class:`hardware.cameras.frames.Cameras`.

        Raises:
            HardwareError: A camera was disconnected or failed, or they are not open.
        """
        if not self._streams:
            raise HardwareError("the cameras are not open")
        return self._intake.latest(now_ns)

    def report(self) -> Report:
        """Counts since they were opened."""
        return self._intake.report()

    def close(self) -> None:
        """Stop and give back the cameras; closing twice is fine."""
        self._stop.set()
        if self._commander is not None:
            self._commander.join()
            self._commander = None
        for stream in self._streams:
            stream.close()
        self._streams = []

    def _command(self, streams: Sequence[Stream], stop: threading.Event) -> None:
        """Have all cameras take a picture at once, again and again."""
        period = 1 / self._settings.rate
        due = fired = time.monotonic()
        try:
            while not stop.wait(max(0.0, due - time.monotonic())):
                due = max(due + period, time.monotonic() + period / 2)
                if not (late := self._late(streams)):
                    self._fire(streams)
                elif time.monotonic() - fired < FRAME_SECONDS:
                    continue
                for stream in late:
                    stream.restart()
                fired = time.monotonic()
        except HardwareError as error:
            self._intake.fail(str(error))

    def _late(self, streams: Sequence[Stream]) -> list[Stream]:
        """Cameras that are not done with the command before."""
        with self._lock:
            busy = [stream for stream in streams if stream.busy]
        return busy or [stream for stream in streams if not stream.ready()]

    def _fire(self, streams: Sequence[Stream]) -> None:
        with self._lock:
            begun = time.monotonic_ns()
            times = [stream.fire() for stream in streams]
            took = time.monotonic_ns() - begun
            # Where this thread was held up, nobody knows between which commands.
            sure = took <= self._settings.limits.tolerance * 1e9
            for stream, time_ns in zip(streams, times, strict=True):
                stream.expect(time_ns if sure else None)
