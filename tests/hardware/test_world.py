"""Trials in a real simulated laboratory: two policies in turns, what is recorded of them, interruptions."""

import io
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

from dactyl_tl import rotations
from dactyl_tl.config_files import config_directory
from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.evaluation.campaign import run_campaign, turns
from dactyl_tl.evaluation.policies import find_policies
from dactyl_tl.goals import GoalConfig, sample_goals
from dactyl_tl.protocol import Ending, Limits, TrialInterrupted
from dactyl_tl.rendering.objects import look_of
from dactyl_tl.trials import Commission
from hardware.lowlevel.joints import SAFE
from hardware.lowlevel.wire import Condition, Info, State
from hardware.opening import open_world
from hardware.operators import TwinOperator
from hardware.records.replay import load_recorded_policy, replay_trial
from hardware.records.trial_record import TrialRecord, find_records, read_trial
from hardware.world import HandWorld

LIMITS = Limits(rotations=2, timeout=2.5)
POLICIES = ("block_none", "random")
SEED = 3
TOPICS = {
    "trial", "observation", "condition", "action", "latency", "events", "outcome", "controller",
}  # fmt: skip


class Mending(TwinOperator):
    """Puts right what a test broke, before a trial is repeated."""

    def go_on(self, why: str) -> bool:
        self.ask(do="faults", faults={})
        return super().go_on(why)


def settings(**departures) -> dict:
    values = OmegaConf.to_container(OmegaConf.load(config_directory() / "hardware" / "twin.yaml"))
    return {**values, "display": False, **departures}


def open_hand(output: Path, **departures) -> HandWorld:
    policies = find_policies(POLICIES)
    look = look_of("block")
    world = open_world(
        Commission(
            task="block", hand=policies[0].hand, goals=GoalConfig(), limits=LIMITS,
            actions={each.name: {"relative": False, "smoothing": 0.3} for each in policies},
            bundles={}, estimator=None,
            faces=tuple(zip(look.corners, look.letters, look.colours, strict=False)),
            hardware=settings(**departures), output=output,
        )
    )  # fmt: skip
    world.operator = Mending(world.operator._address)
    return world


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("campaign")


@pytest.fixture(scope="module")
def world(output) -> Iterator[HandWorld]:
    world = open_hand(output)
    try:
        yield world
    finally:
        world.operator.close()
        world.close()


@pytest.fixture(scope="module")
def results(world, output):
    """A campaign of one trial of each policy."""
    return run_campaign(world, find_policies(POLICIES), 1, SEED, output, limits=LIMITS)


@pytest.fixture(scope="module")
def records(results, output) -> dict[str, TrialRecord]:
    """The records of the trials that counted, by policy."""
    read = [read_trial(path) for path in find_records(output)]
    return {record.trial["policy"]: record for record in read if record.outcome is not None}


def test_each_policy_had_its_trial_and_it_ended_by_the_rules(results) -> None:
    for result in results:
        (trial,) = result.trials
        assert trial.successes == len(trial.goal_seconds) <= LIMITS.rotations
        assert (trial.ending is Ending.COMPLETED) == (trial.successes == LIMITS.rotations)
        if trial.ending is Ending.TIMEOUT:
            since = trial.seconds - max(trial.goal_seconds, default=0.0)
            assert LIMITS.timeout - 1e-3 <= since < LIMITS.timeout + 1.0
        else:
            assert trial.ending in (Ending.COMPLETED, Ending.DROPPED)


def test_a_record_has_every_topic_and_a_message_for_every_step(records) -> None:
    assert set(records) == set(POLICIES)
    for record in records.values():
        assert record.whole
        assert set(record.topics) == TOPICS
        steps = len(record.each("action"))
        assert steps > 10
        for topic in ("observation", "condition", "action", "latency", "events"):
            expected = range(1, steps + 1) if topic == "events" else range(steps)
            found = [message["step"] for message in record.each(topic)]
            assert found[:steps] == list(expected), topic
        assert all(len(record.each(topic)) == 1 for topic in ("trial", "outcome", "controller"))


def test_a_record_says_whose_trial_it_was_and_what_came_of_it(records, results) -> None:
    for result in results:
        record, trial = records[result.policy], result.trials[0]
        (turn,) = (turn for turn in turns(find_policies(POLICIES), 1, SEED) if turn.policy == result.policy)
        said = record.trial
        assert {name: said[name] for name in vars(turn)} == vars(turn)
        assert said["actions"] == {"relative": False, "smoothing": 0.3}
        assert said["hardware"]["backend"] == "twin"
        assert said["limits"] == {"rotations": 2, "timeout": 2.5}
        assert said["versions"]["torch"] == torch.__version__
        outcome = dict(record.outcome)
        assert outcome["successes"] == trial.successes
        assert outcome["seconds"] == trial.seconds
        assert tuple(outcome["goal_seconds"]) == trial.goal_seconds
        achieved = [event["seconds"] for event in record.each("events") if event["achieved"]]
        assert achieved == pytest.approx(trial.goal_seconds)
        assert set(record.controller) == set(Info._fields)
        assert record.controller["ticks"] >= 0.8 * trial.seconds / 0.005
        assert record.controller["backend"] == "twin"


