"""``python -m hardware doctor``: everything that can be checked before a hand is armed, and what to do."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from dactyl_tl.checkpoint import load_policy, read_environment
from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators.bundles import load_estimator
from hardware.cameras.basler import BaslerCameras
from hardware.cameras.seeing import check_estimator
from hardware.cameras.settings import read_settings
from hardware.capture.rig import Rig, load_rig
from hardware.capture.tracker import Tracker
from hardware.client import HandClient
from hardware.configuration import add_laboratory, laboratory_settings
from hardware.errors import HardwareError
from hardware.lowlevel.joints import JOINTS, table_hash, vendor_range
from hardware.lowlevel.realtime import LOCKED, SCHEDULED
from hardware.lowlevel.safety import HOTTEST
from hardware.lowlevel.sockets import KeyFileError, load_pair, load_public
from hardware.lowlevel.wire import Reason, State
from hardware.pedal import Pedal
from hardware.records.mcap_file import RESERVE
from hardware.session import Place, go_ahead, open_place, step_back
from hardware.settings import HardwareSettings

ROUND_TRIPS = 200
SLOW = 10.0
"""ms that a question may take to be answered, in the 99th percentile."""

WATCHED = 2.0
"""s for which conditions, markers and cameras are watched."""

SLACK = 0.1
"""rad by which a joint may be measured beyond the vendor's limits."""

WARM = HOTTEST - 15.0
"""Degrees Celsius at which a motor is nearly too hot."""

