"""``world=hand`` as the evaluation sees it: what it commissions, and what it makes of the results."""

import io
import json
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig
from rich.console import Console

from dactyl_tl.checkpoint import bundle_digest
from dactyl_tl.config_files import config_directory
from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.command import evaluate
from dactyl_tl.evaluation.settings import register_evaluation_schema, wrong_override
from dactyl_tl.policies import locate
from dactyl_tl.protocol import TrialInterrupted
from dactyl_tl.trials import Commission
from tests.evaluation.scripted import Script
from tests.evaluation.test_campaign import ScriptedHand

GOALS = Script(goals=(2, 4, 5))


def compose(output: Path, *overrides: str) -> DictConfig:
    register_evaluation_schema()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        return hydra.compose("evaluate", ["world=hand", f"output={output}", *overrides])


class Opener:
    """Opens scripted hands, and keeps what they were opened for."""

    def __init__(self, *scripts: Script, **how) -> None:  # type: ignore[no-untyped-def]
        self.scripts, self.how = scripts or (GOALS,), how
        self.commissions: list[Commission] = []
        self.hands: list[ScriptedHand] = []

    def __call__(self, commission: Commission) -> ScriptedHand:
        self.commissions.append(commission)
        self.hands.append(ScriptedHand(*self.scripts, **self.how))
        return self.hands[-1]


def run(output: Path, *overrides: str, opener: Opener | None = None):  # type: ignore[no-untyped-def]
    opener, console = opener or Opener(), Console(file=io.StringIO(), width=160)
    done = evaluate(compose(output, *overrides), console, opener)
    return done, opener, console.file.getvalue()  # type: ignore[attr-defined]


def test_policies_take_turns_and_results_are_those_of_any_evaluation(tmp_path: Path) -> None:
    done, opener, printed = run(
        tmp_path, "policy=[block_none,random]", "trials=2", "limits.rotations=3", "seed=4"
    )
    (hand,) = opener.hands
    assert {(turn.policy, turn.trial) for turn in hand.turns} == {
        (policy, trial) for policy in ("block_none", "random") for trial in (0, 1)
    }
    assert hand.told[-1][0] == "close"
    assert [each.policy for each in done.results] == ["block_none", "random"]
    assert all(each.successes.tolist() == [3, 3] for each in done.results)
    assert len(done.comparisons) == 1
    for name in ("results.json", "trials.csv", "results.png", "campaign.jsonl"):
        assert (tmp_path / name).stat().st_size > 0
    assert "the hand is well" in printed, "its own report"
    assert "rotations in a row" in printed
    kept = json.loads((tmp_path / "results.json").read_text())
    assert "hand" in json.dumps(kept)


def test_a_commission_says_what_the_world_needs(tmp_path: Path) -> None:
    _, opener, _ = run(
        tmp_path, "policy=[block_none,random]", "trials=1", "limits.rotations=1", "hardware=twin",
        "hardware.force=0.7", "goals.kind=within_angle", "goals.angle=[0.5,0.9]",
    )  # fmt: skip
    (commission,) = opener.commissions
    assert commission.task == "block"
    assert commission.hand == "gymnasium_robotics"
    assert (commission.goals.kind, tuple(commission.goals.angle)) == ("within_angle", (0.5, 0.9))
    assert commission.limits.rotations == 1
    bundle = json.loads((locate("block_none") / "bundle.json").read_text())
    trained = bundle["config"]["environment"]["actions"]
    assert commission.actions["block_none"].items() >= trained.items()
    assert set(commission.actions) == {"block_none", "random"}
    assert set(commission.actions["random"]) == {"relative", "smoothing"}
    assert commission.bundles == {"block_none": bundle_digest(locate("block_none"))}
    assert commission.estimator is None
    assert [letter for _, letter, _ in commission.faces] == list("ABCDEF")
    assert (commission.hardware["force"], commission.hardware["backend"]) == (0.7, "twin")
    assert commission.output == tmp_path


def test_actions_given_apply_to_all_policies(tmp_path: Path) -> None:
    _, opener, _ = run(
        tmp_path, "policy=random", "trials=1", "limits.rotations=1", "actions.relative=false",
        "actions.smoothing=0.1",
    )  # fmt: skip
    assert opener.commissions[0].actions == {"random": {"relative": False, "smoothing": 0.1}}


