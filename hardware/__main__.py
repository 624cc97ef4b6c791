"""``python -m hardware COMMAND``: what a lab does with a hand besides trials, which are ``evaluate.py``'s."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NamedTuple

from dactyl_tl.errors import FAILED, UNUSABLE, ConfigurationError
from hardware.errors import HardwareError
from hardware.lowlevel.sockets import KeyFileError


class Command(NamedTuple):
    """A command: a module with ``configure(parser)`` and ``run(arguments) -> exit code``."""

    module: str
    summary: str


COMMANDS: Mapping[str, Command | Mapping[str, Command]] = {
    "doctor": Command("hardware.doctor", "check everything that can be checked before the hand is armed"),
    "keygen": Command("hardware.keygen", "make keys for the machines that may command the hand"),
    "pack": Command("hardware.packing", "make the one file that runs beside the hand"),
    "jog": Command("hardware.jogging", "move one joint a little, to see that its sign is right"),
    "cameras": Command("hardware.cameras.command", "see which cameras are connected, and try them"),
    "calibrate": {
        "joints": Command("hardware.calibration.joint_sensors_command", "fit the joint sensors"),
        "cameras": Command("hardware.calibration.extrinsics_command", "measure where the cameras stand"),
        "markers": Command("hardware.capture.markers_command", "find which marker is what, by wiggling"),
        "base": Command("hardware.capture.base_command", "measure where the hand's base stands"),
    },
    "record": {
        "joints": Command("hardware.calibration.record_joints_command", "play and record the joints' poses"),
    },
    "twin": Command("hardware.twin.command", "run the simulated laboratory"),
    "replay": Command("hardware.records.replay_command", "compute a record's actions anew"),
    "report": Command("hardware.records.report_command", "draw up what a campaign's records say"),
}
"""By name; a mapping is a command with subcommands. A module is imported when its command is asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what a person can put right is said in one line.

    Returns:
        The exit code: the command's own, 2 for a setting that cannot be used, 3 for hardware that fails.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m hardware", description=__doc__)
    _offer(parser, COMMANDS, given)
    chosen = parser.parse_args(given)
    try:
        return int(chosen.run(chosen))
    except (ConfigurationError, KeyFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    except HardwareError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130


def _offer(
    parser: argparse.ArgumentParser, commands: Mapping[str, Command | Mapping[str, Command]], given: list[str]
) -> None:
    choices = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in commands.items():
        if not isinstance(command, Command):
            _offer(choices.add_parser(name, help=", ".join(command)), command, given)
            continue
        own = choices.add_parser(name, help=command.summary, description=command.summary)
        if name in given:
            module = import_module(command.module)
            module.configure(own)
            own.set_defaults(run=module.run)


if __name__ == "__main__":
    sys.exit(main())
