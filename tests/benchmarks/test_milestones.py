"""Frames to so many goals, read off a curve whose curricula come and go."""

from pathlib import Path

import pytest

from benchmarks import milestones
from dactyl_tl.policies import CURVE

CURVE_OF_THREE_STAGES = """\
frames,minutes,episode/successes,curriculum/goal_angle,curriculum/randomization_scale
1000,1,6,1.0,
2000,2,2,3.1416,
3000,3,3,,0.5
4000,4,6,,0.5
5000,5,4,,1.0
6000,6,5.5,,
"""


@pytest.fixture
def curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milestones, "FOLDER", tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / CURVE).write_text(CURVE_OF_THREE_STAGES)


@pytest.mark.usefixtures("curve")
@pytest.mark.parametrize(("goals", "frames"), [(1, 2000), (4, 5000), (5, 6000), (10, None)])
def test_goals_count_where_no_curriculum_eases_them(goals: int, frames: int | None) -> None:
    reached = milestones._reached("mine", goals)

    assert (reached and reached.frames) == frames