def test_what_was_sent_is_the_bins_and_what_came_back_is_within_the_ranges(records) -> None:
    for record in records.values():
        for action in record.each("action"):
            assert action["sent"] == [0.2 * bin_ - 1.0 for bin_ in action["bins"]]
            assert action["mode"] == "absolute"
            assert all(low <= g <= high for g, (low, high) in zip(action["goals"], SAFE, strict=True))
            assert len(action["goals"]) == 20
        sequences = [action["sequence"] for action in record.each("action")]
        assert sequences == sorted(set(sequences))


def test_the_hand_did_what_it_was_sent(records) -> None:
    """Conditions after a step tell the command of that step as carried out, in time."""
    for record in records.values():
        sequences = {action["step"]: action["sequence"] for action in record.each("action")}
        for condition in record.each("condition")[1:]:
            assert set(condition) == {"step", *Condition._fields}
            assert condition["state"] == State.RUNNING
            assert condition["sequence"] == sequences[condition["step"] - 1]
            assert condition["acted_ns"] > 0
            assert condition["force"] == 1.0
        acted = [latency["act_ns"] for latency in record.each("latency")]
        assert all(each is not None and each > 0 for each in acted)
        measured = [condition["measured_ns"] for condition in record.each("condition")]
        assert measured == sorted(set(measured))


def test_control_steps_are_80_ms_apart_by_the_controllers_clock(records) -> None:
    for record in records.values():
        if any(latency["missed"] for latency in record.each("latency")):
            continue  # this machine was too busy
        measured = [condition["measured_ns"] * 1e-9 for condition in record.each("condition")]
        mean = (measured[-1] - measured[0]) / (len(measured) - 1)
        assert mean == pytest.approx(CONTROL_PERIOD, abs=0.002)


def test_goals_follow_from_the_seed_alone(records) -> None:
    seen = {name: _distinct(record) for name, record in records.items()}
    assert all(goals for goals in seen.values())
    seed = records["random"].trial["seed"]
    assert records["block_none"].trial["seed"] == seed
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        sample_goals("uniform", torch.tensor([[1.0, 0.0, 0.0, 0.0]]), (0.0, math.pi), generator)[0].double()
        for _ in range(LIMITS.rotations + 1)
    ]
    for goals in seen.values():
        for goal, expected in zip(goals, drawn, strict=False):
            assert rotations.distance(torch.tensor(goal, dtype=torch.float64), expected) < 1e-6


def _distinct(record: TrialRecord) -> list[list[float]]:
    goals: list[list[float]] = []
    for observation in record.each("observation"):
        if not goals or observation["goal"] != goals[-1]:
            goals.append(observation["goal"])
    return goals


def test_trials_begin_alike_for_both_policies(records) -> None:
    first = [records[name].each("observation")[0] for name in POLICIES]
    for name, tolerance in (("fingertip_positions", 0.02), ("object_position", 0.02)):
        assert first[0]["inputs"][name] == pytest.approx(first[1]["inputs"][name], abs=tolerance)
    turned = rotations.distance(*(torch.tensor(each["object_orientation"]) for each in first))
    assert turned < 0.3


def test_the_policys_actions_come_out_of_the_record_once_more(records) -> None:
    policy, _ = load_recorded_policy(records["block_none"])
    replay = replay_trial(records["block_none"], policy)
    assert replay.actions == len(records["block_none"].each("action"))
    assert replay.equal, (replay.first, replay.derived)


def test_the_hand_rests_after_a_trial(world, results) -> None:
    assert world.client.condition().state == State.DISARMED
    assert set(world.operator.ask(do="state")["force"]) == {0.0}


def test_the_report_is_of_this_campaign(world, results, output) -> None:
    console = Console(file=io.StringIO(), width=120)
    files = world.report(console)
    assert files
    assert all(path.parent == output and path.stat().st_size for path in files)
    assert "control steps" in console.file.getvalue()


def test_an_interrupted_trial_is_repeated_with_the_same_goals(world, tmp_path) -> None:
    world.records = tmp_path / "records"
    broken = []

    def break_once(_, referee) -> None:
        if not broken and float(referee.seconds[0]) > 0.3:
            broken.append(world._step)
            world.operator.ask(do="faults", faults={"silence": True})

    (result,) = run_campaign(
        world, find_policies(["random"]), 1, SEED, tmp_path, limits=Limits(1, 1.0), watchers=[break_once]
    )
    assert broken
    assert result.trials[0].seconds > 0.5
    first, *others = [read_trial(path) for path in find_records(tmp_path)]
    last = others[-1]
    assert first.outcome is None
    assert "silent" in first.broke_off
    assert "_attempt1" in first.path.name
    assert f"_attempt{len(others) + 1}" in last.path.name
    assert last.outcome is not None
    assert _distinct(first)[0] == _distinct(last)[0]
    assert len((tmp_path / "campaign.jsonl").read_text().splitlines()) == 2


def test_a_trial_that_cannot_be_recorded_is_interrupted_and_the_hand_let_go(world, tmp_path) -> None:
    world.records = tmp_path / "taken"
    world.records.write_text("a file where records would go")
    with pytest.raises(TrialInterrupted, match="cannot record"):
        run_campaign(world, find_policies(["random"]), 1, SEED, tmp_path, limits=Limits(1, 1.0), watchers=[])
    assert world.client.condition().state == State.DISARMED
