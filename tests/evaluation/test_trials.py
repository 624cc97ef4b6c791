"""Section 6.2's protocol, with everything happening at known times."""

import json

import pytest
import torch

from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.evaluation.policies import RandomPolicy
from dactyl_tl.evaluation.trials import TrialResults, run_trials
from dactyl_tl.protocol import Ending, Limits, Referee
from tests.evaluation.scripted import CountingPolicy, Script, ScriptedWorld

STEP = CONTROL_PERIOD
LIMITS = Limits(rotations=3, timeout=10 * STEP)


def run(*scripts: Script, limits: Limits = LIMITS) -> TrialResults:
    return run_trials(ScriptedWorld(list(scripts)), RandomPolicy(), len(scripts), limits=limits)


def test_the_papers_limits_are_the_default() -> None:
    assert Limits() == Limits(rotations=50, timeout=80.0)


def test_each_ending_with_its_count_and_time() -> None:
    results = run(
        Script(goals=(2, 5, 9, 11)),  # a fourth goal after the trial is complete does not count
        Script(goals=(4,), drop=7),
        Script(goals=(3, 8)),  # the third goal is due at step 18
        Script(drop=1),
        Script(goals=(5,), diverge=6),
    )
    assert [trial.ending for trial in results.trials] == [
        Ending.COMPLETED, Ending.DROPPED, Ending.TIMEOUT, Ending.DROPPED, Ending.DIVERGED,
    ]  # fmt: skip
    assert results.successes.tolist() == [3, 1, 2, 0, 1]
    assert results.seconds == pytest.approx([9 * STEP, 7 * STEP, 18 * STEP, STEP, 6 * STEP])
    assert results.trials[0].goal_seconds == pytest.approx((2 * STEP, 5 * STEP, 9 * STEP))
    assert results.endings == {
        Ending.COMPLETED: 1, Ending.DROPPED: 2, Ending.TIMEOUT: 1, Ending.DIVERGED: 1,
    }  # fmt: skip


def test_fifty_rotations_complete_a_trial() -> None:
    results = run(Script(goals=tuple(range(1, 60))), limits=Limits())
    assert (results.successes.tolist(), results.trials[0].ending) == ([50], Ending.COMPLETED)


def test_the_clock_restarts_with_each_goal_and_the_last_moment_counts() -> None:
    in_time = run(Script(goals=(10, 20), drop=25))
    assert in_time.successes.tolist() == [2]
    late = run(Script(goals=(9, 20), drop=25))
    assert (late.successes.tolist(), late.trials[0].ending) == ([1], Ending.TIMEOUT)


def test_a_rotation_in_the_step_of_the_drop_counts() -> None:
    assert run(Script(goals=(2,), drop=2)).successes.tolist() == [1]


def test_a_finished_trial_does_not_change_while_others_run() -> None:
    results = run(Script(drop=1, goals=(3, 4)), Script(goals=(8,), drop=12))
    assert results.successes.tolist() == [0, 1]
    assert results.seconds == pytest.approx([STEP, 12 * STEP])


def test_a_world_that_stops_without_a_reason_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"stopped trials \[0\] for no reason"):
        run(Script(stop=3))


def test_batches_have_their_own_seeds_and_surplus_is_left_out() -> None:
    world = ScriptedWorld([Script(drop=1), Script(drop=2)], [Script(drop=3), Script(drop=4)])
    results = run_trials(world, RandomPolicy(), 3, seed=5, limits=LIMITS)
    assert results.seconds == pytest.approx([STEP, 2 * STEP, 3 * STEP])
    assert [trial.index for trial in results.trials] == [0, 1, 2]
    assert len(set(world.seeds)) == 2
    assert [trial.seed for trial in results.trials] == [world.seeds[0]] * 2 + [world.seeds[1]]
    again = ScriptedWorld([Script(drop=1)] * 2)
    run_trials(again, CountingPolicy(), 3, seed=5, limits=LIMITS)
    assert again.seeds == world.seeds


def test_sampled_actions_repeat_with_the_seed_and_leave_torch_alone() -> None:
    before = torch.get_rng_state()
    worlds = [ScriptedWorld([Script(drop=4)]) for _ in range(3)]
    for world, seed in zip(worlds, (1, 1, 2), strict=True):
        run_trials(world, RandomPolicy(), 1, seed=seed, limits=LIMITS)
    first, same, other = (torch.stack(world.actions) for world in worlds)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_memory_is_carried_within_a_batch_and_cleared_between_batches() -> None:
    world = ScriptedWorld([Script(drop=4)])
    run_trials(world, CountingPolicy(), 2, limits=LIMITS)
    assert [int(action[0, 0]) for action in world.actions] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_watchers_see_the_beginning_and_every_step() -> None:
    seen: list[list[int]] = []
    run_trials(
        ScriptedWorld([Script(goals=(2,), drop=3)]), RandomPolicy(), 1, limits=LIMITS,
        watchers=[lambda world, referee: seen.append(referee.successes.tolist())],
    )  # fmt: skip
    assert seen == [[0], [0], [1], [1]]


def test_results_survive_json() -> None:
    results = run(Script(goals=(2,), drop=7))
    assert TrialResults.from_dict(json.loads(json.dumps(results.to_dict()))) == results


@pytest.mark.parametrize(("rotations", "timeout"), [(0, 1.0), (1, 0.0), (1, float("nan"))])
def test_limits_that_make_no_sense_are_refused(rotations: int, timeout: float) -> None:
    with pytest.raises(ValueError, match="limits"):
        Limits(rotations, timeout)


def test_no_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="trials must be at least 1, got 0"):
        run_trials(ScriptedWorld([Script()]), RandomPolicy(), 0)


def test_a_referee_starts_with_everything_running() -> None:
    referee = Referee(LIMITS, 2)
    assert not referee.finished
    assert referee.endings == [None, None]
