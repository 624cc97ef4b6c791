"""What processes that train together ask of each other; nothing where there is only one.

All of them ask the same questions in the same order, or they would wait for each other in vain.
Everything is gathered in the order of the ranks and reduced by each for itself, so that all get the
same bits.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from subprocess import Popen
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from dactyl_tl.errors import RankError
from dactyl_tl.processes import ended, ending, stopped

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""By the learner's device: what is in the host's memory always goes by gloo, which notices at once that a
connection is gone."""

MARGIN = 5.0
"""Seconds that ranks wait for each other longer than for their own workers, so that the one that lost a
worker is the one that says so."""

SETTLING = 8.0
"""Seconds that a process whose connections are gone may take to end, as one on a busy machine does; only
where it does not end is it the connection that is lost."""


@dataclass(frozen=True)
class Peer:
    """Where a rank runs."""

    host: str
    pid: int


_peers: list[Peer] = []
_children: dict[int, Popen[bytes]] = {}
_patience = 0.0
_apart = False


def world_size() -> int:
    """Number of processes that train together."""
    together = dist.is_available() and dist.is_initialized() and not _apart
    return dist.get_world_size() if together else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def mean_of_ranks(value: Tensor) -> Tensor:
    """The mean of every rank's ``value``."""
    return of_all_ranks(value).mean(0)


def of_all_ranks(value: Tensor) -> Tensor:
    """``value`` of every rank, which has one shape on all, ``[ranks, ...]``, where ``value`` is."""
    if world_size() == 1:
        return value.unsqueeze(0)
    # A group without gloo, as other strategies of Lightning's make it, takes what is on a GPU only.
    sent = value.cuda() if dist.get_backend() == "nccl" else value
    gathered = [torch.empty_like(sent) for _ in range(world_size())]
    dist.all_gather(gathered, sent.contiguous())
    return torch.stack(gathered).to(value.device)


def objects_of_all_ranks(value: Any) -> list[Any]:
    """``value`` of every rank, whatever can be pickled."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def meet() -> None:
    """Wait until every rank has come here.

    Raises:
        RankError: one has ended, or did not come in time.
    """
    any_rank(False)


def any_rank(flag: bool) -> bool:
    """Whether ``flag`` holds on any rank; all wait until every rank has come here.

    Raises:
        RankError: one has ended, or did not come in time.
    """
    began = time.monotonic()
    try:
        return bool(of_all_ranks(torch.tensor([flag], dtype=torch.uint8)).any())
    except RuntimeError as error:
        raise RankError(explain_loss(time.monotonic() - began)) from error


def introduce(children: dict[int, Popen[bytes]]) -> None:
    """Tell the others where this rank runs.

    Args:
        children: of this process, by their process ids, whose exit codes it can know.
    """
    global _peers, _children
    _peers = objects_of_all_ranks(Peer(socket.gethostname(), os.getpid()))
    _children = children


def introduced() -> bool:
    """Whether this rank is connected to others and knows where they run."""
    return bool(_peers)


def limit_waiting(patience: float) -> None:
    """Let no rank wait for another longer than ``patience`` seconds and :data:`MARGIN`."""
    global _patience
    _patience = patience
    if world_size() > 1:
        dist.distributed_c10d._set_pg_timeout(timedelta(seconds=patience + MARGIN))


def part(orderly: bool) -> None:
    """Break the connections, so that this process can train again.

    Args:
        orderly: all ranks do so. NCCL can wait for one that is gone; its connections are then left alone.
    """
    global _peers, _children
    _peers, _children = [], {}
    if dist.is_available() and dist.is_initialized() and (orderly or "nccl" not in dist.get_backend()):
        dist.destroy_process_group()


@contextmanager
def apart() -> Iterator[None]:
    """As if this process were alone: after a failure nobody answers any more."""
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


def explain_loss(waited: float | None = None) -> str:
    """Which rank is gone and how it ended, as far as this one can tell.

    Args:
        waited: seconds that this rank had waited; None where it did not count.
    """
    until = time.monotonic() + (SETTLING if _neighbours() else 0.0)
    while time.monotonic() < until:
        found = lost_rank()
        if found is not None:
            return found
        time.sleep(0.05)  # connections go a moment before their process
    who = _name(1 - rank()) if len(_peers) == 2 else f"one of {world_size()} ranks"
    if waited is not None and waited >= _patience > 0:
        return f"{who} did not answer for {waited:.0f} s"
    return f"the connection to {who} broke"


def lost_rank() -> str | None:
    """A rank that ended or is stopped, and how; None if there is none, or none on this host."""
    findings = []
    for index, peer in _neighbours().items():
        child = _children.get(peer.pid)
        code = child.poll() if child else None
        if code is not None and code < 0:
            findings.append((0, f"{_name(index)} ended with {ending(code)}"))
        elif stopped(peer.pid):
            findings.append((1, f"{_name(index)} does not answer; it is stopped"))
        elif code is not None:  # perhaps because of another
            findings.append((3, f"{_name(index)} ended with {ending(code)}"))
        elif child is None and ended(peer.pid):  # of a child the next look tells its code
            findings.append((2, f"{_name(index)} has ended"))
    return min(findings)[1] if findings else None


def is_lost_connection(error: BaseException) -> bool:
    """Whether ``error`` is what a collective operation raises when another rank is gone."""
    words = ("gloo", "Application timeout caused pair closure", "NCCL", "Connection closed by peer")
    known = isinstance(error, dist.DistBackendError | dist.DistNetworkError)
    return known or (isinstance(error, RuntimeError) and any(word in str(error) for word in words))


def _neighbours() -> dict[int, Peer]:
    """The other ranks on this host."""
    here = socket.gethostname()
    return {index: peer for index, peer in enumerate(_peers) if peer.host == here and peer.pid != os.getpid()}


def _name(index: int) -> str:
    return f"rank {index} of {len(_peers)} (process {_peers[index].pid})"
