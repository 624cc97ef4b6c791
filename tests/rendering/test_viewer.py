"""The live viewer: loopback only, shows what it is told, ends, and cannot take the trials with it."""

import socket
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from dactyl_tl.contract import NUM_JOINTS
from dactyl_tl.rendering.viewer import LOOPBACK, LiveViewer, ViewerError, ViewerServer
from dactyl_tl.simulation.objects import START_POSITION
from tests.rendering.states import HOLDING

GOAL = (0.0, 1.0, 0.0, 0.0)


def outside_addresses() -> list[str]:
    """This machine's addresses other than the loopback one."""
    found = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    return sorted(str(address) for address in found if not str(address).startswith("127."))


def test_it_serves_page_and_scene_on_the_loopback_address_only_and_stops() -> None:
    with LiveViewer("block") as viewer:
        host, port = viewer.address
        assert host == LOOPBACK
        viewer.show(HOLDING, GOAL)
        with urllib.request.urlopen(viewer.url, timeout=10) as page:
            assert b"<html" in page.read().lower()
        with urllib.request.urlopen(f"{viewer.url}model", timeout=10) as scene:
            assert len(scene.read()) > 1_000_000  # the hand's meshes
        for address in [*outside_addresses(), "::1"]:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family) as probe, pytest.raises(OSError):  # noqa: PT011
                probe.connect((address, port))
        assert viewer.is_running()
    assert not viewer.is_running()
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(viewer.url, timeout=2)
    viewer.close()


def test_what_is_shown_reaches_the_browsers_side() -> None:
    server = ViewerServer("block", "gymnasium_robotics", port=0)
    try:
        server.show(np.concatenate((HOLDING, GOAL)))
        until = time.monotonic() + 10
        while server.viewer.data.qpos[NUM_JOINTS] != HOLDING[NUM_JOINTS] and time.monotonic() < until:
            time.sleep(0.02)
        np.testing.assert_allclose(server.viewer.data.qpos, HOLDING)
        np.testing.assert_allclose(server.viewer.data.mocap_quat[0], GOAL)
        to_object = server.viewer.camera.lookat - np.array(START_POSITION)
        assert np.linalg.norm(to_object) < 0.2
    finally:
        server.close()


def test_trials_survive_a_viewer_that_dies() -> None:
    viewer = LiveViewer("block")
    viewer._process.kill()
    viewer._process.join()
    viewer.show(HOLDING, GOAL)
    assert not viewer.is_running()
    viewer.close()


def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ViewerError, match=str(port)):
            LiveViewer("block", port=port)
