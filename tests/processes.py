"""Look at processes and their sockets, in /proc."""

from __future__ import annotations

import ipaddress
import multiprocessing
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def wait(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait until ``condition`` holds; returns the seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.05)
    return time.monotonic() - began


def descendants(pid: int) -> set[int]:
    """Children of all threads of a process, and theirs."""
    found: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in map(int, children):
            found |= {child} | descendants(child)
    return found


def command(pid: int) -> str:
    path = Path(f"/proc/{pid}/cmdline")
    try:
        return path.read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_none_left(pids: set[int], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, [command(pid) for pid in left]
        time.sleep(0.05)


def free_port() -> int:
    """On which nobody listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def listening(pids: set[int]) -> set[tuple[str, int]]:
    """Addresses and ports of the TCP sockets that processes listen on."""
    inodes = {target.removeprefix("socket:[")[:-1] for pid in pids for target in _sockets(pid)}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, _, port = fields[1].partition(":")
                found.add((_address(address), int(port, 16)))
    return found


def cut_connections(port: int) -> bool:
    """Have the kernel abort all TCP connections to a local port; False where it does not do that."""
    if shutil.which("ss") is None:
        return False
    done = subprocess.run(
        ["ss", "-HK", "state", "established", f"( sport = :{port} or dport = :{port} )"],
        capture_output=True,
        text=True,
        check=False,
    )
    return bool(done.stdout.strip())


def _sockets(pid: int) -> list[str]:
    try:
        links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [link for link in links if link.startswith("socket:")]


def _address(digits: str) -> str:
    """The kernel's hexadecimal words, each in the machine's byte order, as people write them."""
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def kill_children() -> int:
    """Kill what :mod:`multiprocessing` started for this process; returns how many there were."""
    children = multiprocessing.active_children()
    for child in children:
        child.kill()
    return len(children)
