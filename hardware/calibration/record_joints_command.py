"""``python -m hardware record joints FILE``: plays the pose script on a hand and records it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from dactyl_tl.contract import FINGERS
from dactyl_tl.errors import ConfigurationError
from hardware.calibration.joint_sensors_poses import POSES, PoseStep, pose_script
from hardware.calibration.joint_sensors_recording import SPEED, Sample, record_poses
from hardware.calibration.live import LiveHand
from hardware.calibration.recording import JointRecording, save_recording
from hardware.capture.frames import Source
from hardware.capture.tracker import Tracker
from hardware.client import HandClient
from hardware.configuration import add_laboratory, laboratory_settings
from hardware.lowlevel.joints import JOINTS
from hardware.pose import take_pose
from hardware.session import open_session

SENSORS = tuple(f"angle:{joint.name}" for joint in JOINTS)
"""The driver's angles: no interface that the controller speaks gives raw readings."""


class Sampler:
    """Measures joints and fingertips at once.

    Args:
        client: of the hand.
        source, tracker: of the fingertips.
    """

    def __init__(self, client: HandClient, source: Source, tracker: Tracker) -> None:
        self._client, self._source, self._tracker = client, source, tracker

    def pump(self) -> None:
        """Take in what motion capture has sent."""
        self._tracker.update(self._source.poll(), time.monotonic_ns())

    def __call__(self) -> Sample:
        """A sample; a fingertip whose last place is repeated is not valid."""
        angles = np.array(self._client.condition().angles)
        now = time.monotonic_ns()
        reading = self._tracker.update(self._source.poll(), now)
        seen = [finger not in (*reading.held, *reading.lost) for finger in FINGERS]
        if reading.fingertips is None or "base" in reading.lost:
            return Sample(now, angles, np.zeros((len(FINGERS), 3)), np.zeros(len(FINGERS), dtype=bool))
        return Sample(now, angles, reading.fingertips, np.array(seen))


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("output", type=Path, help="file to write, .npz or .jsonl")
    parser.add_argument("--poses", type=int, default=POSES, help="how many (%(default)s)")
    parser.add_argument("--force", type=float, default=0.5, help="the servos' greatest, 0..1 (%(default)s)")
    add_laboratory(parser)


def run(arguments: argparse.Namespace) -> int:
    """Play, record, let go, write."""
    if arguments.output.suffix not in (".npz", ".jsonl"):
        raise ConfigurationError(f"{arguments.output} must end in .npz or .jsonl")
    settings = laboratory_settings(arguments.overrides)
    steps = pose_script(arguments.poses)
    print(f"{arguments.poses} poses. The hand must be empty and free.")
    with open_session(settings) as (client, place):
        tracker, source = Tracker(place.load_rig()), place.open_capture()
        try:
            recording = play(client, source, tracker, steps, arguments.force)
        finally:
            source.close()
    save_recording(arguments.output, recording)
    print(f"wrote {arguments.output}: {len(recording.time_ns)} rows")
    return 0


def play(
    client: HandClient, source: Source, tracker: Tracker, steps: Sequence[PoseStep], force: float
) -> JointRecording:
    """The recording of ``steps``, see :func:`~hardware.calibration.joint_sensors_poses.pose_script`."""
    client.await_well()
    client.arm(2.0 * SPEED, force)
    start = take_pose(client, (0.0,) * 20)
    source.poll()  # what has piled up would take longer than the hand waits
    sampler = Sampler(client, source, tracker)
    hand = LiveHand(client, sampler.pump)
    return record_poses(
        list(track(steps, "poses")), SENSORS, start=start, send=hand.send,
        sample=sampler, wait=hand.wait,
    )  # fmt: skip
