"""A live view of one simulation in the browser, served to this machine only.

MuJoCo's web viewer has no authentication and listens on every network interface; here it listens on
the loopback address, which is checked before anything is shown. It is native code that a malformed
connection can crash, so it runs in a process of its own: trials go on without it. The browser draws,
so no OpenGL is needed, and what a visitor moves never comes back into the simulation.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import queue
import signal
import socket
import time
from multiprocessing.connection import Connection
from typing import Any

import mujoco
import numpy as np
from mujoco.studio import endpoints, launch_thread, viewer_protocol, web_viewer
from numpy.typing import ArrayLike

from dactyl_tl.contract import NUM_JOINTS
from dactyl_tl.rendering.classic import VIEWS
from dactyl_tl.rendering.closing import Closing
from dactyl_tl.rendering.scene import COLLISION_GROUP, GOAL_BODY, HIDDEN_GROUP, build_visual_model

LOOPBACK = "127.0.0.1"

START_TIMEOUT = 60.0
"""Seconds the server may take to start: a fresh interpreter compiles the scene."""

PERIOD = 1 / 30
"""Seconds between two states sent to the browser."""

_QPOS = NUM_JOINTS + 7


class ViewerError(RuntimeError):
    """The live viewer did not start; the message says why."""


class _LoopbackViewer(web_viewer.WebViewer):
    @property
    def _host(self) -> str:
        return LOOPBACK

    @_host.setter
    def _host(self, value: str) -> None:
        pass  # the base class has no setting for it and writes "::", all interfaces

    @property
    def address(self) -> tuple[str, int]:
        return self._http_sock.getsockname()[:2]


class ViewerServer:
    """MuJoCo's web viewer on the loopback address, in this process.

    Args:
        task: Key of :data:`dactyl_tl.simulation.scene.TASKS`.
        hand: Hand parameters of the simulation.
        port: Port to listen on; 0 for the first free one from 8080.

    Raises:
        ValueError: Unknown task or hand.
        RuntimeError: The port is taken, or the server does not listen on the loopback address.
    """

    def __init__(self, task: str, hand: str, port: int) -> None:
        model = build_visual_model(task, hand=hand)
        self._data = mujoco.MjData(model)
        self._goal = model.body(GOAL_BODY).mocapid[0]
        self._started: queue.Queue[_LoopbackViewer | None] = queue.Queue()
        config = viewer_protocol.ViewerConfig(gfx="web", title=f"dactyl_tl: {task}", http_port=port)
        self._handle = launch_thread.launch_thread(lambda endpoint: self._serve(config, endpoint, model))
        viewer = self._started.get(timeout=START_TIMEOUT)
        if viewer is None:
            self._handle.close()  # raises what went wrong
            raise RuntimeError("the viewer did not start")
        self.viewer = viewer
        self.address = viewer.address
        self._handle.set_model(model, data=self._data)
        _wait_until_reachable(self.address)

    def show(self, state: ArrayLike) -> None:
        """Show ``qpos`` (31,) followed by the goal's orientation (4,), as one array."""
        values = np.asarray(state)
        self._data.qpos[:] = values[:_QPOS]
        self._data.mocap_quat[self._goal] = values[_QPOS:]
        self._handle.sync()

    def is_running(self) -> bool:
        """Whether the server runs; raises the error that ended it, if one did."""
        return self._handle.is_running()

    def close(self) -> None:
        """Stop the server."""
        self._handle.close()

    def _serve(
        self,
        config: viewer_protocol.ViewerConfig,
        endpoint: endpoints.ViewerEndpoint,
        model: mujoco.MjModel,
    ) -> None:
        viewer = None
        try:
            viewer = _open_viewer(config, endpoint, model)
        finally:
            # None where it failed; the handle raises why, where the server was asked for.
            self._started.put(viewer)
        viewer_protocol.run_viewer_loop(viewer)


def _open_viewer(
    config: viewer_protocol.ViewerConfig, endpoint: endpoints.ViewerEndpoint, model: mujoco.MjModel
) -> _LoopbackViewer:
    viewer = _LoopbackViewer(config, endpoint, model=model, camera=VIEWS["whole"].camera())
    if viewer.address[0] != LOOPBACK:
        viewer.close()
        raise RuntimeError(f"the viewer listens on {viewer.address[0]}, not on {LOOPBACK}")
    viewer.vis_options.geomgroup[[COLLISION_GROUP, HIDDEN_GROUP]] = 0
    viewer.vis_options.sitegroup[:] = 0
    return viewer


def _wait_until_reachable(address: tuple[str, int]) -> None:
    """Until the page is served: the viewer binds its socket first, and listens a moment later."""
    until = time.monotonic() + START_TIMEOUT
    while True:
        try:
            socket.create_connection(address, timeout=1.0).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise RuntimeError(f"the viewer does not answer on {address[0]}:{address[1]}") from None
            time.sleep(0.02)


class LiveViewer(Closing):
    """Shows hand, object and goal in the browser, from a process of its own. Close it when done.

    Args:
        task: Key of :data:`dactyl_tl.simulation.scene.TASKS`.
        hand: Hand parameters of the simulation.
        port: Port to listen on; 0 for the first free one from 8080.

    Attributes:
        address: Address and port that the server listens on.

    Raises:
        ViewerError: The server did not start; the message says why.
    """

    def __init__(self, task: str = "block", *, hand: str = "gymnasium_robotics", port: int = 0) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, remote = context.Pipe()
        self._state = context.Array("d", [0.0] * NUM_JOINTS + [0.0, 0.0, 0.0, 1.0, 0, 0, 0, 1.0, 0, 0, 0])
        self._process = context.Process(
            target=_run, args=(remote, self._state, task, hand, port), name="dactyl_tl viewer", daemon=True
        )
        self._process.start()
        remote.close()
        try:
            answer = self._connection.recv() if self._connection.poll(START_TIMEOUT) else "no answer"
        except EOFError:
            answer = "its process ended"
        if isinstance(answer, str):
            self.close()
            raise ViewerError(f"the live viewer did not start: {answer}")
        self.address: tuple[str, int] = answer

    @property
    def url(self) -> str:
        """Where to point a browser of this machine."""
        return f"http://{self.address[0]}:{self.address[1]}/"

    def show(self, qpos: ArrayLike, goal: ArrayLike) -> None:
        """Show a state: ``qpos`` (31,) as simulated, ``goal`` (4,) wxyz in the world frame. Never waits."""
        with self._state.get_lock():
            self._state[:] = np.concatenate((np.asarray(qpos), np.asarray(goal))).tolist()

    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self._process.is_alive()

    def close(self) -> None:
        """Stop the server; closing twice is fine."""
        self._connection.close()  # its end notices and stops by itself
        self._process.join(timeout=5.0)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _run(connection: Connection, state: Any, task: str, hand: str, port: int) -> None:
    """The viewer's process: serve until the other end of ``connection`` is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trials' business
    with contextlib.redirect_stdout(io.StringIO()):  # its banner; the caller prints the address
        try:
            server = ViewerServer(task, hand, port)
        except (RuntimeError, ValueError, OSError) as error:
            connection.send(str(error))
            return
        connection.send(server.address)
        try:
            while server.is_running() and not connection.poll(PERIOD):
                with state.get_lock():
                    values = state[:]
                server.show(values)
        finally:
            server.close()
