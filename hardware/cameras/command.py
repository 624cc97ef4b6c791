"""``python -m hardware cameras``: what is connected, how well it works, and one picture to look at."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dactyl_tl.bundle import BundleError
from dactyl_tl.contract import CAMERAS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators.bundles import PoseEstimator, load_estimator
from hardware.cameras.basler import BaslerCameras
from hardware.cameras.devices import Connected, attach, connected, link
from hardware.cameras.frames import Cameras, Triple
from hardware.cameras.seeing import check_estimator, estimator_pictures
from hardware.cameras.settings import CameraSettings, read_settings, write_settings
from hardware.cameras.sheet import contact_sheet
from hardware.errors import HardwareError

LOOK_SECONDS = 0.002
"""Between two looks for a triple: what the ages that are told are too large by, at most."""

SILENCE_SECONDS = 10.0
"""Without a triple, when the command gives up."""

REPETITIONS = 15
"""Of what an estimator's time is measured with; the first take longer."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--settings", type=Path, metavar="FILE", help="JSON; default: what is connected")
    parser.add_argument("--twin", metavar="ADDRESS", help="take the frames of a twin's renderer instead")
    parser.add_argument("--triples", type=int, default=100, help="how many to take")
    parser.add_argument(
        "--sheet", type=Path, default=Path("cameras.png"), metavar="FILE", help="PNG to write"
    )
    parser.add_argument(
        "--write-settings", type=Path, metavar="FILE", help="write the settings used, as JSON"
    )
    parser.add_argument("--estimator", metavar="BUNDLE", help="see whether its pictures are such as these")


def run(options: argparse.Namespace) -> int:
    """Take pictures and tell about them.

    Raises:
        ConfigurationError: Settings or an estimator that cannot be used.
        HardwareError: Cameras are missing or deliver no triples.
    """
    if options.triples < 2:
        raise ConfigurationError(f"--triples={options.triples} must be at least 2")
    estimator = _estimator(options.estimator) if options.estimator else None
    cameras = _twin(options.twin) if options.twin else _basler(options)
    cameras.open()
    try:
        triple = _measure(cameras, options.triples)
    finally:
        cameras.close()
    Image.fromarray(contact_sheet(triple)).save(options.sheet)
    print(f"wrote {options.sheet}: look whether each camera stands where its name says")
    if estimator is not None:
        _estimate(estimator, triple)
    return 0


def _basler(options: argparse.Namespace) -> BaslerCameras:
    found = connected()
    print("connected:" if found else "no camera is connected")
    for camera in found:
        print(f"  {camera.kind:<14} {camera!s:<32} link: {_link(camera)}")
    if options.settings:
        settings = read_settings(options.settings)
    elif len(found) == len(CAMERAS):
        settings = CameraSettings({name: each.serial for name, each in zip(CAMERAS, found, strict=True)})
        print("no --settings: cameras are named in the order of their serial numbers, which is a guess")
    else:
        raise HardwareError(f"{len(found)} cameras are connected, which of them is which? Give --settings")
    for name in CAMERAS:
        print(f"  {name:<14} {settings.cameras[name]}")
    if options.write_settings:
        write_settings(options.write_settings, settings)
        print(f"wrote {options.write_settings}")
    return BaslerCameras(settings)


def _twin(address: str) -> Cameras:
    from hardware.twin.cameras import TwinCameras  # brings the renderer with it

    return TwinCameras(address)


def _link(camera: Connected) -> str:
    try:
        device = attach(camera)
    except HardwareError as error:
        return f"({error})"
    speed = link(device)
    device.Close()
    return speed


def _measure(cameras: Cameras, count: int) -> Triple:
    """Take ``count`` triples and print what they are like; the last one.

    Raises:
        HardwareError: They stay away.
    """
    times: list[int] = []
    spreads: list[int] = []
    ages: list[int] = []
    last: Triple | None = None
    heard = time.monotonic()
    while last is None or len(times) < count:
        now = time.monotonic_ns()
        triple, reason = cameras.latest(now)
        if triple is not None and triple is not last:
            last, heard = triple, time.monotonic()
            times.append(triple.time_ns)
            spreads.append(triple.spread_ns)
            ages.append(now - triple.time_ns)
        elif time.monotonic() - heard > SILENCE_SECONDS:
            raise HardwareError(f"no pictures for {SILENCE_SECONDS:.0f} s: {reason}")
        time.sleep(LOOK_SECONDS)
    print(f"{count} triples, {(count - 1) / (times[-1] - times[0]) * 1e9:.1f} a second")
    print(f"  time between a triple's pictures: {_spread(spreads)}")
    print(f"  age when first seen:              {_spread(ages)}")
    report = cameras.report()
    for name in CAMERAS:
        dropped = ", ".join(f"{number} {reason}" for reason, number in report.dropped[name].items())
        print(f"  {name:<14} {report.taken[name]} frames taken; dropped: {dropped or 'none'}")
    return last


def _spread(values_ns: Sequence[int]) -> str:
    middle, most, greatest = np.percentile(values_ns, (50, 99, 100)) / 1e6
    return f"median {middle:.2f} ms, 99 % {most:.2f} ms, greatest {greatest:.2f} ms"


def _estimator(bundle: str) -> PoseEstimator:
    """Raises ConfigurationError: There is none, or it learnt from other pictures."""
    try:
        estimator = load_estimator(bundle)
    except (BundleError, OSError) as error:
        raise ConfigurationError(f"--estimator: {error}") from error
    check_estimator(estimator)
    return estimator


def _estimate(estimator: PoseEstimator, triple: Triple) -> None:
    took = []
    for _ in range(REPETITIONS):
        begun = time.perf_counter()
        pictures = estimator_pictures(triple)
        cropped = time.perf_counter()
        position, orientation = estimator(pictures)
        took.append((cropped - begun, time.perf_counter() - cropped))
    crop, estimate = 1e3 * np.median(took, axis=0)
    with np.printoptions(precision=4, suppress=True):
        print(f"object at {position[0].numpy()} m, turned {orientation[0].numpy()} (hand-base frame, wxyz)")
    print(f"crop {crop:.1f} ms, estimate {estimate:.1f} ms, median of {REPETITIONS}")
