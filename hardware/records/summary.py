"""What a campaign's directory says: trials and attempts, times, counts and settings, ready to be shown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from dactyl_tl.errors import ConfigurationError
from hardware.records.latency import Budget, StepTimes, Ticks, controller_ticks, latency_budget, step_times
from hardware.records.mcap_file import RecordError
from hardware.records.trial_record import FOLDER, SUFFIX, Fields, find_records, read_trial

CAMPAIGN = "campaign.jsonl"
"""The trials that count: what defines the campaign, then a line a trial. Without it, every outcome counts."""

OF_ONE_TRIAL = (
    "number",
    "policy",
    "source",
    "trial",
    "seed",
    "bundle",
    "bundles",
    "actions",
    "sample_actions",
)
"""What a record tells about its own trial; everything else is a setting of the campaign."""


@dataclass(frozen=True)
class Attempt:
    """One record: a trial that ended, or broke off.

    Attributes:
        record: Path of the file, relative to the campaign's directory.
        whole: Whether the record was ended properly.
        began: Local date and time.
        trial, outcome, controller: See :class:`~hardware.records.trial_record.TrialRecord`.
        why: It broke off; empty if it did not.
        seconds: How long it lasted.
        times: Of its control steps.
        held: Control steps in which some reading was repeated.
        hottest: Temperature of the hottest motor, degrees Celsius; NaN if unknown.
        said: Safety events.
    """

    record: str
    whole: bool
    began: datetime
    trial: Fields
    outcome: Fields | None
    controller: Fields | None
    why: str
    seconds: float
    times: StepTimes
    held: int
    hottest: float
    said: tuple[str, ...]

    @property
    def name(self) -> str:
        """Whose trial, and which."""
        return f"{self.trial['policy']}, trial {self.trial['trial']}"


@dataclass(frozen=True)
class CountedTrial:
    """A trial that counts.

    Attributes:
        policy, trial: Whose, and its number from 0.
        rotations, ending, seconds: What came of it.
        attempt: Its record, if that is still there.
    """

    policy: str
    trial: int
    rotations: int
    ending: str
    seconds: float
    attempt: Attempt | None


@dataclass(frozen=True)
class PolicyRow:
    """A row of Table 3.

    Attributes:
        policy: Name.
        mean, std, median: Of the consecutive rotations; the sample standard deviation, as in the paper's
            tables, NaN for a single trial.
        trials: Each trial's rotations, sorted downwards.
        per_minute: Rotations of all trials over their duration.
        endings: How many trials ended how.
    """

    policy: str
    mean: float
    std: float
    median: float
    trials: tuple[int, ...]
    per_minute: float
    endings: Mapping[str, int]


@dataclass(frozen=True)
class Summary:
    """A campaign.

    Attributes:
        name: Of its directory.
        planned: Trials that it is to have; 0 if unknown.
        rows: One for each policy, in the campaign's order.
        trials: Those that count, in the order in which they ran.
        interrupted: Attempts that do not count.
        attempts: All of them, in their order.
        budget: Of all control steps.
        ticks: Of the low-level controller.
        settings: By dotted name; several values where the records differ.
        unreadable: Files that are no records, and why.
    """

    name: str
    planned: int
    rows: tuple[PolicyRow, ...]
    trials: tuple[CountedTrial, ...]
    interrupted: tuple[Attempt, ...]
    attempts: tuple[Attempt, ...]
    budget: Budget
    ticks: Ticks
    settings: Mapping[str, tuple[str, ...]]
    unreadable: Mapping[str, str]


def summarize(directory: Path) -> Summary:
    """Read everything in a campaign's directory; one record at a time is held in memory.

    Raises:
        ConfigurationError: There are no records, or the campaign's file is none.
    """
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is no directory; give a campaign's, with {FOLDER}/*{SUFFIX}")
    attempts, unreadable = _attempts(directory)
    definition, rows = _campaign(directory / CAMPAIGN)
    trials = [_counted(row, attempts) for row in rows]
    if not rows and not definition:
        trials = [
            _counted({"policy": each.trial["policy"], "trial": each.outcome}, [each])
            for each in attempts
            if each.outcome is not None
        ]
    counted = {id(trial.attempt) for trial in trials}
    policies = [policy for policy, _ in definition.get("policies", ())]
    names = list(dict.fromkeys([*policies, *(trial.policy for trial in trials)]))
    return Summary(
        directory.resolve().name,
        int(definition.get("trials", 0)) * len(policies),
        tuple(_row(name, own) for name in names if (own := [t for t in trials if t.policy == name])),
        tuple(trials),
        tuple(each for each in attempts if id(each) not in counted),
        tuple(attempts),
        latency_budget([each.times for each in attempts]),
        controller_ticks([each.controller for each in attempts]),
        _settings(attempts),
        unreadable,
    )


def _attempts(directory: Path) -> tuple[list[Attempt], dict[str, str]]:
    found: list[Attempt] = []
    unreadable: dict[str, str] = {}
    for path in find_records(directory):
        name = path.relative_to(directory).as_posix()
        try:
            found.append(_attempt(path, name))
        except RecordError as error:
            unreadable[name] = str(error)
    return sorted(found, key=lambda attempt: attempt.began), unreadable


def _attempt(path: Path, name: str) -> Attempt:
    record = read_trial(path)
    events, conditions = record.each("events"), record.each("condition")
    temperatures = [each["temperature"] for each in conditions if each.get("temperature") is not None]
    return Attempt(
        name,
        record.whole,
        datetime.fromtimestamp(record.began_ns * 1e-9),
        record.trial,
        record.outcome,
        record.controller,
        record.broke_off,
        float(events[-1]["seconds"]) if events else 0.0,
        step_times(record),
        sum(bool(each["held"]) for each in record.each("observation")),
        max(temperatures, default=np.nan),
        tuple(str(each["said"]) for each in record.each("safety")),
    )


def _campaign(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The campaign's definition and its trials; nothing of either if there is no such file."""
    if not path.is_file():
        return {}, []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    try:
        rows = [json.loads(line) for line in whole]
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path} is no campaign: {error}") from error
    return (rows[0], rows[1:]) if rows else ({}, [])


