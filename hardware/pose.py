"""An armed hand to a pose, slowly."""

from __future__ import annotations

import time
from collections.abc import Sequence

from hardware.client import HandClient
from hardware.lowlevel.joints import SAFE

STEP = 0.05
"""rad of every jog."""

SPEED = 0.5
"""Of every servo, rad/s."""

NEAR = 1e-9
"""rad, of a target that has arrived."""


def take_pose(client: HandClient, targets: Sequence[float]) -> tuple[float, ...]:
    """Move all servos together, each as far as its range allows.

    Args:
        client: Of an armed hand.
        targets: Of the 20 servos, rad.

    Returns:
        Where they were sent, rad.

    Raises:
        HardwareError: The controller refuses, or is lost.
    """
    wanted = [min(max(target, low), high) for target, (low, high) in zip(targets, SAFE, strict=True)]
    goals = list(client.jog(0, 0.0).report.goals)
    due = time.monotonic_ns()
    while any(abs(target - goal) > NEAR for target, goal in zip(wanted, goals, strict=True)):
        for index, target in enumerate(wanted):
            step = min(max(target - goals[index], -STEP), STEP)
            if step:
                goals[index] = client.jog(index, step).report.goals[index]
        due += round(STEP / SPEED * 1e9)
        client.stay(due)
    return tuple(goals)
