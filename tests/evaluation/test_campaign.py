"""Campaigns of physical trials: their order, what is kept, how they go on; in a world with a script."""

import fcntl
import json
import os
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.campaign import FILE, LOCK, CampaignLog, run_campaign, turns
from dactyl_tl.evaluation.policies import NamedPolicy, RandomPolicy
from dactyl_tl.protocol import Ending, Events, Limits, TrialInterrupted
from dactyl_tl.trials import Trial, Turn, batch_seed_of
from tests.evaluation.scripted import CountingPolicy, Script, ScriptedWorld

LIMITS = Limits(rotations=2, timeout=10 * CONTROL_PERIOD)
SCRIPT = Script(goals=(2, 4))


def named(name: str, module: nn.Module | None = None) -> NamedPolicy:
    return NamedPolicy(name, module or RandomPolicy(), f"where {name} is")


class ScriptedHand(ScriptedWorld):
    """A hand whose trials follow scripts; it breaks in the attempts that it is told to.

    Attributes:
        told: What was asked of it, in order.
    """

    def __init__(
        self,
        *scripts: Script,
        broken: dict[int, str] | None = None,
        patience: int = 9,
        beside: Path | None = None,
    ) -> None:
        super().__init__(*([each] for each in scripts or (SCRIPT,)))
        self.broken, self.patience, self.beside = broken or {}, patience, beside
        self.told: list[tuple[str, object]] = []
        self.turns: list[Turn] = []

    def introduce(self, turn: Turn) -> None:
        self.told.append(("introduce", (turn.policy, turn.trial)))
        self.turns.append(turn)

    def begin(self, seed: int) -> None:
        super().begin(seed)
        self.told.append(("begin", seed))

    def act(self, action: torch.Tensor) -> Events:
        events = super().act(action)
        if self.broken.get(len(self.turns) - 1) == self.step:
            raise TrialInterrupted("the cable came off")
        return events

    def conclude(self, trial: Trial) -> None:
        self.told.append(("conclude", trial.successes))
        if self.beside:  # whatever is concluded is not kept yet
            self.told.append(("kept", len(self.beside.read_text().splitlines()) - 1))

    def recover(self, why: str) -> bool:
        self.told.append(("recover", why))
        self.patience -= 1
        return self.patience >= 0

    def close(self) -> None:
        self.told.append(("close", None))

    def report(self, console: Console) -> list[Path]:
        console.print("the hand is well")
        return []


def run(world, directory, policies=None, trials: int = 3, seed: int = 5, **how):  # type: ignore[no-untyped-def]
    return run_campaign(
        world, policies or [named("a"), named("b")], trials, seed, directory, limits=LIMITS, **how
    )


# The order


def test_each_policy_has_its_turn_once_in_every_round() -> None:
    policies = [named(name) for name in "abc"]
    order = list(turns(policies, 40, 7))
    assert [turn.number for turn in order] == list(range(120))
    for trial in range(40):
        around = order[3 * trial : 3 * trial + 3]
        assert {turn.policy for turn in around} == set("abc")
        assert {turn.trial for turn in around} == {trial}
        assert {turn.seed for turn in around} == {batch_seed_of(7, trial)}
        assert all(turn.source == f"where {turn.policy} is" for turn in around)
    assert len({turn.seed for turn in order}) == 40
    first = Counter(turn.policy for turn in order[::3])
    assert min(first.values()) >= 5, "nobody is always last"


