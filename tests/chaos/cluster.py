"""Ray clusters of several nodes on this machine, started as docs/cluster.md says."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.processes import command, descendants, free_port, wait

RAY = Path(sys.executable).with_name("ray")
TOKEN = "for-tests-only"


class Node:
    """``ray start --block``, the head of a new cluster or a node of another.

    Args:
        head: address of the cluster to join, ``host:port``; None starts one.
        cpus: that actors may have here.
        address: of this node.
        port: of the head.
        prefix: of the command, as to enter a network namespace.
        again: start again whenever it ends, as a supervisor does.
    """

    def __init__(
        self,
        head: str | None = None,
        cpus: int = 0,
        address: str = "127.0.0.1",
        port: int = 0,
        prefix: Sequence[str] = (),
        again: bool = False,
    ) -> None:
        self.prefix = prefix
        self.folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # socket names must be short
        self.said = Path(self.folder) / "said.log"
        port = port or free_port()
        self.address = head or f"{address}:{port}"
        role = [f"--address={head}"] if head else ["--head", f"--port={port}", f"--temp-dir={self.folder}"]
        options = ["--include-dashboard=false"] if head is None else []
        words = [
            *(str(RAY), "start", *role, *options),
            *(f"--node-ip-address={address}", f"--num-cpus={cpus}", "--object-store-memory=200000000"),
            *("--disable-usage-stats", "--block"),
        ]
        loop = ["sh", "-c", 'while true; do "$@"; sleep 1; done', "again"] if again else []
        self.process = subprocess.Popen(
            [*prefix, *loop, *words],
            start_new_session=True,
            stdout=self.said.open("w"),
            stderr=subprocess.STDOUT,
            env=os.environ | environment(),
        )

    def find(self, name: str) -> list[int]:
        """Processes of this node whose command begins with ``name``, paths apart."""
        found = [pid for pid in descendants(self.process.pid) if name in command(pid).partition(" ")[0]]
        return sorted(found)

    def wait_until_up(self) -> None:
        wait(lambda: bool(self.find("raylet")) or self.process.poll() is not None)
        assert self.process.poll() is None, self.said.read_text()

    def signal(self, name: str, number: signal.Signals) -> None:
        pids = self.find(name)
        assert pids, f"no {name} on this node"
        for pid in pids:
            os.kill(pid, number)

    def close(self) -> None:
        """Kill everything that belongs to the node."""
        pids = descendants(self.process.pid) | {self.process.pid}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # Ray ends some of them itself
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def environment() -> dict[str, str]:
    """For every process that belongs to a test's cluster."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
        "RAY_worker_niceness": "0",
        # A node that is cut off is noticed in 6 s instead of 30.
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "2000",
        "RAY_health_check_failure_threshold": "3",
        # The silence of a stopped head is noticed in 6 s instead of 20; then Ray looks for it for 10.
        "RAY_grpc_client_keepalive_time_ms": "3000",
        "RAY_grpc_client_keepalive_timeout_ms": "3000",
        "OMP_NUM_THREADS": "1",
    }
