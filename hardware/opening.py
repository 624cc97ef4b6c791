"""Puts a laboratory together: from the settings of an evaluation to a world in which trials run."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from dactyl_tl.errors import ConfigurationError
from dactyl_tl.trials import Commission
from hardware.cameras.basler import BaslerCameras
from hardware.cameras.frames import Cameras
from hardware.cameras.settings import read_settings
from hardware.capture.rig import Rig, load_rig
from hardware.capture.sources import open_source
from hardware.capture.tracker import Tracker
from hardware.client import HandClient, Link
from hardware.goal_display import GoalDisplay
from hardware.operators import Operator, TerminalOperator
from hardware.pedal import Pedal
from hardware.records.trial_record import present_versions
from hardware.senses import CameraSenses, MarkerSenses, Senses
from hardware.session import go_ahead
from hardware.settings import HardwareSettings, read_hardware
from hardware.world import Action, HandWorld, Safety

LOGS, RECORDS = "logs", "records"
"""Directories of a campaign's output."""

RECORDED_VERSIONS = ("dactyl_tl", "tensordict", "numpy", "mujoco", "pyzmq")


def open_world(commission: Commission) -> HandWorld:
    """A hand, real or simulated, that is ready for trials.

    Raises:
        ConfigurationError: A setting cannot be used.
        HardwareError: Something cannot be reached.
    """
    settings = read_hardware(commission.hardware)
    pedal = Pedal(settings.dead_man) if settings.dead_man else None
    parts: tuple[Link, Senses, Operator]
    with ExitStack() as stack:
        if pedal:
            stack.callback(pedal.close)
        display = None
        if settings.display:
            display = GoalDisplay(commission.faces, settings.display_host, settings.display_port)
            stack.callback(display.close)
        if settings.launch:
            from hardware.twin.opening import open_laboratory

            parts = open_laboratory(commission, settings, stack)
        else:
            parts = _open_real(commission, settings)
        link, senses, operator = parts
        stack.callback(senses.close)
        stack.callback(operator.close)
        client = HandClient(link, pedal) if pedal else HandClient(link)
        stack.callback(client.close)
        client.connect()
        if display:
            print(f"goal display: {display.url}", flush=True)
        return HandWorld(
            client,
            senses,
            operator,
            commission.output / RECORDS,
            {name: Action(**how) for name, how in commission.actions.items()},
            goals=commission.goals,
            safety=Safety(settings.velocity, settings.force),
            start=settings.starting_pose,
            display=display,
            pictures=settings.pictures,
            about=_about(commission, settings),
            resources=stack.pop_all(),
        )


def _open_real(commission: Commission, settings: HardwareSettings) -> tuple[Link, Senses, Operator]:
    assert settings.requests
    assert settings.conditions
    assert settings.capture
    assert settings.rig
    link = Link(settings.requests, settings.conditions, settings.client_keys)
    cameras = BaslerCameras(read_settings(settings.cameras)) if settings.cameras else None
    return link, see(commission, settings.capture, load_rig(settings.rig), cameras), TerminalOperator()


def see(commission: Commission, capture: str, rig: Rig, cameras: Cameras | None) -> Senses:
    """What looks at hand and object: markers, and cameras if the commission has an estimator.

    From then on this process goes ahead of other programs, where that is permitted.

    Raises:
        ConfigurationError: It needs cameras, or markers on the object, and there are none.
        HardwareError: A system cannot be reached.
    """
    if commission.estimator is None and not rig.object_markers:
        raise ConfigurationError(
            "observation=state needs markers on the object, and the rig has none: python -m hardware "
            "calibrate markers, or observation=vision"
        )
    if commission.estimator is not None and cameras is None:
        raise ConfigurationError("observation=vision needs hardware.cameras, a file of their settings")
    # Before any thread that listens is started, so that it inherits the priority.
    go_ahead()
    torch.set_num_threads(1)
    markers = MarkerSenses(open_source(capture), Tracker(rig))
    if commission.estimator is None or cameras is None:
        return markers
    return CameraSenses(markers, cameras, commission.estimator)


def _about(commission: Commission, settings: HardwareSettings) -> dict[str, Any]:
    return {
        "task": commission.task,
        "bundles": dict(commission.bundles),
        "hardware": asdict(settings),
        "limits": asdict(commission.limits),
        "versions": present_versions() | {name: version(name) for name in RECORDED_VERSIONS},
    }
