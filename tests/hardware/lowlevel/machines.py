"""Safety machines, messages and headers that tests begin with, and what makes a hand well or not."""

import math

from hardware.lowlevel.joints import table_hash
from hardware.lowlevel.safety import Health, Machine
from hardware.lowlevel.wire import (
    BUCKETS,
    Alive,
    Arm,
    Ask,
    Clear,
    Command,
    Condition,
    Disarm,
    Header,
    Hold,
    Info,
    Jog,
    Mode,
    Reason,
    Report,
    State,
    Stop,
)

MS = 1_000_000
NOW = 100_000 * MS
OURS, STRANGER, NOBODY = 77, 78, 0
SEQUENCE = 40

MACHINES = {
    "disarmed": Machine(State.DISARMED, Reason.REQUESTED, NOW - 900 * MS),
    "armed": Machine(
        State.ARMED, Reason.NONE, NOW - 150 * MS, OURS, SEQUENCE, 0, NOW - 150 * MS, 0.5, 2.0
    ),
    "running": Machine(
        State.RUNNING, Reason.NONE, NOW - 3000 * MS, OURS, SEQUENCE, NOW - 150 * MS, NOW - 120 * MS, 0.5, 2.0
    ),
    "hold": Machine(
        State.HOLD, Reason.COMMANDS_CEASED, NOW - 250 * MS, OURS, SEQUENCE, NOW - 450 * MS, NOW - 120 * MS,
        0.5, 2.0,
    ),
    "relax": Machine(
        State.RELAX, Reason.REQUESTED, NOW - 125 * MS, force=0.5, fading_ns=NOW - 125 * MS
    ),
    "fading": Machine(
        State.FAULT, Reason.DEAD_MAN, NOW - 250 * MS, force=0.5, fading_ns=NOW - 250 * MS
    ),
    "faulted": Machine(
        State.FAULT, Reason.DEAD_MAN, NOW - 500 * MS, force=0.5, fading_ns=NOW - 500 * MS
    ),
    "stopped": Machine(State.FAULT, Reason.STOPPED, NOW - 500 * MS),
}  # fmt: skip
"""One machine in each state, none at a deadline; faults that can and cannot be cleared yet."""

MESSAGES = {
    "Command": Command(Mode.RELATIVE, 0.3, (0.2,) * 20),
    "Arm": Arm(table_hash(), 2.0, 0.5),
    "Disarm": Disarm(),
    "Hold": Hold(Reason.TRACKING_LOST),
    "Stop": Stop(),
    "Clear": Clear(),
    "Alive": Alive(),
    "Jog": Jog(19, -0.2),
    "Ask": Ask(0),
    "Condition": Condition(0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, (0.0,) * 24, (0.0,) * 24, (0.0,) * 20),
    "Report": Report(0, 0, 0, 0, 0, 0, 0, (0.0,) * 20),
    "Info": Info(table_hash(), b"", 0, 0, 0, 0, 0, 0, 0, (0,) * BUCKETS),
}

HEADER = {
    "fresh": Header(OURS, SEQUENCE + 1, 0, NOW - 10 * MS),
    "just": Header(OURS, SEQUENCE + 1, 0, NOW - 200 * MS),
    "asked for": Header(OURS, SEQUENCE + 1, 0, NOW - 100 * MS, ttl_ms=100),
    "stale": Header(OURS, SEQUENCE + 1, 0, NOW - 100 * MS - 1, ttl_ms=100),
    "future": Header(OURS, SEQUENCE + 1, 0, NOW + 1),
    "long ago": Header(OURS, SEQUENCE + 1, 0, NOW - 200 * MS - 1, ttl_ms=60000),
    "replayed": Header(OURS, SEQUENCE, 0, NOW - 10 * MS),
    "earlier": Header(OURS, 0, 0, NOW - 10 * MS),
    "stranger": Header(STRANGER, SEQUENCE + 1, 0, NOW - 10 * MS),
    "nobody": Header(NOBODY, SEQUENCE + 1, 0, NOW - 10 * MS),
}

HEALTHY = Health(NOW - 5 * MS, temperature=40.0)
AILMENTS = {
    Reason.BACKEND_FAILED: [HEALTHY._replace(reachable=False)],
    Reason.SENSORS_SILENT: [
        HEALTHY._replace(measured_ns=measured) for measured in (0, NOW - 100 * MS - 1, NOW + 100 * MS + 1)
    ],
    Reason.SENSORS_INVALID: [HEALTHY._replace(valid=False)],
    Reason.OVER_TEMPERATURE: [HEALTHY._replace(temperature=hot) for hot in (65.000001, 200.0, math.inf)],
    Reason.NOT_CALIBRATED: [HEALTHY._replace(calibrated=False)],
}
WELL = [
    HEALTHY,
    HEALTHY._replace(measured_ns=NOW - 100 * MS),
    HEALTHY._replace(measured_ns=NOW),
    HEALTHY._replace(temperature=65.0),
    HEALTHY._replace(temperature=math.nan),
]
