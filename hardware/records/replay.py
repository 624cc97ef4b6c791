"""A trial on the hand, computed anew from its record: the same observations, bit for bit the same actions.

The policy runs by the very lines that ran it on the hand, in a world that shows it what was recorded.
Apart from that, what was sent, the policy's view of its goal, the goals themselves and their achievement
are derived once more from bins, orientations and seed, without any policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.bundle import BundleError
from dactyl_tl.checkpoint import bundle_digest, load_policy, policy_from_checkpoint
from dactyl_tl.contract import ACTUATORS, NUM_BINS, policy_keys
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.goals import sample_goals
from dactyl_tl.policies import CHECKPOINT_SUFFIX, locate
from dactyl_tl.protocol import Events, Limits, TrialInterrupted
from dactyl_tl.trials import collect_trials, run_batch
from hardware.records.trial_record import Fields, TrialRecord, present_versions

VIEW = "relative_target_orientation"

COMPARED_VERSIONS = ("torch", "threads", "processor")
"""Of :func:`~hardware.records.trial_record.present_versions`: with these the same, so is the arithmetic."""


@dataclass(frozen=True)
class Difference:
    """Something that is not in the record as it comes out when it is computed anew."""

    step: int
    what: str
    recorded: Any
    computed: Any

    def __str__(self) -> str:
        return f"step {self.step}, {self.what}: recorded {self.recorded}, computed {self.computed}"


@dataclass(frozen=True)
class Replay:
    """What came of computing a trial anew.

    Attributes:
        actions: That were computed and compared, each of 20 bins.
        differing: How many of those differ.
        first: The first difference of the actions, or of what the trial came to.
        derived: The first difference of what follows from the record without the policy.
        remarks: What else there is to know, such as another version of torch.
    """

    actions: int
    differing: int
    first: Difference | None
    derived: Difference | None
    remarks: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether everything came out as recorded."""
        return self.first is None and self.derived is None


class RecordEnds(TrialInterrupted):
    """The record goes no further; what was compared until then counts."""


class ReplayWorld:
    """A world that shows what was recorded and compares what the policy does, see :class:`World`.

    Attributes:
        compared: Actions so far.
        differing: Of those, how many are not as recorded.
        first: The first difference.
    """

    num_trials = 1

    def __init__(self, record: TrialRecord) -> None:
        self.compared = self.differing = 0
        self.first: Difference | None = None
        self._observations = record.by_step("observation")
        self._actions = record.by_step("action")
        self._events = record.by_step("events")

    def begin(self, seed: int) -> None:
        """To the first observation; the seed is the record's."""
        self._step = 0

    def observe(self) -> TensorDict:
        """The policy's inputs as it had them.

        Raises:
            RecordEnds: There is no more.
        """
        observation = self._observations.get(self._step)
        if observation is None:
            raise RecordEnds(f"no observation {self._step}")
        inputs = observation["inputs"]
        shown = TensorDict(
            {key: torch.tensor([inputs[key[1]]], dtype=torch.float32) for key in policy_keys()},
            batch_size=[1],
        )
        return shown.set("is_init", torch.tensor([[bool(observation["is_init"])]]))

    def act(self, action: Tensor) -> Events:
        """Compare with the action that was recorded; what followed on that is what follows.

        Raises:
            RecordEnds: There is no more.
        """
        recorded = self._actions.get(self._step)
        if recorded is None:
            raise RecordEnds(f"no action {self._step}")
        self._compare(recorded["bins"], action[0].tolist())
        self._step += 1
        events = self._events.get(self._step)
        if events is None:
            raise RecordEnds(f"no events {self._step}")
        false = torch.zeros(1, dtype=torch.bool)
        return Events(
            achieved=torch.tensor([bool(events["achieved"])]),
            dropped=torch.tensor([bool(events["dropped"])]),
            diverged=false,
            stopped=false,
            seconds=torch.tensor([events["seconds"]], dtype=torch.float64),
        )

    def _compare(self, recorded: list[int], computed: list[int]) -> None:
        self.compared += 1
        difference = _first_of(self._step, "bin of ", recorded, computed)
        self.differing += difference is not None
        self.first = self.first or difference


def replay_trial(record: TrialRecord, policy: TensorDictModuleBase) -> Replay:
    """Compute a trial's actions anew, and derive from its record what follows from it.

    A record that was cut off, or whose trial was interrupted, is computed as far as it goes.

    Args:
        record: Of the trial.
        policy: That acted in it.
    """
    world = ReplayWorld(record)
    trial = record.trial
    try:
        referee = run_batch(
            world, policy, int(trial["seed"]), Limits(**trial["limits"]), bool(trial["sample_actions"])
        )
    except RecordEnds as end:
        ended = None
        missing = str(end)
    else:
        ended = _plain(asdict(collect_trials(referee, int(trial["seed"]), int(trial["trial"]))[0]))
        missing = ""
    first = world.first or _other_end(record, world.compared, ended, missing)
    return Replay(world.compared, world.differing, first, derive(record), tuple(_remarks(record)))


def derive(record: TrialRecord) -> Difference | None:
    """The first value of a record that does not follow from the others.

    Looked at are what was sent (from the bins), the policy's view of the goal and its achievement (from goal
    and orientation), and the goals (from the seed; a first goal ``within_angle`` cannot be told, for it
    depends on how the object lay before the trial).
    """
    return next(_derived(record), None)


