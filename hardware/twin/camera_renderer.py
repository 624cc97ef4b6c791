"""The process that draws what the simulated cameras see.

It draws each state that the simulated hand publishes, at most ``rate`` a second and always the newest, from
all three cameras, and publishes the frames. A picture's time is its state's, so its age includes what
drawing takes. When states stay away, so do pictures.

    python -m hardware.twin.camera_renderer --states ADDRESS --pictures ADDRESS --faults ADDRESS
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import zmq
from numpy.typing import NDArray
from PIL import Image

from dactyl_tl.contract import CAMERAS, NUM_JOINTS
from dactyl_tl.errors import FAILED, UNUSABLE, ConfigurationError
from dactyl_tl.rendering.appearance import nominal_appearance
from dactyl_tl.rendering.classic_cameras import ClassicCameras
from dactyl_tl.rendering.offscreen import RendererError
from dactyl_tl.rendering.scene import MATERIALS
from hardware.cameras.frames import HEIGHT, WIDTH, Frame
from hardware.twin.camera_faults import FaultyFeed
from hardware.twin.camera_wire import (
    STATE_SIZE,
    WireError,
    check_local,
    pack_frame,
    unpack_fault,
    unpack_state,
)

READY = "ready"
"""What the process prints when it can draw."""

RATE = 25.0
"""Sets of pictures a second, as of the real cameras. One core without a GPU draws about 40."""

POLL_MS = 50
"""How long to wait for a state before looking at anything else."""

QUEUE = 9
"""Frames that are kept for a reader that is slow; then the newest are lost."""

NOISE = 2
"""Values up to which noise is added or taken away, so that no two pictures are equal: a sensor's are not."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw until told to end.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m hardware.twin.camera_renderer", description=__doc__)
    parser.add_argument("--states", required=True, metavar="ADDRESS", help="where the twin publishes states")
    parser.add_argument("--pictures", required=True, metavar="ADDRESS", help="where to publish frames")
    parser.add_argument("--faults", required=True, metavar="ADDRESS", help="where to take faults to inject")
    parser.add_argument("--task", default="block", help="whose object is in the hand")
    parser.add_argument("--look", default="lettered", help="how the object looks")
    parser.add_argument("--rate", type=float, default=RATE, help="sets of pictures a second, at most")
    parser.add_argument("--shadows", action="store_true", help="draw them, in twice the time")
    parser.add_argument("--seed", type=int, default=0, help="of noise and losses")
    parser.add_argument("--with-parent", action="store_true", help="end when the standard input closes")
    options = parser.parse_args(arguments)
    if options.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        return _serve(options)
    except (ConfigurationError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    except (RendererError, zmq.ZMQError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


class Sensor:
    """Pictures of states as three cameras deliver them, noise included. Use it from one thread.

    Args:
        task: Key of :data:`dactyl_tl.simulation.scene.TASKS`.
        look: Of the object, one of :data:`dactyl_tl.rendering.objects.KINDS`.
        shadows: Whether the brightest light casts shadows, which doubles the time that drawing takes.
        seed: Of the noise.

    Raises:
        ValueError: Unknown task or look.
        RendererError: There is no working OpenGL.
    """

    def __init__(
        self, task: str = "block", look: str = "lettered", *, shadows: bool = False, seed: int = 0
    ) -> None:
        # Edges are smooth without larger pictures: the network's own are scaled down from these.
        self._cameras = ClassicCameras(task, size=(WIDTH, HEIGHT), supersample=1, look=look)
        colours = np.array([rgba[:3] for rgba, _, _ in MATERIALS.values()])
        self._appearance = replace(nominal_appearance(len(CAMERAS), colours), shadows=shadows)
        self._random = np.random.default_rng(seed)
        # Drawing new noise takes longer than drawing the hand; a random part of a larger sheet is as good.
        noise = self._random.integers(-NOISE, NOISE, (2 * HEIGHT, 2 * WIDTH, 3), endpoint=True)
        self._noise = noise.astype(np.int8).view(np.uint8)

    def see(self, qpos: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Pictures of a state (31,): RGB, (cameras, 480, 640, 3)."""
        return np.stack(
            [self._with_noise(picture) for picture in self._cameras.render(qpos, self._appearance)]
        )

    def close(self) -> None:
        """Free the renderer."""
        self._cameras.close()

    def _with_noise(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        top, left = self._random.integers(HEIGHT), self._random.integers(WIDTH)
        part = self._noise[top : top + HEIGHT, left : left + WIDTH]
        return np.clip(picture, NOISE, 255 - NOISE) + part  # wraps around to what is below


def write_pictures(
    folder: str | Path, states: Sequence[NDArray[np.float64]], task: str = "block"
) -> dict[str, str]:
    """Pictures of states as files, a folder for each camera, as pylon's emulated cameras show them in turn.

    Args:
        folder: Where to put the folders.
        states: Each (31,).
        task: Whose object is in the hand.

    Returns:
        each camera's folder.
    """
    folders = {name: Path(folder) / name.rpartition(":")[2] for name in CAMERAS}
    for each in folders.values():
        each.mkdir(parents=True, exist_ok=True)
    sensor = Sensor(task)
    for number, qpos in enumerate(states):
        for name, picture in zip(CAMERAS, sensor.see(qpos), strict=True):
            Image.fromarray(picture).save(folders[name] / f"{number:04d}.png")
    sensor.close()
    return {name: str(each) for name, each in folders.items()}


def _serve(options: argparse.Namespace) -> int:
    for name in ("states", "pictures", "faults"):
        check_local(getattr(options, name), f"--{name}")
    if not 0 < options.rate <= 200:
        raise ConfigurationError(f"--rate={options.rate} must be above 0 and at most 200 Hz")
    os.environ.setdefault("LP_NUM_THREADS", "1")
    context = zmq.Context()
    states, pictures, faults = (context.socket(kind) for kind in (zmq.SUB, zmq.PUB, zmq.PULL))
    sensor: Sensor | None = None
    try:
        states.setsockopt(zmq.CONFLATE, 1)
        states.subscribe(b"")
        states.connect(options.states)
        pictures.sndhwm = QUEUE
        pictures.bind(options.pictures)
        faults.bind(options.faults)
        sensor = Sensor(options.task, options.look, shadows=options.shadows, seed=options.seed)
        sensor.see(np.eye(STATE_SIZE)[NUM_JOINTS + 3])  # the first takes longer
        print(READY, flush=True)
        _draw(sensor, states, pictures, faults, 1 / options.rate, FaultyFeed(options.seed))
    finally:
        context.destroy(linger=0)
        if sensor is not None:
            sensor.close()
    return 0


def _draw(
    sensor: Sensor,
    states: zmq.Socket[bytes],
    pictures: zmq.Socket[bytes],
    faults: zmq.Socket[bytes],
    period: float,
    feed: FaultyFeed,
) -> None:
    # A renderer that starts again goes on above the numbers of the one before.
    sequence, drawn_ns, due = time.monotonic_ns() // 1_000_000, 0, time.monotonic()
    poller = zmq.Poller()
    while True:
        _wait(poller, states, faults, due, feed.next_ns())
        while faults.poll(0):
            _inject(feed, faults.recv())
        frames: list[Frame] = []
        if time.monotonic() >= due and states.poll(0):
            qpos, time_ns = _state(states.recv())
            if qpos is not None and time_ns > drawn_ns:
                due = max(due + period, time.monotonic())
                drawn_ns, sequence = time_ns, sequence + 1
                seen = zip(CAMERAS, sensor.see(qpos), strict=True)
                frames = [Frame(name, picture, time_ns, 0, sequence) for name, picture in seen]
        for frame in feed.send(frames, time.monotonic_ns()):
            pictures.send(pack_frame(frame))


def _wait(
    poller: zmq.Poller,
    states: zmq.Socket[bytes],
    faults: zmq.Socket[bytes],
    due: float,
    held_ns: int | None,
) -> None:
    """Until there is a state that may be drawn, a fault, or a frame that was held back."""
    until = POLL_MS / 1e3
    poller.register(faults, zmq.POLLIN)
    if (rest := due - time.monotonic()) > 0:
        until = min(until, rest)
        if states in poller:
            poller.unregister(states)
    else:
        poller.register(states, zmq.POLLIN)
    if held_ns is not None:
        until = min(until, max(0.0, held_ns / 1e9 - time.monotonic()))
    poller.poll(int(1e3 * until) + 1)


def _state(message: bytes) -> tuple[NDArray[np.float64] | None, int]:
    try:
        return unpack_state(message)
    except WireError as error:
        print(f"warning: {error}", file=sys.stderr)
        return None, 0


def _inject(feed: FaultyFeed, message: bytes) -> None:
    try:
        fault = unpack_fault(message)
    except WireError as error:
        print(f"warning: {error}", file=sys.stderr)
        return
    if fault.fault == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    feed.inject(fault)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
