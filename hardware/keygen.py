"""Make the keys with which the machines of a hand know each other."""

from __future__ import annotations

import argparse

from dactyl_tl.errors import ConfigurationError
from hardware.lowlevel.sockets import PUBLIC, SECRET, KeyFileError, make_keys

EXPLANATION = f"""\
NAME{SECRET}: a pair, for the machine that is called NAME and no other; keep its mode (600).
NAME{PUBLIC}: the public key, for the machines that NAME talks to. Where NAME connects, it goes into the
    other's directory of those who may connect; where others connect to NAME, it tells them that it is NAME.
Make a pair on the machine that it is for, where you can: then only public keys travel."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Name the command's arguments."""
    parser.add_argument("directory", metavar="DIRECTORY", help="where the files go; made if there is none")
    parser.add_argument("names", metavar="NAME", nargs="+", help="of an end, such as controller or policy")


def run(arguments: argparse.Namespace) -> int:
    """Make a pair of keys for each name and say which file goes where.

    Raises:
        ConfigurationError: a file exists or cannot be written; those made before it stay.
    """
    for name in arguments.names:
        try:
            public, pair = make_keys(arguments.directory, name)
        except KeyFileError as error:
            raise ConfigurationError(str(error)) from None
        print(f"{pair}\n    stays with {name} alone\n{public}\n    goes to whoever talks to {name}")
    print(EXPLANATION)
    return 0
