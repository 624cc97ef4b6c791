"""The low-level controller's command line: ``python3 controller.pyz --backend ros``.

Runs the controller as a child of a supervisor, which lets the hand go should the controller die.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
from typing import Sequence

import zmq

from hardware.lowlevel.backends import BACKENDS, Backend, open_hand
from hardware.lowlevel.controller import Controller
from hardware.lowlevel.hand import HandError
from hardware.lowlevel.lifeline import Lifeline
from hardware.lowlevel.realtime import LOCKED, SCHEDULED, end_with_parent, privileges
from hardware.lowlevel.sockets import KeyFileError, Keys, guard, serve
from hardware.lowlevel.supervisor import UNUSABLE, supervise
from hardware.lowlevel.wire import Reason

REQUESTS, CONDITIONS = "tcp://127.0.0.1:5751", "tcp://127.0.0.1:5752"
"""Where a controller listens and publishes unless told otherwise."""

ENDED, FAILED = 0, 3
"""Exit codes: asked to end, the hand cannot be reached; see also the supervisor's."""


def parser() -> argparse.ArgumentParser:
    """What can be said on the command line."""
    parser = argparse.ArgumentParser(prog="controller", description=__doc__)
    add = parser.add_argument
    add("--backend", choices=BACKENDS, required=True, help="what drives the hand")
    add("--requests", default=REQUESTS, help="address to listen at (%(default)s)")
    add("--conditions", default=CONDITIONS, help="address to publish at (%(default)s)")
    add("--keys", metavar="FILE", help="this end's key_secret file; needed off loopback")
    add("--allowed", metavar="DIRECTORY", help="public keys of those who may connect")
    defaults = Backend("")
    add("--side", choices=("rh", "lh"), default=defaults.side, help="right or left hand (%(default)s)")
    add("--topics", default=defaults.topics, help="where the twin publishes (%(default)s)")
    add("--commands", default=defaults.commands, help="where the twin listens (%(default)s)")
    add("--host", default=defaults.host, help="of the rosbridge server (%(default)s)")
    add("--port", type=int, default=defaults.port, help="of the rosbridge server (%(default)s)")
    add("--alone", action="store_true", help="without a supervisor, as for measurements")
    add("--with-parent", type=int, metavar="PROCESS", help="end when that process, which started this, ends")
    add("--lifeline", type=int, metavar="DESCRIPTOR", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Drive a hand until asked to end.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    backend = Backend(
        options.backend, options.side, options.topics, options.commands, options.host, options.port
    )
    if (options.keys is None) != (options.allowed is None):
        return _refuse("--keys and --allowed go together")
    keys = Keys(options.keys, options.allowed) if options.keys else None
    if options.with_parent is not None and options.lifeline is None:
        end_with_parent(options.with_parent)
    try:
        if options.alone or options.lifeline is not None:
            return _control(backend, options, keys)
        return supervise(backend, given)
    except (KeyFileError, zmq.ZMQError) as error:
        return _refuse(str(error))
    except HandError as error:
        return _refuse(str(error), FAILED)


def _control(backend: Backend, options: argparse.Namespace, keys: Keys | None) -> int:
    granted = privileges()  # first: what is made later inherits them
    with zmq.Context() as context:
        authenticator = guard(context, keys) if keys else None
        requests = serve(context.socket(zmq.ROUTER), options.requests, keys)
        conditions = serve(context.socket(zmq.PUB), options.conditions, keys)
        hand = open_hand(backend)
        _say(
            f"backend {backend.name}; SCHED_FIFO {'on' if granted & SCHEDULED else 'not permitted'}, "
            f"memory {'locked' if granted & LOCKED else 'not locked'}; requests at {options.requests}, "
            f"conditions at {options.conditions}, {'CURVE' if keys else 'plain, this machine only'}"
        )
        lifeline = None
        if options.lifeline is not None:
            lifeline = Lifeline(socket.socket(fileno=options.lifeline))
        controller = Controller(hand, requests, conditions, lifeline, granted)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: controller.end())
        reason = controller.run()
        hand.close()
        requests.close()
        conditions.close()
        if authenticator:
            authenticator.stop()
    _say(f"ended: {reason.name.lower().replace('_', ' ')}")
    return ENDED if reason is Reason.ENDING else FAILED


def _refuse(why: str, code: int = UNUSABLE) -> int:
    print(f"error: {why}", file=sys.stderr)
    return code


def _say(what: str) -> None:
    print(f"controller: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
