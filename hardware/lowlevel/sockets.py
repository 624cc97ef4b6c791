"""ZeroMQ sockets: plain on loopback, CURVE with an allow-list everywhere else.

``NAME.key`` holds a public key and ``NAME.key_secret`` a pair; an allow-list is a directory of the public
keys of those who may connect.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from contextlib import suppress
from typing import NamedTuple

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

DOMAIN = "hand"
"""Of ZeroMQ's authentication."""

HEARTBEAT = 50
"""ms between two of ZeroMQ's own heartbeats; a peer that leaves four unanswered is disconnected."""

LARGEST = 64 * 1024
"""Bytes of a frame; who sends a larger one is disconnected before it is in memory."""

PUBLIC, SECRET = ".key", ".key_secret"
"""How the files of keys end."""

LOOSE = stat.S_IRWXG | stat.S_IRWXO

_KEY = re.compile(rb"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_NAME = re.compile(r"[0-9a-zA-Z_-]+")


class KeyFileError(RuntimeError):
    """A key cannot be used; the text says which file and why."""


class Keys(NamedTuple):
    """Files of keys.

    Attributes:
        mine: of this end, a pair.
        theirs: the other end's public key, or where this end is the server, a directory of them.
    """

    mine: str
    theirs: str


def is_local(address: str) -> bool:
    """Whether nobody can reach an address from another machine; in doubt it is not local."""
    transport, _, rest = address.partition("://")
    if transport in ("ipc", "inproc"):
        return True
    if transport != "tcp":
        return False
    host = rest.rpartition(":")[0]
    if host == "localhost":
        return True
    with suppress(ValueError):  # a name, an interface, "source;destination"
        return ipaddress.ip_address(host[1:-1] if host.startswith("[") else host).is_loopback
    return False


def check_secured(address: str, keys: Keys | None) -> None:
    """See that an address is used with keys where others can reach it.

    Raises:
        KeyFileError: it is not.
    """
    if keys is None and not is_local(address):
        raise KeyFileError(
            f"{address} can be reached from other machines: name keys (python -m hardware keygen), "
            "or use 127.0.0.1"
        )


def make_keys(directory: str, name: str) -> tuple[str, str]:
    """Draw a pair of keys and write it to ``NAME.key`` and ``NAME.key_secret``; nothing is overwritten.

    Returns:
        The paths of the public key and of the pair, which nobody else may read from its first moment on.

    Raises:
        KeyFileError: one of the files exists or cannot be written, or it is no name for a file.
    """
    if not _NAME.fullmatch(name):
        raise KeyFileError(f"{name!r} is no name for keys: letters, digits, - and _ alone")
    public, secret = (key.decode() for key in zmq.curve_keypair())
    path = os.path.join(directory, name)
    lines = f'# CURVE key of "{name}"\nmetadata\ncurve\n    public-key = "{public}"\n'
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _create(path + PUBLIC, lines, 0o644)
        try:
            _create(path + SECRET, lines + f'    secret-key = "{secret}"\n', 0o600)
        except OSError:
            os.unlink(path + PUBLIC)  # of no use alone, and in the way
            raise
    except OSError as error:
        raise KeyFileError(f"cannot make keys: {error}") from None
    return path + PUBLIC, path + SECRET


def _create(path: str, text: str, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as file:
        file.write(text)


def load_pair(path: str) -> tuple[bytes, bytes]:
    """The public and the secret key of a file that nobody else may read.

    Raises:
        KeyFileError: there is none, others may read it, or it is something else.
    """
    mode = _mode(path)
    if mode & LOOSE:
        raise KeyFileError(
            f"others may read {path} (mode {stat.S_IMODE(mode):o}): chmod 600 {path}, and make new keys "
            "if they could have"
        )
    public, secret = _load(path)
    if secret is None:
        raise KeyFileError(f"{path} holds no secret key")
    if zmq.curve_public(secret) != public:
        raise KeyFileError(f"the public key in {path} is not that of its secret key")
    return public, secret


def load_public(path: str) -> bytes:
    """The public key of a file.

    Raises:
        KeyFileError: there is none, or the secret one with it: only its owner has that.
    """
    _mode(path)
    public, secret = _load(path)
    if secret is not None:
        raise KeyFileError(f"{path} holds a secret key: give its {PUBLIC} file to others, never this one")
    return public


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError as error:
        raise KeyFileError(f"cannot read the key {path}: {error.strerror}") from None


def _load(path: str) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{path} is no key: {error}") from None
    for key in (public, secret):
        if key is not None and not _KEY.fullmatch(key):
            raise KeyFileError(f"{path} is no key: a key has 40 characters of Z85, not {len(key)}")
    return public, secret


def prepare(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """Options of every socket: no lingering, heartbeats, no queue for a peer that is gone, no huge frames."""
    socket.linger = 0
    socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 4 * HEARTBEAT)
    socket.setsockopt(zmq.HEARTBEAT_TTL, 4 * HEARTBEAT)
    return socket


def newest(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """Have a SUB socket hold every message's latest alone; before :func:`join`."""
    socket.setsockopt(zmq.CONFLATE, 1)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    return socket


def guard(context: zmq.Context[zmq.Socket[bytes]], keys: Keys) -> ThreadAuthenticator:
    """Let in only those whose public key is in the directory ``keys.theirs``; stop it after the sockets.

    Raises:
        KeyFileError: the directory is missing or empty.
    """
    allowed = [name for name in _names(keys.theirs) if name.endswith(PUBLIC)]
    if not allowed:
        raise KeyFileError(f"nobody is allowed: there are no public keys (*{PUBLIC}) in {keys.theirs}")
    for name in allowed:
        load_public(os.path.join(keys.theirs, name))
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve(domain=DOMAIN, location=keys.theirs)
    return authenticator


def _names(directory: str) -> tuple[str, ...]:
    try:
        return tuple(os.listdir(directory))
    except OSError as error:
        raise KeyFileError(f"cannot read the allowed keys in {directory}: {error.strerror}") from None


def serve(socket: zmq.Socket[bytes], address: str, keys: Keys | None) -> zmq.Socket[bytes]:
    """Bind ``socket``; with keys, to those alone that :func:`guard` lets in.

    Raises:
        KeyFileError: see :func:`check_secured` and :func:`load_pair`.
    """
    check_secured(address, keys)
    prepare(socket)
    if keys is not None:
        socket.curve_publickey, socket.curve_secretkey = load_pair(keys.mine)
        socket.curve_server = True
        socket.zap_domain = DOMAIN.encode()
        # Without this, whoever knows the server's public key is let in while nobody guards.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.bind(address)
    return socket


def join(socket: zmq.Socket[bytes], address: str, keys: Keys | None) -> zmq.Socket[bytes]:
    """Connect ``socket``; with keys, to the server that has them alone.

    Raises:
        KeyFileError: see :func:`check_secured` and :func:`load_pair`.
    """
    check_secured(address, keys)
    prepare(socket)
    if keys is not None:
        socket.curve_publickey, socket.curve_secretkey = load_pair(keys.mine)
        socket.curve_serverkey = load_public(keys.theirs)
    socket.connect(address)
    return socket