def test_the_order_follows_from_the_seed() -> None:
    policies = [named("a"), named("b")]
    orders = [[turn.policy for turn in turns(policies, 30, seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_a_longer_campaign_begins_like_a_shorter_one() -> None:
    policies = [named("a"), named("b")]
    assert list(turns(policies, 10, 3))[:8] == list(turns(policies, 4, 3))


def test_goals_of_a_trial_do_not_depend_on_the_policy() -> None:
    seeds = {}
    for turn in turns([named("a"), named("b")], 5, 3):
        seeds.setdefault(turn.trial, set()).add(turn.seed)
    assert all(len(each) == 1 for each in seeds.values())


# The course


def test_trials_are_introduced_begun_concluded_and_then_kept(tmp_path: Path) -> None:
    world = ScriptedHand(SCRIPT, Script(goals=(1,), drop=3), beside=tmp_path / FILE)
    results = run(world, tmp_path, trials=2)
    order = [(turn.policy, turn.trial) for turn in turns([named("a"), named("b")], 2, 5)]
    expected = []
    for number, turn in enumerate(order):
        expected += [
            ("introduce", turn), ("begin", batch_seed_of(5, turn[1])), ("conclude", 2 - number % 2),
            ("kept", number),
        ]  # fmt: skip
    assert world.told == expected
    assert [result.policy for result in results] == ["a", "b"]
    by_turn = dict(zip(order, [2, 1, 2, 1], strict=True))
    for result in results:
        assert [trial.successes for trial in result.trials] == [by_turn[result.policy, n] for n in (0, 1)]
        assert [trial.index for trial in result.trials] == [0, 1]
    endings = {Ending.COMPLETED: 2, Ending.DROPPED: 2}
    assert Counter(trial.ending for result in results for trial in result.trials) == endings


def test_each_policy_acts_in_its_own_turns_with_a_fresh_memory(tmp_path: Path) -> None:
    class Constant(RandomPolicy):
        def forward(self, tensordict):  # type: ignore[no-untyped-def]
            tensordict["action"] = torch.full((1, 20), 7)
            return tensordict

    world = ScriptedHand(SCRIPT)
    run(world, tmp_path, [named("counting", CountingPolicy()), named("constant", Constant())], trials=3)
    acted = [int(action[0, 0]) for action in world.actions]
    expected = [[0, 1, 2, 3] if turn.policy == "counting" else [7] * 4 for turn in world.turns]
    assert acted == list(chain.from_iterable(expected))


def test_an_interrupted_trial_is_repeated_and_does_not_count(tmp_path: Path) -> None:
    world = ScriptedHand(SCRIPT, broken={1: 3, 2: 1})
    results = run(world, tmp_path, trials=2)
    told = [what for what, _ in world.told]
    assert told.count("recover") == 2
    assert told.count("conclude") == 4
    assert world.turns[1] == world.turns[2] == world.turns[3], "the same trial, with the same seed"
    assert all(trial.ending is Ending.COMPLETED for result in results for trial in result.trials)
    assert len((tmp_path / FILE).read_text().splitlines()) == 1 + 4


def test_if_the_operator_does_not_go_on_what_has_ended_is_kept(tmp_path: Path) -> None:
    world = ScriptedHand(SCRIPT, broken={2: 2}, patience=0)
    with pytest.raises(TrialInterrupted, match="the cable came off"):
        run(world, tmp_path, trials=2)
    assert len((tmp_path / FILE).read_text().splitlines()) == 1 + 2
    again = ScriptedHand(SCRIPT)
    results = run(again, tmp_path, trials=2)
    assert [turn.number for turn in again.turns] == [2, 3]
    assert sum(len(result.trials) for result in results) == 4


# What is kept


def lines(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / FILE).read_text().splitlines()]


def test_the_file_says_what_the_campaign_is_and_each_trial(tmp_path: Path) -> None:
    results = run(ScriptedHand(), tmp_path, trials=2, settings={"task": "block", "hardware": {"force": 0.5}})
    head, *rows = lines(tmp_path)
    assert head == {
        "version": 1, "policies": [["a", "where a is"], ["b", "where b is"]], "trials": 2, "seed": 5,
        "limits": {"rotations": 2, "timeout": 10 * CONTROL_PERIOD}, "sample_actions": True,
        "settings": {"task": "block", "hardware": {"force": 0.5}},
    }  # fmt: skip
    assert len(rows) == 4
    for row in rows:
        trial = next(r for r in results if r.policy == row["policy"]).trials[row["trial"]["index"]]
        assert row["trial"]["goal_seconds"] == list(trial.goal_seconds)
        assert row["trial"]["ending"] == "completed"


def test_a_finished_campaign_runs_nothing_and_gives_the_same_results(tmp_path: Path) -> None:
    first = run(ScriptedHand(SCRIPT, Script(goals=(3,), drop=5)), tmp_path)
    kept = (tmp_path / FILE).read_bytes()
    world = ScriptedHand()
    assert run(world, tmp_path) == first
    assert world.told == []
    assert (tmp_path / FILE).read_bytes() == kept


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_line_that_was_cut_off_is_removed_and_its_trial_run_again(tmp_path: Path, cut: int) -> None:
    first = run(ScriptedHand(), tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-cut])
    world = ScriptedHand()
    assert run(world, tmp_path) == first
    assert [turn.number for turn in world.turns] == [5]
    assert (tmp_path / FILE).read_bytes() == whole


def test_a_file_with_a_torn_first_line_begins_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"version": 1, "poli')
    world = ScriptedHand()
    run(world, tmp_path, trials=1)
    assert len(world.turns) == 2
    assert len(lines(tmp_path)) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trials": 4}, "its trials is 3, not 4"),
        ({"seed": 6}, "its seed is 5, not 6"),
        ({"sample_actions": False}, "its sample_actions is True, not False"),
        ({"policies": ["a"]}, "its policies is"),
        ({"settings": {"hardware": {"force": 0.4}}}, "its settings.hardware.force is 0.5, not 0.4"),
        ({"settings": {}}, "its settings.hardware is {'force': 0.5}, not None"),
        (
            {"settings": {"hardware": {"force": 0.5}, "new": 1}},
            "its settings.new is None, not 1",
        ),
    ],
)
def test_another_campaign_is_refused_with_what_differs(tmp_path: Path, change: dict, said: str) -> None:
    how = {"trials": 3, "seed": 5, "settings": {"hardware": {"force": 0.5}}}
    run(ScriptedHand(), tmp_path, **how)
    kept = (tmp_path / FILE).read_bytes()
    changed = how | change
    if "policies" in changed:
        changed["policies"] = [named(name) for name in changed["policies"]]
    world = ScriptedHand()
    with pytest.raises(ConfigurationError) as refusal:
        run(world, tmp_path, **changed)
    assert said in str(refusal.value)
    assert "Choose another output directory" in str(refusal.value)
    assert world.told == []
    assert (tmp_path / FILE).read_bytes() == kept


def test_a_file_that_is_no_campaign_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("shopping\n")
    with pytest.raises(ConfigurationError, match="is no campaign"):
        run(ScriptedHand(), tmp_path)


def test_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    trial = Trial(3, 7, 0, 2, Ending.DROPPED, 0.1 + 0.2, (1 / 3, 2e-17))
    CampaignLog(tmp_path / FILE, {"version": 1}).keep(Turn(5, "a", "", 3, 7), trial)
    assert CampaignLog(tmp_path / FILE, {"version": 1}).done == {("a", 3): trial}


def test_a_trial_is_on_the_disk_when_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).read_text())

    monkeypatch.setattr("dactyl_tl.evaluation.campaign.os.fsync", fsync)
    run(ScriptedHand(), tmp_path, trials=1)
    assert [len(text.splitlines()) for text in synced] == [1, 2, 3]
    assert all(text.endswith("\n") for text in synced)


def test_two_processes_do_not_run_one_campaign(tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # a lock belongs to the opened file, not to the process
        with pytest.raises(ConfigurationError, match="another process runs the campaign in"):
            run(ScriptedHand(), tmp_path)
    run(ScriptedHand(), tmp_path)
