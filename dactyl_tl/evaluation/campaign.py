"""Trials in the physical world: one at a time, policies in turns, kept as they end, resumed after a breakage.

A file of JSON lines holds what defines the campaign, then each trial as it ends. Another run of the same
campaign goes on after the last of them.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from tensordict import TensorDict
from tensordict.nn import TensorDictModuleBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from dactyl_tl.contract import OBSERVATION_SIZES, policy_keys
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.policies import NamedPolicy
from dactyl_tl.evaluation.trials import TrialResults
from dactyl_tl.protocol import Ending, Limits, TrialInterrupted, World
from dactyl_tl.trials import Trial, Turn, Watcher, batch_seed_of, collect_trials, empty_memory, run_batch

FILE, LOCK = "campaign.jsonl", "campaign.lock"

VERSION = 1
"""Of the file's layout."""

WARMING = 3
"""Steps of each policy before there is a hand."""


class PhysicalWorld(World, Protocol):
    """A world with one trial at a time, of which nobody has a copy: an operator, records, breakages.

    ``begin``, ``observe`` and ``act`` raise :class:`~dactyl_tl.protocol.TrialInterrupted` when something
    breaks.
    """

    def introduce(self, turn: Turn) -> None:
        """Whose trial begins next, for records and operator."""

    def conclude(self, trial: Trial) -> None:
        """The trial has ended; let the hand rest."""

    def recover(self, why: str) -> bool:
        """The trial was interrupted; let the hand rest, and say whether to try it once more."""

    def close(self) -> None:
        """Let go of everything."""

    def report(self, console: Console) -> list[Path]:
        """Print what the hand's own records say of the campaign, and write it; the files."""


def turns(
    policies: Sequence[NamedPolicy], trials: int, seed: int, sample_actions: bool = True
) -> Iterator[Turn]:
    """The order of all trials: each policy once in every round, in an order drawn from the seed.

    So that a hand that wears or warms does not favour whoever comes first.
    """
    order = np.random.default_rng([seed, len(policies)])
    for trial in range(trials):
        for place, index in enumerate(order.permutation(len(policies))):
            policy = policies[int(index)]
            yield Turn(
                number=len(policies) * trial + place,
                policy=policy.name,
                source=policy.source,
                trial=trial,
                seed=batch_seed_of(seed, trial),
                sample_actions=sample_actions,
            )


def run_campaign(
    world: PhysicalWorld,
    policies: Sequence[NamedPolicy],
    trials: int,
    seed: int,
    directory: Path,
    *,
    limits: Limits,
    sample_actions: bool = True,
    watchers: Sequence[Watcher] = (),
    settings: Mapping[str, Any] | None = None,
) -> list[TrialResults]:
    """Run, or go on with, ``trials`` of each policy.

    Args:
        world: Where they run.
        policies, trials, seed, limits, sample_actions, watchers: As of
            :func:`dactyl_tl.evaluation.trials.run_trials`.
        directory: Where the campaign's file is, or will be.
        settings: What else defines the trials.

    Returns:
        One for each policy, in their order.

    Raises:
        ConfigurationError: The directory holds another campaign, or another process is at it.
        TrialInterrupted: Something broke and the operator did not go on; what has ended is kept.
    """
    modules = {policy.name: policy.module for policy in policies}
    with _alone(directory):
        log = open_log(policies, trials, seed, directory, limits, sample_actions, settings)
        for turn in turns(policies, trials, seed, sample_actions):
            if (turn.policy, turn.trial) not in log.done:
                log.keep(turn, _run_turn(world, turn, modules[turn.policy], limits, watchers))
    return [
        TrialResults(
            policy.name, seed, limits, tuple(log.done[policy.name, trial] for trial in range(trials)),
            settings or {},
        )
        for policy in policies
    ]  # fmt: skip


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Two processes in one campaign would write over each other."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another process runs the campaign in {directory}; end it, or choose another directory"
            ) from None
        yield


def open_log(
    policies: Sequence[NamedPolicy],
    trials: int,
    seed: int,
    directory: Path,
    limits: Limits,
    sample_actions: bool = True,
    settings: Mapping[str, Any] | None = None,
) -> CampaignLog:
    """The file of a campaign, as of :func:`run_campaign`, which is begun if there is none.

    Raises:
        ConfigurationError: The directory holds another campaign.
    """
    definition = {
        "version": VERSION,
        "policies": [[policy.name, policy.source] for policy in policies],
        "trials": trials,
        "seed": seed,
        "limits": asdict(limits),
        "sample_actions": sample_actions,
        "settings": dict(settings or {}),
    }
    return CampaignLog(directory / FILE, definition)


def warm_up(policy: TensorDictModuleBase) -> None:
    """Have everything loaded that a first step loads, before there is a hand that waits for it."""
    observation = TensorDict(
        {key: torch.zeros(1, OBSERVATION_SIZES[key[1]]) for key in policy_keys()}, batch_size=[1]
    )
    observation["is_init"] = torch.ones(1, 1, dtype=torch.bool)
    with torch.random.fork_rng(), torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
        for _ in range(WARMING):
            policy(observation.clone().update(empty_memory(policy, 1)))


def _run_turn(
    world: PhysicalWorld,
    turn: Turn,
    policy: TensorDictModuleBase,
    limits: Limits,
    watchers: Sequence[Watcher],
) -> Trial:
    """One trial, as often as it is interrupted and the operator goes on."""
    while True:
        world.introduce(turn)
        try:
            referee = run_batch(world, policy, turn.seed, limits, turn.sample_actions, watchers)
        except TrialInterrupted as interruption:
            if not world.recover(str(interruption)):
                raise
        else:
            trial = collect_trials(referee, turn.seed, turn.trial)[0]
            world.conclude(trial)
            return trial


class CampaignLog:
    """The campaign's file.

    Args:
        path: Of the file; made if there is none.
        definition: What defines the campaign; plain types.

    Attributes:
        done: Trials that have ended, by the policy's name and their number.

    Raises:
        ConfigurationError: The file holds another campaign, or is none.
    """

    def __init__(self, path: Path, definition: Mapping[str, Any]) -> None:
        self.done: dict[tuple[str, int], Trial] = {}
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = _whole_lines(path)
        if not whole:
            self._append(definition)
            return
        rows = _parsed(path, whole)
        expected = json.loads(json.dumps(definition))
        differing = _difference(rows[0], expected)
        if differing:
            name, before, now = differing
            raise ConfigurationError(
                f"{path} holds another campaign: its {name} is {before}, not {now}. "
                "Choose another output directory, or the same settings to go on with it."
            )
        for row in rows[1:]:
            fields = row["trial"]
            self.done[row["policy"], fields["index"]] = Trial(
                **{
                    **fields,
                    "ending": Ending(fields["ending"]),
                    "goal_seconds": tuple(fields["goal_seconds"]),
                }
            )

    def keep(self, turn: Turn, trial: Trial) -> None:
        """Add a trial; it is on the disk when this returns."""
        self._append({"policy": turn.policy, "trial": asdict(trial) | {"ending": str(trial.ending)}})
        self.done[turn.policy, turn.trial] = trial

    def _append(self, row: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _difference(before: Any, now: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first value that differs between two definitions: its name, and what it is in either."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            found = _difference(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
            if found:
                return found
        return None
    return (name, before, now) if before != now else None


def _whole_lines(path: Path) -> list[str]:
    """The file's lines; one that was cut off while it was written is removed."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        os.truncate(path, len(whole.encode()))
    return whole.splitlines()


def _parsed(path: Path, lines: Sequence[str]) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path} is no campaign: {error}") from error
