"""The goal display over real sockets, and its page in a real browser where there is one."""

import http.client
import io
import json
import math
import re
import shutil
import socket
import subprocess
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from PIL import Image

from dactyl_tl import rotations
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.rendering.objects import look_of
from hardware.goal_display import EYE, GoalDisplay

UPRIGHT = (1.0, 0.0, 0.0, 0.0)
TILTED = (math.cos(0.3), 0.0, math.sin(0.3), 0.0)
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def faces(name):
    look = look_of(name)
    return list(zip(look.corners, look.letters, look.colours, strict=False))


@pytest.fixture
def display():
    shown = GoalDisplay(faces("block"))
    yield shown
    shown.close()


class Watcher:
    """A browser's connection to the stream."""

    def __init__(self, display):
        self.connection = http.client.HTTPConnection(urlsplit(display.url).netloc, timeout=60)
        self.connection.request("GET", "/events")
        self.answer = self.connection.getresponse()
        assert self.answer.headers["Content-Type"] == "text/event-stream"

    def states(self):
        """What arrives, heartbeats left out, until the stream ends."""
        for line in self.answer:
            if line.strip():
                assert line.startswith(b"data: ")
                state = json.loads(line[6:])
                if state:
                    yield state


def fetch(display, path, method="GET"):
    connection = http.client.HTTPConnection(urlsplit(display.url).netloc, timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_the_page_and_the_objects_looks_are_served_to_this_machine(display):
    assert urlsplit(display.url).hostname == "127.0.0.1"
    with urlopen(display.url, timeout=60) as answer:
        page = answer.read().decode()
    assert "<title>Goal</title>" in page
    look = json.loads(re.findall(r'id="look">(.*)</script>', page)[0])
    assert [face["letter"] for face in look["faces"]] == list("ABCDEF")
    assert np.allclose([face["corners"] for face in look["faces"]], look_of("block").corners, atol=0)


def test_nothing_else_is_served_and_nothing_can_be_set(display):
    for path in ("/goal_display.py", "/../goal_display.py", "//etc/passwd", "/events/x", "/look"):
        assert fetch(display, path)[0] == 404
    assert fetch(display, "/events", "POST")[0] == 501
    assert fetch(display, "/", "PUT")[0] == 501


def test_a_browser_gets_the_newest_state_at_once_and_then_each_that_follows(display):
    display.show(UPRIGHT, TILTED, 4, "block/a", 0.0)
    display.show(UPRIGHT, TILTED, 4, "block/a", 0.08)
    states = Watcher(display).states()
    assert next(states) == {
        "goal": list(UPRIGHT), "present": list(TILTED), "trial": 4, "policy": "block/a", "seconds": 0.08,
        "rotations": 0,
    }  # fmt: skip
    display.show(TILTED, UPRIGHT, 4, "block/a", 0.16)
    assert next(states)["goal"] == list(TILTED)


def test_rotations_are_the_changes_of_the_goal_in_one_attempt(display):
    states = Watcher(display).states()
    seen = []
    for goal, trial, seconds in (
        (UPRIGHT, 0, 0.0), (UPRIGHT, 0, 0.1), (TILTED, 0, 0.2), (TILTED, 0, 0.3), (UPRIGHT, 0, 0.4),
        (TILTED, 0, 0.0), (UPRIGHT, 0, 0.1),  # the same trial once more
        (TILTED, 1, 0.2), (UPRIGHT, 1, 0.3),
    ):  # fmt: skip
        display.show(list(goal), UPRIGHT, trial, "block", seconds)
        seen.append(next(states)["rotations"])
    assert seen == [0, 0, 1, 1, 2, 0, 1, 0, 1]


def test_what_is_not_known_is_null(display):
    states = Watcher(display).states()
    display.show(UPRIGHT, (math.nan, 0.0, 0.0, 0.0), 0, "block", math.inf)
    state = next(states)
    assert (state["present"], state["seconds"], state["goal"]) == (None, None, list(UPRIGHT))


def test_a_browser_that_does_not_read_delays_nobody_and_then_sees_the_newest(display):
    lazy, eager = Watcher(display), Watcher(display)
    count, words = 20_000, "x" * 1000  # 20 MB, more than sockets hold
    for number in range(count):
        display.show(UPRIGHT, TILTED, 0, words, float(number))

    for watcher in (lazy, eager):
        seen = []
        for state in watcher.states():
            seen.append(state["seconds"])
            if seen[-1] == count - 1:
                break
        assert seen == sorted(set(seen))
        assert len(seen) < count


def test_browsers_that_leave_do_not_disturb(display):
    for _ in range(5):
        watcher = Watcher(display)
        watcher.answer.close()
        watcher.connection.close()
    half = socket.create_connection((urlsplit(display.url).hostname, urlsplit(display.url).port))
    half.sendall(b"GET /ev")
    half.close()
    states = Watcher(display).states()
    for number in range(20):
        display.show(UPRIGHT, TILTED, number, "block", 0.0)
        assert next(states)["trial"] == number


def test_closing_ends_the_streams_and_frees_the_port():
    display = GoalDisplay(faces("prism"))
    watcher = Watcher(display)
    port = urlsplit(display.url).port
    with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*port 0"):
        GoalDisplay(faces("block"), port=port)
    display.close()
    assert list(watcher.states()) == []
    display.show(UPRIGHT, TILTED, 0, "block", 0.0)  # the control loop may be a little late
    again = GoalDisplay(faces("block"), port=port)
    assert fetch(again, "/")[0] == 200
    again.close()


def browse(url, *options):
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--timeout=60000",
         "--window-size=1280,720", *options, url],
        capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.skipif(BROWSER is None, reason="there is no browser")
