"""The goal on a screen beside the hand: a page that draws the object as it is tracked and as it should be.

The page is served to browsers of this machine unless told otherwise; nothing can be set from there. The
control loop only leaves the newest state behind, and a browser that is slow skips what it was too slow for.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dactyl_tl.errors import ConfigurationError

Face = tuple[Sequence[Sequence[float]], str, str]
"""Corners (k, 3) in the object's frame, m, anticlockwise as seen from outside, the first two below the
letter; the letter, or a blank; the colour, ``#rrggbb``."""

PAGE = Path(__file__).with_name("goal_display.html")

EYE = (0.0, -0.75, 0.8)
"""Where the operator looks from, as a direction in the hand-base frame: the fingers point that way."""

HEARTBEAT = 1.0
"""Seconds without news after which a browser is told that there is none; it shows when that ceases too."""

PATIENCE = 10.0
"""Seconds for a browser to take what it is sent before it is let go."""


class GoalDisplay:
    """Serves the page, from a thread of its own, until it is closed.

    Args:
        faces: Of the object.
        host: Address to listen on; whoever reaches it can watch.
        port: 0 for any that is free.

    Raises:
        ConfigurationError: It cannot listen there.
    """

    def __init__(self, faces: Sequence[Face], host: str = "127.0.0.1", port: int = 0) -> None:
        self._news = _News()
        drawn = [
            {
                "corners": [[float(x) for x in corner] for corner in corners],
                "letter": letter,
                "colour": colour,
            }
            for corners, letter, colour in faces
        ]
        page = PAGE.read_text(encoding="utf-8").replace("LOOK", _json({"eye": EYE, "faces": drawn}))
        try:
            self._server = _Server((host, port), page, self._news)
        except OSError as error:
            raise ConfigurationError(
                f"the goal display cannot listen on {host}:{port}: {error.strerror or error}; "
                "choose another host or port, or port 0 for any that is free"
            ) from error
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="goal display", daemon=True
        ).start()

    @property
    def url(self) -> str:
        """What to open in a browser."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    def show(
        self, goal: Sequence[float], present: Sequence[float], trial: int, policy: str, seconds: float
    ) -> None:
        """Show this from now on; returns at once.

        A change of the goal within a trial counts as a rotation.

        Args:
            goal: How the object should lie in the hand-base frame, wxyz.
            present: How it lies.
            trial: Number of the trial.
            policy: Whose trial it is.
            seconds: Since the trial began; less than before where it begins anew.
        """
        self._news.put(tuple(goal), tuple(present), trial, policy, seconds)

    def close(self) -> None:
        """Serve no more; browsers say that the display is gone."""
        self._news.end()
        self._server.shutdown()
        self._server.server_close()


class _News:
    """The newest state, and how many there were before it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._ended = False
        self._state: tuple[Any, ...] | None = None
        self._rotations = 0

    def put(
        self, goal: tuple[float, ...], present: tuple[float, ...], trial: int, policy: str, seconds: float
    ) -> None:
        with self._changed:
            if self._state is not None:
                before, _, trial_before, _, seconds_before, _ = self._state
                if trial != trial_before or seconds < seconds_before:
                    self._rotations = 0
                elif goal != before:
                    self._rotations += 1
            self._state = (goal, present, trial, policy, seconds, self._rotations)
            self._count += 1
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def after(self, count: int) -> tuple[int, str] | None:
        """The newest state as JSON and its number; an empty one if there is none newer; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._count != count, HEARTBEAT)
            if self._ended:
                return None
            state, newest = self._state, self._count
        return newest, _described(state if newest != count else None)

    def present(self) -> str:
        """The newest state as JSON."""
        return _described(self._state)


def _described(state: tuple[Any, ...] | None) -> str:
    if state is None:
        return "{}"
    names = ("goal", "present", "trial", "policy", "seconds", "rotations")
    return _json({name: _finite(value) for name, value in zip(names, state, strict=True)})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], page: str, news: _News) -> None:
        self.page, self.news = page, news
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE

    def do_GET(self) -> None:
        """The page, or the stream of states."""
        with suppress(ConnectionError, TimeoutError):
            if self.path == "/events":
                self._stream()
            elif self.path == "/":
                self._head("text/html; charset=utf-8")
                self.wfile.write(self.server.page.replace("STATE", self.server.news.present()).encode())
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

    def _stream(self) -> None:
        self._head("text/event-stream")
        seen = 0
        while (news := self.server.news.after(seen)) is not None:
            seen, state = news
            self.wfile.write(f"data: {state}\n\n".encode())

    def _head(self, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the operator's."""


def _finite(value: Any) -> Any:
    """JSON has no word for what is not finite; the page takes null for unknown."""
    if isinstance(value, tuple):
        return [_finite(each) for each in value] if all(map(math.isfinite, value)) else None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(value: Any) -> str:
    """For a script in a page: no text in it can end the script."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
