from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from dactyl_tl.collection import statistics
from dactyl_tl.collection.statistics import EpisodeStatistics, _last, step_means, step_statistics
from dactyl_tl.contract import REWARD_TERMS
from tests.synchronising import no_synchronisation


def rollout(**columns: list[list[float]]) -> TensorDict:
    """[N, T] with zeros where nothing is said."""
    shape = (len(columns["done"]), len(columns["done"][0]))
    kinds = {"successes": torch.int64, "elapsed": torch.float32, "reward": torch.float32}
    kinds |= {"goal_distance": torch.float32}
    names = ("done", "dropped", "truncated", "diverged", "achieved", *kinds)
    after = {
        name: torch.tensor(columns.get(name, torch.zeros(shape).tolist()))
        .to(kinds.get(name, torch.bool))
        .unsqueeze(-1)
        for name in names
    }
    after["reward_terms"] = {term: torch.zeros(*shape, 1) for term in REWARD_TERMS}
    return TensorDict({"next": TensorDict(after, shape)}, shape)


def test_episodes_that_ended_by_hand() -> None:
    # First simulation: drops after 3 goals and 2.4 s, then times out with 1 goal after 8 s.
    # Second: still running. Third: diverges.
    data = rollout(
        done=[[1, 0, 1], [0, 0, 0], [0, 1, 0]],
        dropped=[[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        truncated=[[0, 0, 1], [0, 0, 0], [0, 1, 0]],
        diverged=[[0, 0, 0], [0, 0, 0], [0, 1, 0]],
        successes=[[3, 0, 1], [7, 8, 9], [5, 6, 0]],
        elapsed=[[2.4, 0.08, 8.0], [1, 1.08, 1.16], [3, 3.08, 0.08]],
    )
    metrics = EpisodeStatistics().update(data)
    assert metrics["episode/finished"] == 2
    assert metrics["episode/successes"] == 2.0
    assert metrics["episode/drop_rate"] == 0.5
    assert metrics["episode/timeout_rate"] == 0.5
    assert metrics["episode/seconds"] == pytest.approx(5.2)
    assert metrics["episode/diverged"] == 1


def test_nothing_is_said_before_an_episode_has_ended() -> None:
    assert "episode/successes" not in EpisodeStatistics().update(rollout(done=[[0, 0]]))


def test_the_window_forgets_and_the_state_remembers() -> None:
    statistics = EpisodeStatistics(window=2)
    statistics.update(rollout(done=[[1, 1, 1]], successes=[[9, 1, 2]]))
    assert statistics.means()["episode/successes"] == 1.5
    other = EpisodeStatistics(window=2)
    other.load_state_dict(statistics.state_dict())
    assert other.means() == statistics.means()
    assert other.finished == 3


def test_steps_by_hand() -> None:
    data = rollout(done=[[0, 0]], reward=[[1.0, 2.0]], goal_distance=[[0.5, 1.5]], achieved=[[0, 1]])
    data["next", "reward_terms", "success"] = torch.tensor([[[0.0], [5.0]]])
    metrics = step_statistics(data)
    assert metrics["reward/total"] == 1.5
    assert metrics["reward/success"] == 2.5
    assert metrics["rollout/goal_distance"] == 1.0
    assert metrics["rollout/successes_per_second"] == pytest.approx(0.5 / 0.08)


def test_a_rollout_is_read_from_its_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = rollout(done=[[1, 0, 1], [0, 1, 1]], successes=[[1, 2, 3], [4, 5, 6]])
    reads = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: reads.append(tensor.shape) or tensor.clone())
    # What follows the copy is the host's own; what comes before it must not wait.
    statistics = EpisodeStatistics(window=3)
    metrics = statistics.update(data, {"extra": torch.ones(())})
    assert len(reads) == 1
    assert metrics["extra"] == 1.0
    assert metrics["episode/finished"] == 4
    assert metrics["episode/successes"] == pytest.approx((3 + 5 + 6) / 3)
    assert metrics == {**EpisodeStatistics(window=3).update(data), "extra": 1.0}


def test_nothing_waits_before_the_reading() -> None:
    data = rollout(done=[[1, 0, 1], [0, 1, 1]])
    with no_synchronisation():
        number, last = _last(data["next", "done"].flatten(), 3)
        step_means(data)
    assert number == 4
    assert last.tolist() == [2, 4, 5]
    assert _last(torch.tensor([False, True]), 3)[1].tolist()[2:] == [1]


def test_ranks_see_the_episodes_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks, one of which had more episodes than the window holds."""
    parts = [
        rollout(done=[[1, 1, 1, 1]], successes=[[1, 2, 3, 4]], reward=[[1.0] * 4]),
        rollout(done=[[0, 0, 1, 1]], successes=[[0, 0, 10, 20]], reward=[[3.0] * 4]),
    ]
    ages = [{"age": torch.tensor(age), "age_max": torch.tensor(age)} for age in (0.0, 2.0)]
    sent: list[torch.Tensor] = []
    monkeypatch.setattr(statistics, "of_all_ranks", lambda mine: sent.append(mine) or mine.unsqueeze(0))
    for part, age in zip(parts, ages, strict=True):
        EpisodeStatistics(window=3).update(part, age)
    monkeypatch.setattr(statistics, "of_all_ranks", lambda mine: torch.stack(sent))
    found = [EpisodeStatistics(window=3).update(part, age) for part, age in zip(parts, ages, strict=True)]
    assert found[0] == found[1]
    assert found[0]["episode/finished"] == 6
    assert found[0]["episode/successes"] == pytest.approx((4 + 20 + 3) / 3), "the last of both, in turn"
    assert found[0]["reward/total"] == 2.0
    assert (found[0]["age"], found[0]["age_max"]) == (1.0, 2.0)