def _counted(row: Mapping[str, Any], attempts: Sequence[Attempt]) -> CountedTrial:
    policy, trial = row["policy"], row["trial"]
    # A process that is killed between the two has recorded an outcome that the campaign does not have.
    same = [
        each
        for each in attempts
        if each.trial["policy"] == policy
        and each.outcome is not None
        and all(each.outcome[name] == trial[name] for name in ("index", "seconds"))
    ]
    return CountedTrial(
        policy,
        int(trial["index"]),
        int(trial["successes"]),
        str(trial["ending"]),
        float(trial["seconds"]),
        same[-1] if same else None,
    )


def _row(policy: str, trials: Sequence[CountedTrial]) -> PolicyRow:
    rotations = np.array([trial.rotations for trial in trials])
    seconds = sum(trial.seconds for trial in trials)
    return PolicyRow(
        policy,
        float(rotations.mean()),
        float(rotations.std(ddof=1)) if len(trials) > 1 else np.nan,
        float(np.median(rotations)),
        tuple(sorted(rotations.tolist(), reverse=True)),
        60.0 * float(rotations.sum()) / seconds if seconds > 0 else 0.0,
        Counter(trial.ending for trial in trials),
    )


def _settings(attempts: Sequence[Attempt]) -> dict[str, tuple[str, ...]]:
    values: dict[str, dict[str, None]] = {}
    for attempt in attempts:
        for name, value in _flat(attempt.trial):
            if name.partition(".")[0] not in OF_ONE_TRIAL:
                values.setdefault(name, {})[value] = None
    return {name: tuple(each) for name, each in values.items()}


def _flat(fields: Fields, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value)
