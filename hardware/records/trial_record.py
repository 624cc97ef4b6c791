"""A trial's record, read: its messages by topic, and what they say about the trial as a whole."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dactyl_tl.errors import ConfigurationError
from hardware.records.mcap_file import RecordError, read_record

SUFFIX = ".mcap"
FOLDER = "records"
"""Of a campaign's directory, with a record for each attempt at a trial."""

TOLD = ("number", "policy", "source", "trial", "seed", "sample_actions", "goals", "actions", "limits")
"""What a record says first about its trial, at least."""

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class TrialRecord:
    """What a record holds.

    Attributes:
        path: Of the file.
        whole: Whether it was ended properly; a process that is killed leaves what it had written.
        began_ns: When the trial was announced, ns since the epoch.
        topics: Messages by topic, in their order.
    """

    path: Path
    whole: bool
    began_ns: int
    topics: Mapping[str, list[Fields]]

    @property
    def trial(self) -> Fields:
        """What the trial was to be: policy, seed, limits, goals and so on."""
        return self.topics["trial"][0]

    @property
    def outcome(self) -> Fields | None:
        """What it came to, as the fields of :class:`dactyl_tl.trials.Trial`; None if it broke off."""
        return self._last("outcome")

    @property
    def controller(self) -> Fields | None:
        """The low-level controller's counts (:class:`hardware.lowlevel.wire.Info`), if it still answered."""
        return self._last("controller")

    @property
    def broke_off(self) -> str:
        """Why there is no outcome, in words; empty if there is one."""
        if self.outcome is not None:
            return ""
        interruption = self._last("interruption")
        return str(interruption["why"]) if interruption else "the record ends in the middle of the trial"

    def each(self, topic: str) -> list[Fields]:
        """All messages of a topic; none if there is no such topic."""
        return self.topics.get(topic, [])

    def by_step(self, topic: str) -> dict[int, Fields]:
        """The messages of a topic by their control step."""
        return {int(message["step"]): message for message in self.each(topic)}

    def _last(self, topic: str) -> Fields | None:
        messages = self.topics.get(topic)
        return messages[-1] if messages else None


def read_trial(path: Path) -> TrialRecord:
    """Read a record, without its pictures.

    Raises:
        RecordError: It cannot be read, or is not a trial's.
    """
    entries, whole = read_record(path)
    topics: dict[str, list[Fields]] = {}
    for entry in entries:
        topics.setdefault(entry.topic, []).append(entry.fields)
    if "trial" not in topics:
        raise RecordError(f"{path} is no trial's record: it has no message 'trial'")
    untold = [name for name in TOLD if name not in topics["trial"][0]]
    if untold:
        raise RecordError(f"{path} is no trial's record: it does not tell {', '.join(untold)}")
    return TrialRecord(path, whole, entries[0].time_ns, topics)


def find_records(path: Path) -> list[Path]:
    """The records that ``path`` means: itself, or those of a campaign's directory, by name.

    Raises:
        ConfigurationError: There is none.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise ConfigurationError(f"{path} does not exist; give a record ({SUFFIX}) or a campaign's directory")
    found = sorted(path.glob(f"*{SUFFIX}")) or sorted((path / FOLDER).glob(f"*{SUFFIX}"))
    if not found:
        raise ConfigurationError(f"{path} holds no records: neither *{SUFFIX} nor {FOLDER}/*{SUFFIX}")
    return found


def present_versions() -> dict[str, str]:
    """What a policy's actions depend on besides its weights and inputs, for the record of a trial.

    Arithmetic in single precision differs in the last digit between versions, numbers of threads and
    processors.
    """
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "processor": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "system": f"{os.uname().sysname} {os.uname().release}",
    }
