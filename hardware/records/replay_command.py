"""``python -m hardware replay``: whether a trial's actions come out once more, bit for bit."""

from __future__ import annotations

import argparse
from pathlib import Path

from dactyl_tl.errors import UNUSABLE, ConfigurationError
from hardware.errors import HardwareError
from hardware.records.replay import COMPARED_VERSIONS, Replay, load_recorded_policy, replay_trial
from hardware.records.trial_record import TrialRecord, find_records, present_versions, read_trial

DIFFERENT = 1
"""Exit code: something came out otherwise than it was recorded."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "path", type=Path, metavar="RECORD|DIRECTORY", help="a record, or a campaign's directory"
    )
    parser.add_argument("--policy", help="bundle or checkpoint to take instead of the recorded path")


def run(arguments: argparse.Namespace) -> int:
    """Replay one record or many.

    Returns:
        0 if everything came out as recorded, 1 if something did not, 2 if some record cannot be replayed.
    """
    now = present_versions()
    print("here: " + ", ".join(f"{name} {now[name]}" for name in COMPARED_VERSIONS))
    code = 0
    for path in find_records(arguments.path):
        try:
            record = read_trial(path)
            policy, which = load_recorded_policy(record, arguments.policy)
        except (ConfigurationError, HardwareError) as error:
            print(f"{path.name}\n  NOT REPLAYED: {error}")
            code = code or UNUSABLE
            continue
        replay = replay_trial(record, policy)
        print("\n  ".join((path.name, which, *_words(record, replay))))
        code = code if replay.equal else DIFFERENT
    return code


def _words(record: TrialRecord, replay: Replay) -> list[str]:
    lines = []
    if record.trial.get("versions"):
        then = record.trial["versions"]
        lines.append("recorded with " + ", ".join(f"{name} {then.get(name)}" for name in COMPARED_VERSIONS))
    lines += replay.remarks
    if replay.differing:
        lines.append(f"DIFFERENT: {replay.first}; {replay.differing} of {replay.actions} actions differ")
    elif replay.first:
        lines.append(f"DIFFERENT: {replay.first}")
    else:
        lines.append(f"all {replay.actions} actions are equal")
    if replay.derived:
        lines.append(f"INCONSISTENT: {replay.derived}")
    else:
        lines.append("goals, achievements, the view of the goal and what was sent follow from the record")
    return lines
