"""A recorded trial is computed anew to the same bins, and whatever was changed in a record is found."""

import shutil

import pytest
import torch

from dactyl_tl.checkpoint import bundle_digest, load_actor, save_bundle
from dactyl_tl.contract import ACTUATORS
from dactyl_tl.goals import GoalConfig
from dactyl_tl.policies import locate
from hardware.__main__ import main
from hardware.records.mcap_file import Record, RecordError
from hardware.records.replay import derive, load_recorded_policy, replay_trial
from hardware.records.trial_record import present_versions, read_trial
from tests.hardware.records.recording import record_trial, rewrite

POLICIES = ("block_none", "block_lstm")


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """A record and its outcome, by policy."""
    folder = tmp_path_factory.mktemp("trials")
    return {
        policy: (folder / f"{policy}.mcap", record_trial(folder / f"{policy}.mcap", policy))
        for policy in POLICIES
    }


def replay(path, other=None):
    record = read_trial(path)
    return replay_trial(record, load_recorded_policy(record, other)[0])


def changed(path, tmp_path, topic, step, change):
    """A copy in which one message is another."""

    def apply(name, fields):
        if name == topic and fields.get("step", step) == step:
            change(fields)

    return rewrite(path, tmp_path / "changed.mcap", apply)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_action_comes_out_once_more(trials, policy):
    path, outcome = trials[policy]
    torch.manual_seed(123)  # the random numbers are the record's, whatever was drawn before
    found = replay(path)
    assert found.equal
    assert found.remarks == ()
    assert found.actions == round((outcome.seconds - 0.0123) / 0.08) > 10
    assert outcome.successes > 0, "a trial without a rotation would prove little about goals"


def test_likeliest_actions_come_out_once_more(tmp_path):
    record_trial(tmp_path / "r.mcap", "block_lstm", sample_actions=False)
    assert replay(tmp_path / "r.mcap").equal


@pytest.mark.parametrize(
    "goals", [GoalConfig("parallel"), GoalConfig("within_angle", (0.5, 0.9))], ids=lambda goals: goals.kind
)
def test_goals_of_every_kind_follow_from_the_seed(tmp_path, goals):
    outcome = record_trial(tmp_path / "r.mcap", goals=goals)
    assert outcome.successes > 1
    assert replay(tmp_path / "r.mcap").equal

    def turn(topic, fields):
        if topic == "observation" and fields["step"] > 0:
            fields["goal"] = [1.0, 0.0, 0.0, 0.0]

    rewrite(tmp_path / "r.mcap", tmp_path / "turned.mcap", turn)
    assert derive(read_trial(tmp_path / "turned.mcap")).what == "goal"


def test_a_changed_action_is_found(trials, tmp_path):
    path = trials["block_lstm"][0]
    recorded = read_trial(path).by_step("action")[6]["bins"]

    def other(fields):
        fields["bins"][3] = (fields["bins"][3] + 1) % 11
        fields["bins"][9] = (fields["bins"][9] + 1) % 11

    found = replay(changed(path, tmp_path, "action", 6, other))
    assert found.differing == 1
    first = found.first
    assert (first.step, first.what, first.computed) == (6, f"bin of {ACTUATORS[3]}", recorded[3])
    assert first.recorded == (recorded[3] + 1) % 11
    assert found.derived.what == f"sent to {ACTUATORS[3]}"


def test_memory_carries_a_changed_input_into_later_actions(trials, tmp_path):
    def other(fields):
        fields["inputs"]["object_position"][0] += 0.3

    found = {
        policy: replay(changed(trials[policy][0], (tmp_path / policy), "observation", 5, other))
        for policy in POLICIES
    }
    assert all(each.first.step == 5 for each in found.values())
    assert found["block_none"].differing == 1
    assert found["block_lstm"].differing > 1


@pytest.mark.parametrize(
    ("topic", "step", "change", "what"),
    [
        ("action", 4, lambda fields: fields["sent"].__setitem__(2, 0.123), "sent to FFJ3"),
        ("action", 4, lambda fields: fields.update(mode="absolute"), "mode and smoothing"),
        ("events", 4, lambda fields: fields.update(achieved=not fields["achieved"]), "achieved"),
        ("observation", 4, lambda fields: fields.update(goal=[0.6, 0.8, 0.0, 0.0]), "goal"),
        ("observation", 0, lambda fields: fields.update(goal=[0.6, 0.8, 0.0, 0.0]), "goal"),
        ("observation", 4, lambda fields: fields.update(is_init=True), "is_init"),
        (
            "observation", 4,
            lambda fields: fields["inputs"].update(relative_target_orientation=[1.0, 0.0, 0.0, 0.0]),
            "relative_target_orientation",
        ),
    ],
)  # fmt: skip
def test_what_does_not_follow_from_the_record_is_found_without_a_policy(
    trials, tmp_path, topic, step, change, what
):
    found = derive(read_trial(changed(trials["block_none"][0], tmp_path, topic, step, change)))
    assert (found.step, found.what) == (step, what)