def load_recorded_policy(record: TrialRecord, other: str | None = None) -> tuple[TensorDictModuleBase, str]:
    """The policy that acted in a trial.

    Args:
        record: Of the trial.
        other: Of the policy to take instead of the recorded path; the path may be another machine's.

    Returns:
        The policy, and in words which it is and whether the record names the same by its digest.

    Raises:
        ConfigurationError: There is none.
    """
    source = other or str(record.trial["source"])
    try:
        path = locate(source)
        load = policy_from_checkpoint if path.suffix == CHECKPOINT_SUFFIX else load_policy
        policy, found = load(path), bundle_digest(path)
    except (FileNotFoundError, BundleError) as error:
        hint = "" if other else "; give the policy by --policy"
        raise ConfigurationError(f"{record.path}: the policy cannot be had: {error}{hint}") from error
    recorded = record.trial.get("bundle")
    if recorded is None:
        verdict = "the record does not say which it was"
    elif recorded == found:
        verdict = "as recorded"
    else:
        verdict = f"ANOTHER than in the trial, which had {recorded[:12]}"
    return policy, f"{path}, SHA-256 {found[:12]}, {verdict}"


def _other_end(
    record: TrialRecord, compared: int, ended: Mapping[str, Any] | None, missing: str
) -> Difference | None:
    """How the end of the trial is another one than was recorded."""
    actions = len(record.each("action"))
    if compared < actions:
        return Difference(compared, "actions until the trial ends", actions, missing or compared)
    if record.outcome is None:
        return None
    if ended is None:
        return Difference(compared, "outcome", dict(record.outcome), missing)
    for name, value in ended.items():
        if record.outcome.get(name) != value:
            return Difference(compared, f"outcome's {name}", record.outcome.get(name), value)
    return None


def _derived(record: TrialRecord) -> Iterator[Difference]:
    observations, events = record.by_step("observation"), record.by_step("events")
    goals = _Goals(record.trial)
    asked: list[float] = []
    for step, observation in sorted(observations.items()):
        present, goal = _quaternion(observation["object_orientation"]), _quaternion(observation["goal"])
        if bool(observation["is_init"]) != (step == 0):
            yield Difference(step, "is_init", observation["is_init"], step == 0)
        achieved = False
        if step > 0:
            achieved = bool(rotations.distance(present, _quaternion(asked)) < goals.tolerance)
            if step in events and events[step]["achieved"] != achieved:
                yield Difference(step, "achieved", events[step]["achieved"], achieved)
        wanted = goals.following(present) if step == 0 or achieved else asked
        if wanted and observation["goal"] != wanted:
            yield Difference(step, "goal", observation["goal"], wanted)
        asked = list(observation["goal"])
        view = rotations.canonical(rotations.multiply(goal, rotations.conjugate(present))).float()[0].tolist()
        if observation["inputs"][VIEW] != view:
            yield Difference(step, VIEW, observation["inputs"][VIEW], view)
    for step, action in sorted(record.by_step("action").items()):
        sent = [bin_ * (2.0 / (NUM_BINS - 1)) - 1.0 for bin_ in action["bins"]]
        difference = _first_of(step, "sent to ", action["sent"], sent)
        if difference is not None:
            yield difference
        how = record.trial["actions"]
        mode = "relative" if how["relative"] else "absolute"
        if (action["mode"], action["smoothing"]) != (mode, how["smoothing"]):
            yield Difference(
                step, "mode and smoothing", (action["mode"], action["smoothing"]), (mode, how["smoothing"])
            )


class _Goals:
    """The goals that follow from a trial's seed."""

    def __init__(self, trial: Fields) -> None:
        self._config = trial["goals"]
        self._generator = torch.Generator().manual_seed(int(trial["seed"]))
        self._first = True
        self.tolerance = float(self._config["tolerance"])

    def following(self, present: Tensor) -> list[float]:
        """The next goal where the object lies like this; empty where that is not known."""
        kind, (low, high) = self._config["kind"], self._config["angle"]
        goal = sample_goals(kind, present, (low, high), self._generator).to(present)
        known = not (self._first and kind == "within_angle")
        self._first = False
        return goal[0].tolist() if known else []


def _first_of(step: int, what: str, recorded: list[Any], computed: list[Any]) -> Difference | None:
    if len(recorded) != len(computed):
        return Difference(step, f"number of values, {what}all", len(recorded), len(computed))
    for name, old, new in zip(ACTUATORS, recorded, computed, strict=True):
        if old != new:
            return Difference(step, what + name, old, new)
    return None


def _remarks(record: TrialRecord) -> Iterator[str]:
    if not record.whole:
        yield "the record was cut off, as by a process that was killed, or is damaged"
    if record.outcome is None:
        yield f"no outcome: {record.broke_off}"
    then, now = record.trial.get("versions", {}), present_versions()
    for name in COMPARED_VERSIONS:
        if str(then.get(name)) != now[name]:
            yield f"{name}: {then.get(name, 'unknown')} in the trial, {now[name]} now"


def _quaternion(values: list[float]) -> Tensor:
    """(1, 4) float64."""
    return torch.tensor([values], dtype=torch.float64)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    return {
        name: list(value) if isinstance(value, tuple) else str(value) if name == "ending" else value
        for name, value in fields.items()
    }