def test_the_world_is_closed_and_trials_are_kept_when_the_operator_gives_up(tmp_path: Path) -> None:
    opener = Opener(broken={1: 2}, patience=0)
    with pytest.raises(TrialInterrupted):
        run(tmp_path, "policy=random", "trials=3", "limits.rotations=3", opener=opener)
    assert opener.hands[0].told[-1][0] == "close"
    assert not (tmp_path / "results.json").exists()
    done, again, _ = run(tmp_path, "policy=random", "trials=3", "limits.rotations=3")
    assert [turn.number for turn in again.hands[0].turns] == [1, 2]
    assert done.results[0].successes.tolist() == [3, 3, 3]


def test_a_finished_campaign_is_printed_anew(tmp_path: Path) -> None:
    words = ("policy=random", "trials=2", "limits.rotations=3")
    first, _, _ = run(tmp_path, *words)
    again, opener, _ = run(tmp_path, *words)
    assert again.results == first.results
    assert opener.hands[0].turns == []


def test_another_campaign_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    run(tmp_path, "policy=random", "trials=1", "limits.rotations=3")
    opener = Opener()
    with pytest.raises(ConfigurationError, match=r"its settings\.hardware\.force is 1\.0, not 0\.5"):
        run(tmp_path, "policy=random", "trials=1", "limits.rotations=3", "hardware.force=0.5", opener=opener)
    assert opener.hands == []


def test_trials_end_by_the_same_rules_as_in_simulation(tmp_path: Path) -> None:
    opener = Opener(Script(goals=(2,), drop=3), Script(goals=(2,)))
    done, _, _ = run(
        tmp_path, "policy=random", "trials=2", "limits.rotations=3", f"limits.timeout={10 * CONTROL_PERIOD}",
        opener=opener,
    )  # fmt: skip
    assert [str(trial.ending) for trial in done.results[0].trials] == ["dropped", "timeout"]
    assert done.results[0].seconds == pytest.approx([3 * CONTROL_PERIOD, 12 * CONTROL_PERIOD])


def test_without_the_hardware_package_it_says_how_to_run_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"world=hand needs the hardware package"):
        evaluate(compose(tmp_path, "policy=random"), Console(file=io.StringIO()))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("world=moon", "world is 'moon'; choose from sim, hand"),
        ("video=true", "video is True, which world=hand has not; leave out video="),
        ("viewer=true", "viewer is True, which world=hand has not; leave out viewer="),
        ("randomization=none", "randomization is none, which world=hand has not; leave out randomization="),
        ("engine=warp", "engine is warp, which world=hand has not; leave out engine="),
        ("initial_states.steps=3", "initial_states is {'steps': 3}, which world=hand has not"),
        ("suite=block", "suite"),
        ("goals.kind=any", "goals.kind"),
        ("goals.tolerance=0", "goals.tolerance"),
        ("actions.smoothing=1.5", "smoothing"),
        ("trials=0", "trials is 0; it must be at least 1"),
        ("limits.rotations=0", "limits.rotations must be at least 1, got 0"),
    ],
)
def test_what_a_hand_has_not_is_told_in_one_line_before_anything_is_opened(
    tmp_path: Path, override: str, said: str
) -> None:
    opener = Opener()
    with pytest.raises(ConfigurationError) as refusal:
        run(tmp_path / "out", "policy=random", override, opener=opener)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert opener.hands == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("hardware=moon", "hardware is 'moon'; choose from shadow_ros, shadow_rosbridge, twin"),
        ("hardware.forces=1", "unknown setting hardware.forces; settings of hardware: backend, cameras,"),
        ("hardwares=twin", "unknown setting hardwares; choose from"),
        ("hardware=twin", None),
        ("hardware=shadow_ros", None),
        ("hardware.force=0.5", None),
        ("hardware.start=[0,0]", None),
        ("world=hand", None),
    ],
)
def test_the_command_line_knows_the_group(override: str, said: str | None) -> None:
    wrong = wrong_override([override], config_directory())
    assert wrong is None if said is None else said in str(wrong)