def test_one_unit_in_the_last_place_is_a_difference(trials, tmp_path):
    def nudge(fields):
        view = fields["inputs"]["relative_target_orientation"]
        view[1] = torch.nextafter(torch.tensor(view[1]), torch.tensor(2.0)).item()

    found = derive(read_trial(changed(trials["block_none"][0], tmp_path, "observation", 3, nudge)))
    assert (found.step, found.what) == (3, "relative_target_orientation")


def test_another_outcome_is_found(trials, tmp_path):
    for name, value in (("successes", 50), ("ending", "timeout"), ("seconds", 1.0)):
        found = replay(
            changed(
                trials["block_none"][0],
                tmp_path / name,
                "outcome",
                0,
                lambda fields, n=name, v=value: fields.update({n: v}),
            )
        )
        assert (found.first.what, found.first.recorded) == (f"outcome's {name}", value)
        assert found.differing == 0


def test_a_trial_that_should_have_ended_earlier_is_found(trials, tmp_path):
    found = replay(
        changed(trials["block_none"][0], tmp_path, "events", 5, lambda fields: fields.update(dropped=True))
    )
    assert found.first.what == "actions until the trial ends"
    assert found.first.computed == 5


@pytest.mark.parametrize(
    ("how", "actions"), [({"drop": 8}, 9), ({"interrupt": 8}, 9)], ids=["drop", "interrupt"]
)
def test_a_trial_that_ends_early_is_replayed_as_far_as_it_went(tmp_path, how, actions):
    outcome = record_trial(tmp_path / "r.mcap", **how)
    found = replay(tmp_path / "r.mcap")
    assert found.equal
    assert found.actions == actions
    if "drop" in how:
        assert outcome.ending == "dropped"
    else:
        assert found.remarks == ("no outcome: the hand is in hold: tracking lost",)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_record_that_was_cut_off_is_replayed_as_far_as_it_goes(trials, tmp_path, share):
    path = trials["block_lstm"][0]
    data = path.read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: int(share * len(data))])
    record = read_trial(tmp_path / "cut.mcap")
    found = replay(record.path)
    assert found.equal
    assert 0 < found.actions == len(record.each("action")) < len(read_trial(path).each("action"))
    assert "cut off" in found.remarks[0]


def test_another_policy_is_told_by_its_digest_and_by_its_actions(trials, capsys, tmp_path):
    path = trials["block_none"][0]
    assert main(["replay", str(path), "--policy", "block"]) == 1
    said = capsys.readouterr().out
    assert f"ANOTHER than in the trial, which had {bundle_digest('block_none')[:12]}" in said
    assert "DIFFERENT: step 0, bin of" in said

    copy = shutil.copytree(locate("block_none"), tmp_path / "copy")
    assert main(["replay", str(path), "--policy", str(copy)]) == 0
    assert "as recorded" in capsys.readouterr().out


def test_the_digest_tells_weights_apart(tmp_path):
    actor = load_actor("block_none")
    first = bundle_digest(save_bundle(tmp_path / "first", actor))
    assert bundle_digest(save_bundle(tmp_path / "again", actor)) == first
    with torch.no_grad():
        next(actor.parameters()).view(-1)[0] += 1e-6
    assert bundle_digest(save_bundle(tmp_path / "nudged", actor)) != first
    (tmp_path / "a.ckpt").write_bytes(b"abc")
    assert bundle_digest(tmp_path / "a.ckpt").startswith("ba7816bf8f01cfea")  # FIPS 180-2, B.1


def test_the_command_replays_a_directory_and_says_what_it_cannot(trials, tmp_path, capsys):
    (tmp_path / "records").mkdir()
    for number, policy in enumerate(POLICIES):
        shutil.copy(trials[policy][0], tmp_path / "records" / f"{number}.mcap")
    assert main(["replay", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count("actions are equal") == 2
    assert f"torch {torch.__version__}" in said

    def moved(topic, fields):
        if topic == "trial":
            fields["source"] = "/elsewhere/block_none"

    rewrite(trials["block_none"][0], tmp_path / "records" / "moved.mcap", moved)
    (tmp_path / "records" / "torn.mcap").write_bytes(b"\x89MCAP0\r\n")
    assert main(["replay", str(tmp_path)]) == 2
    said = capsys.readouterr().out
    assert "NOT REPLAYED" in said
    assert "give the policy by --policy" in said
    assert said.count("actions are equal") == 2
    assert main(["replay", str(tmp_path / "nothing")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_other_versions_are_told(trials, tmp_path):
    def older(topic, fields):
        if topic == "trial":
            fields["versions"]["torch"] = "2.0.0"
            fields["versions"]["threads"] = "64"

    found = replay(rewrite(trials["block_none"][0], tmp_path / "older.mcap", older))
    now = present_versions()
    assert found.equal
    assert found.remarks == (
        f"torch: 2.0.0 in the trial, {now['torch']} now",
        f"threads: 64 in the trial, {now['threads']} now",
    )


def test_a_record_of_something_else_is_refused(tmp_path):
    for name, fields, words in (("a", {}, "does not tell number, policy"), ("b", None, "no message 'trial'")):
        record = Record(tmp_path / f"{name}.mcap")
        record.write("trial" if fields is not None else "camera", **(fields or {}))
        record.close()
        with pytest.raises(RecordError, match=words):
            read_trial(tmp_path / f"{name}.mcap")