MISSED = 0.001
"""Share of ticks that may be late by a tick."""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        what: Was checked.
        good: Whether it is as it should be.
        said: What was found, and if it is not good, what to do.
    """

    what: str
    good: bool
    said: str


def examine(settings: HardwareSettings, policies: Sequence[str], pose: str | None) -> Iterator[Finding]:
    """Check, from what costs nothing to what needs the laboratory; stops where the rest cannot be checked."""
    yield _check("disk", lambda: _disk(Path.cwd()))
    for policy in policies:
        yield _check(f"policy {policy}", partial(_policy, policy))
    yield from _files(settings, pose)
    try:
        with open_place(settings) as place:
            yield from _laboratory(settings, place)
    except (ConfigurationError, HardwareError, KeyFileError) as error:
        yield Finding("laboratory", False, str(error))


def _files(settings: HardwareSettings, pose: str | None) -> Iterator[Finding]:
    if settings.keys and settings.controller_key:
        mine, theirs = settings.keys, settings.controller_key
        yield _check("keys", lambda: _keys(mine, theirs))
    if settings.rig:
        rig = settings.rig
        yield _check("rig", lambda: _rig(load_rig(rig)))
    if pose:
        yield _check(f"estimator {pose}", lambda: _estimator(pose))
    if settings.dead_man:
        device = settings.dead_man
        yield _check("pedal", lambda: _pedal(device))
    if settings.cameras:
        cameras = settings.cameras
        yield _check("cameras", lambda: _cameras(cameras))


def _laboratory(settings: HardwareSettings, place: Place) -> Iterator[Finding]:
    go_ahead()  # as in trials, so that times are those of trials
    client = HandClient(place.link)
    try:
        reached = _check("controller", lambda: _controller(client))
        yield reached
        if reached.good:
            yield _check("joint table", lambda: _table(client))
            yield _check("real time", lambda: _realtime(client))
            yield _check("round trip", lambda: _round_trip(client))
            yield _check("conditions", lambda: _conditions(client))
            yield _check("joints", lambda: _joints(client))
            yield _check("temperature", lambda: _temperature(client))
            yield _check("well", lambda: _well(client))
    finally:
        client.close()
        step_back()
    if place.capture:
        yield _check("motion capture", lambda: _capture(place, bool(settings.cameras)))


def _check(what: str, test: Callable[[], str]) -> Finding:
    """A test returns what it found, or raises with what to do."""
    try:
        return Finding(what, True, test())
    except (ConfigurationError, HardwareError, KeyFileError, OSError, ValueError) as error:
        return Finding(what, False, str(error))


def _disk(directory: Path) -> str:
    free = shutil.disk_usage(directory).free
    if free < RESERVE:
        raise HardwareError(
            f"{free / 1e6:.0f} MB left; a trial's record needs {RESERVE / 1e6:.0f}: make room"
        )
    return f"{free / 1e9:.1f} GB free"


def _policy(name: str) -> str:
    try:
        load_policy(name)
    except FileNotFoundError as error:
        raise ConfigurationError(str(error)) from error
    actions = read_environment(name).get("actions") or {}
    return f"loads; {'relative' if actions.get('relative', True) else 'absolute'} targets"


def _keys(mine: str, theirs: str) -> str:
    load_pair(mine)
    load_public(theirs)
    return f"{mine} is yours alone"


def _rig(rig: Rig) -> str:
    calibrated = "base calibrated" if rig.reference_positions is not None else (
        "base never calibrated, so that nobody would notice that it moved: python -m hardware calibrate base"
    )  # fmt: skip
    return f"{len(rig.object_markers)} markers on the object; {calibrated}"


def _estimator(name: str) -> str:
    estimator = load_estimator(name)
    check_estimator(estimator)
    return f"loads; learnt to see the {estimator.task}"


def _pedal(device: str) -> str:
    pedal = Pedal(device)
    pedal.close()
    return f"{device} can be read; that it stops the hand is yours to try, with the hand armed and empty"


def _cameras(path: str) -> str:
    cameras = BaslerCameras(read_settings(path))
    try:
        cameras.open()
        deadline = time.monotonic() + WATCHED
        while time.monotonic() < deadline:
            found = cameras.latest(time.monotonic_ns())
            if found.triple is not None:
                return f"three pictures within {found.triple.spread_ns * 1e-6:.2f} ms"
            time.sleep(0.02)
        raise HardwareError(f"no three pictures of one instant: {found.reason}")
    finally:
        cameras.close()


def _controller(client: HandClient) -> str:
    state = State(client.connect().state)
    backend = client.info().backend.rstrip(b"\0").decode()
    if state is State.FAULT:
        raise HardwareError(f"backend {backend}, in fault: mend the cause; the next trial clears it")
    return f"backend {backend}, {state.name.lower()}"


def _table(client: HandClient) -> str:
    if client.info().table != table_hash():
        raise HardwareError("the controller has other joints or limits: pack and copy controller.pyz anew")
    return "the controller's is ours"


def _realtime(client: HandClient) -> str:
    info = client.info()
    lacking = [
        name
        for name, bit in (("SCHED_FIFO", SCHEDULED), ("locked memory", LOCKED))
        if not info.realtime & bit
    ]
    if info.ticks and info.missed > MISSED * info.ticks:
        raise HardwareError(
            f"{info.missed} of {info.ticks} ticks were late by a tick: end what else runs there"
            + (f", permit {' and '.join(lacking)} (ulimit -r 50 -l unlimited)" if lacking else "")
        )
    without = f", without {' and '.join(lacking)}" if lacking else ""
    return f"{info.missed} of {info.ticks} ticks late by a tick{without}"


def _round_trip(client: HandClient) -> str:
    times = []
    for _ in range(ROUND_TRIPS):
        began = time.monotonic_ns()
        client.info()
        times.append((time.monotonic_ns() - began) * 1e-6)
        time.sleep(0.005)
    median, worst = np.percentile(times, (50, 99))
    said = f"median {median:.2f} ms, 99 % {worst:.2f} ms"
    if worst > SLOW:
        raise HardwareError(f"{said}: use a cable of its own, not a wireless network")
    return said


def _conditions(client: HandClient) -> str:
    first, began = client.condition(), time.monotonic()
    time.sleep(WATCHED)
    rate = (client.condition().tick - first.tick) / (time.monotonic() - began)
    expected = 1e9 / client.info().period_ns
    if not 0.9 * expected < rate < 1.1 * expected:
        raise HardwareError(f"{rate:.0f} ticks a second instead of {expected:.0f}: is the machine too slow?")
    return f"{rate:.0f} ticks a second"


def _joints(client: HandClient) -> str:
    angles = client.condition().angles
    if not np.isfinite(angles).all():
        unknown = [joint.name for joint, angle in zip(JOINTS, angles, strict=True) if not np.isfinite(angle)]
        raise HardwareError(f"{', '.join(unknown)} not measured: is the driver up, and the side right?")
    beyond = []
    for joint, angle in zip(JOINTS, angles, strict=True):
        low, high = vendor_range(joint)
        if not low - SLACK <= angle <= high + SLACK:
            beyond.append(f"{joint.name} at {np.degrees(angle):.0f} degrees")
    if beyond:
        raise HardwareError(f"beyond the vendor's limits: {', '.join(beyond)}: calibrate the joint sensors")
    return "all 24 measured, within the vendor's limits"


def _temperature(client: HandClient) -> str:
    hottest = client.condition().temperature
    if np.isnan(hottest):
        return "not told by this backend; the hand's own protection is all there is"
    if hottest > WARM:
        raise HardwareError(
            f"the hottest motor has {hottest:.0f} degrees; it is let go at {HOTTEST:.0f}: wait"
        )
    return f"the hottest motor has {hottest:.0f} degrees"


def _well(client: HandClient) -> str:
    ailment = Reason(client.condition().ailment)
    if ailment is not Reason.NONE:
        words = ailment.name.lower().replace("_", " ")
        raise HardwareError(f"the controller would not arm the hand: {words}")
    return "nothing keeps the controller from arming the hand"


def _capture(place: Place, cameras: bool) -> str:
    tracker, source = Tracker(place.load_rig()), place.open_capture()
    try:
        frames, deadline = 0, time.monotonic() + WATCHED
        while time.monotonic() < deadline:
            arrived = source.poll()
            frames += len(arrived)
            reading = tracker.update(arrived, time.monotonic_ns())
            time.sleep(0.01)
    finally:
        source.close()
    missing = [name for name in reading.lost if not (cameras and name == "object")]
    if missing:
        raise HardwareError(
            f"not seen: {', '.join(missing)}: markers hidden, off, or other ids than the rig's"
        )
    if reading.base_moved:
        raise HardwareError(
            f"the hand's base stands {1000 * reading.base_shift:.1f} mm from where it was: "
            "python -m hardware calibrate base"
        )
    return f"{frames / WATCHED:.0f} frames a second, base fits to {1000 * reading.base_residual:.2f} mm"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--policy", action="append", default=[], help="a policy to be run; may be repeated")
    parser.add_argument("--pose", help="the pose estimator, for observation=vision")
    add_laboratory(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 if there is one that is not good."""
    print(f"Control period {1000 * CONTROL_PERIOD:.0f} ms. The hand is not armed by this command.")
    failed = 0
    for finding in examine(laboratory_settings(arguments.overrides), arguments.policy, arguments.pose):
        print(f"{'ok  ' if finding.good else 'FAIL'}  {finding.what:<16} {finding.said}", flush=True)
        failed += not finding.good
    print("Ready." if not failed else f"{failed} to mend before the hand is armed.")
    return 1 if failed else 0
