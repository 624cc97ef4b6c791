"""The simulated laboratory for an evaluation: started, looked at, ended."""

from __future__ import annotations

from contextlib import ExitStack

from dactyl_tl.trials import Commission
from hardware.cameras.frames import Cameras
from hardware.client import Link
from hardware.operators import TwinOperator
from hardware.senses import Senses
from hardware.settings import HardwareSettings
from hardware.twin.cameras import RendererProcess, TwinCameras
from hardware.twin.laboratory import Laboratory, Ports
from hardware.twin.markers import twin_rig


def open_laboratory(
    commission: Commission, settings: HardwareSettings, stack: ExitStack
) -> tuple[Link, Senses, TwinOperator]:
    """Start the processes; ``stack`` ends them.

    Raises:
        HardwareError: One of them does not start.
    """
    from hardware.opening import LOGS, see

    laboratory = Laboratory(
        Ports.free(),
        commission.output / LOGS,
        task=commission.task,
        hand=commission.hand,
        actions=next(iter(commission.actions.values())),
        backend=settings.backend,
    )
    stack.callback(laboratory.close)
    cameras: Cameras | None = None
    if commission.estimator is not None:
        pictures, faults = laboratory.ports.address("pictures"), laboratory.ports.address("camera_faults")
        look = commission.estimator.look
        renderer = RendererProcess(
            laboratory.ports.address("state"), pictures, faults, task=commission.task, look=look
        )
        stack.callback(renderer.stop)
        renderer.start()
        cameras = TwinCameras(pictures)
    senses = see(commission, laboratory.capture, twin_rig(), cameras)
    return laboratory.link, senses, laboratory.operator()
