"""Connect to a Ray cluster, or start one on this machine that nobody else can reach.

Ray reads its settings from the environment when it is imported, which TorchRL does: they have to be there
before the process that talks to Ray (:mod:`~dactyl_tl.collection.broker`) begins.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dactyl_tl.errors import CollectionError, ConfigurationError

AUTO = "auto"
"""The cluster whose head or node runs on this machine."""

HEAD_TIMEOUT = 10
"""s without an answer after which the head counts as lost; Ray then ends the process that waits for it."""


class UnreachableError(CollectionError):
    """No cluster answers at the address; one may later."""


def environment(address: str | None) -> dict[str, str]:
    """Environment variables for the process that talks to Ray; what the user has set stays.

    A cluster of our own listens on the loopback interface only and takes a token drawn for it. With
    others Ray's token authentication is asked for; the token itself is where Ray looks for it.
    """
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(HEAD_TIMEOUT),
        # A stopped head keeps its connections: ask it now and then whether it still answers.
        "RAY_grpc_client_keepalive_time_ms": str(1000 * HEAD_TIMEOUT),
        "RAY_grpc_client_keepalive_timeout_ms": str(1000 * HEAD_TIMEOUT),
    }
    chosen = {name: os.environ.get(name, value) for name, value in defaults.items()}
    if address is not None:
        return chosen
    return chosen | {
        # Ray's own switch for machines that are no cluster: every service binds 127.0.0.1.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_worker_niceness": "0",  # actors are what the machine is for
    }


@contextmanager
def exported(variables: Mapping[str, str]) -> Iterator[None]:
    """For processes started here."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def init_arguments(address: str | None, cpus: float, gpus: float) -> dict[str, Any]:
    """Arguments of ``ray.init``.

    Args:
        address: of a running cluster, :data:`AUTO`, or None for one of our own.
        cpus: of a cluster of our own.
        gpus: of a cluster of our own.
    """
    quiet = {"configure_logging": False, "log_to_driver": False}
    if address is not None:
        return quiet | {"address": address}
    return quiet | {
        "address": "local",
        "num_cpus": cpus,
        "num_gpus": math.ceil(gpus),
        "include_dashboard": False,
    }


def check_gpus(address: str | None, gpus: float) -> None:
    """Refuse to wait for GPUs that a cluster of our own can never have.

    Raises:
        ConfigurationError: this machine has fewer.
    """
    here = torch.cuda.device_count()
    if address is None and gpus > here:
        raise ConfigurationError(
            f"collection.gpus asks for {gpus:g} GPUs for all workers together, and this machine has {here}; "
            "ask for a smaller share, or name a cluster that has them with collection.address"
        )


def check_reachable(address: str | None) -> None:
    """Find out in seconds what ``ray.init`` finds out in minutes.

    Raises:
        UnreachableError: nobody listens there, or the token is missing.
    """
    if address is None:
        return
    if os.environ["RAY_AUTH_MODE"] != "token":
        warnings.warn(
            f"RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']}: whoever reaches the cluster's ports can run "
            "programs on its machines",
            stacklevel=2,
        )
    elif not _has_token():
        raise UnreachableError(
            f"collection.address={address} needs the cluster's token: copy the head's ~/.ray/auth_token "
            "here, or set RAY_AUTH_TOKEN_PATH"
        )
    if address == AUTO:
        return
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=HEAD_TIMEOUT):
            pass
    except OSError as error:
        raise UnreachableError(f"no Ray head answers at collection.address={address}: {error}") from error


def _has_token() -> bool:
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
    return Path(path).is_file()