def test_a_browser_shows_angle_time_and_trial(display):
    goal, present = rotations.uniform((2,), torch.Generator().manual_seed(5)).double()
    display.show(goal.tolist(), present.tolist(), 17, "</script><b>mine", 12.34)
    page = browse(display.url, "--dump-dom")
    shown = dict(re.findall(r'<dd id="(\w+)"[^>]*>(.*?)</dd>', page))
    degrees = math.degrees(rotations.distance(goal, present))
    assert shown == {
        "rotations": "0", "angle": f"{degrees:.0f}°", "seconds": "12.3 s", "trial": "17",
        "policy": "&lt;/script&gt;&lt;b&gt;mine",
    }  # fmt: skip


@pytest.mark.skipif(BROWSER is None, reason="there is no browser")
@pytest.mark.parametrize("name", ["block", "prism"])
def test_a_browser_draws_the_faces_that_look_at_the_operator(name, tmp_path):
    display = GoalDisplay(faces(name))
    orientations = rotations.uniform((2,), torch.Generator().manual_seed(9)).double()
    display.show(orientations[0].tolist(), orientations[1].tolist(), 0, name, 0.0)
    browse(display.url, f"--screenshot={tmp_path / 'page.png'}")
    display.close()
    page = np.asarray(
        Image.open(io.BytesIO((tmp_path / "page.png").read_bytes())).convert("RGB"), dtype=float
    )
    halves = page[70:640, :840], page[70:470, 850:]  # goal, present

    towards = np.array(EYE) / np.linalg.norm(EYE)
    right = np.cross([0.0, 0.0, 1.0], towards) / np.linalg.norm(np.cross([0.0, 0.0, 1.0], towards))
    down = np.cross(right, towards)
    radius = np.linalg.norm(np.concatenate([corners for corners, *_ in faces(name)]), axis=1).max()
    for picture, orientation in zip(halves, orientations, strict=True):
        turn = rotations.to_matrix(orientation).numpy()
        wanted, seen = [], []
        for corners, letter, colour in faces(name):
            centre = turn @ corners.mean(axis=0)
            normal = turn @ np.cross(corners[1] - corners[0], corners[2] - corners[1])
            facing = normal @ (6 * radius * towards - centre) / np.linalg.norm(normal) / (6 * radius)
            place = np.argwhere(has_colour(picture, colour))
            if facing > 0.15:
                assert len(place) > 300, f"face {letter} is not drawn"
                wanted.append((down @ centre, right @ centre))
                seen.append(place.mean(axis=0))
            elif facing < 0:
                assert len(place) < 30, f"face {letter} is drawn though it looks away"
        steps = np.diff(wanted, axis=0), np.diff(seen, axis=0)
        lengths = np.linalg.norm(steps, axis=-1)
        assert (np.sum(steps[0] * steps[1], axis=1) / lengths[0] / lengths[1] > 0.9).all()


def has_colour(picture, colour):
    """Where it is seen, darkened a little or not."""
    shares = picture / [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.ptp(shares, axis=2) < 0.02) & (shares.mean(axis=2) > 0.85) & (shares.mean(axis=2) < 1.01)
