"""Pivots, slides and gaits in motions made by hand, and contacts of the simulation."""

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from dactyl_tl.analysis.contacts import PALM, PARTS, ContactRecorder, Recording, part_of_geom
from dactyl_tl.analysis.strategies import (
    GRASPS,
    account,
    clearest,
    gaits,
    grasps,
    main,
    pivots,
    relocations,
    slides,
)
from dactyl_tl.evaluation.policies import RandomPolicy
from dactyl_tl.evaluation.trials import run_trials
from dactyl_tl.evaluation.worlds import simulated_world
from dactyl_tl.protocol import Limits

INDEX, LITTLE, THUMB = PARTS.index("index tip"), PARTS.index("little tip"), PARTS.index("thumb tip")


def still(steps: int = 40, trials: int = 1) -> Recording:
    """The object lies on the palm and nothing moves."""
    shape = (steps, trials)
    touching = np.zeros((*shape, len(PARTS)), bool)
    touching[..., PALM] = True
    points = np.where(touching[..., None], 0.0, np.nan) * np.ones(3)
    return Recording(
        running=np.ones(shape, bool), touching=touching, points=points,
        slip=np.zeros((*shape, len(PARTS))), orientation=np.tile([1.0, 0, 0, 0], (*shape, 1)),
        angular_velocity=np.zeros((*shape, 3)), qpos=np.zeros((*shape, 31)),
        goal=np.tile([1.0, 0, 0, 0], (*shape, 1)), successes=np.zeros(shape, np.int64),
    )  # fmt: skip


def touch(record: Recording, part: int, steps: slice, point: tuple[float, float, float]) -> None:
    record.touching[steps, 0, part] = True
    record.points[steps, 0, part] = point


def test_nothing_happens_where_nothing_moves() -> None:
    record = still()
    assert pivots(record) == slides(record) == gaits(record) == []
    facts = account(record, [])
    assert facts["grasps"]["palm alone"] == 1.0
    assert facts["touching"]["palm"] == 1.0
    assert facts["events"]["pivot"]["share_of_turning"] == 0.0
    assert facts["minutes"] == pytest.approx(40 * 0.08 / 60)


def test_a_turn_about_the_line_through_two_fingertips_is_a_pivot() -> None:
    record = still()
    touch(record, INDEX, slice(10, 20), (0.025, 0.0, 0.0))
    touch(record, THUMB, slice(10, 20), (-0.025, 0.0, 0.0))
    record.angular_velocity[10:20, 0] = (1.5, 0.1, 0.0)
    (event,) = pivots(record)
    assert (event.start, event.stop, event.trial) == (10, 20, 0)
    assert set(event.parts) == {"index tip", "thumb tip"}
    assert event.size == pytest.approx(10 * 0.08 * np.hypot(1.5, 0.1))


@pytest.mark.parametrize("spoil", ["axis", "slip", "short", "let go"])
def test_what_is_no_pivot(spoil: str) -> None:
    record = still()
    stop = 12 if spoil == "short" else 20
    touch(record, INDEX, slice(10, stop), (0.025, 0.0, 0.0))
    touch(record, THUMB, slice(10, stop), (-0.025, 0.0, 0.0))
    record.angular_velocity[10:20, 0] = (0.0, 1.5, 0.0) if spoil == "axis" else (1.5, 0.0, 0.0)
    if spoil == "slip":
        record.slip[10:20, 0, INDEX] = 0.1
    if spoil == "let go":
        record.touching[10:20:2, 0, THUMB] = False
    assert pivots(record) == []


def test_the_axis_is_looked_for_in_the_world() -> None:
    """The object is turned a quarter about z, so its x axis points along the world's y."""
    record = still()
    record.orientation[:] = (np.sqrt(0.5), 0, 0, np.sqrt(0.5))
    touch(record, INDEX, slice(10, 20), (0.025, 0.0, 0.0))
    touch(record, THUMB, slice(10, 20), (-0.025, 0.0, 0.0))
    record.angular_velocity[10:20, 0] = (0.0, 1.5, 0.0)
    assert len(pivots(record)) == 1


def test_a_part_that_moves_over_the_surface_slides() -> None:
    record = still()
    record.slip[5:15, 0, PALM] = 0.05
    (event,) = slides(record)
    assert event.parts == ("palm",)
    assert event.size == pytest.approx(10 * 0.08 * 0.05)
    record.slip[5:15, 0, PALM] = 0.01
    assert slides(record) == []


def test_two_fingers_that_take_the_object_anew_are_a_gait() -> None:
    record = still()
    for finger, left in ((INDEX, 8), (LITTLE, 14)):
        touch(record, finger, slice(0, left + 1), (0.025, 0.0, 0.0))
        touch(record, finger, slice(left + 4, 40), (0.025, 0.02, 0.0))
    moves = relocations(record)
    assert [(move.finger, move.start, move.stop) for move in moves] == [(INDEX, 8, 12), (LITTLE, 14, 18)]
    (event,) = gaits(record)
    assert (event.start, event.stop, event.size) == (8, 19, 2)


def test_a_finger_that_comes_back_to_the_same_place_or_lets_the_object_fly_has_not_moved() -> None:
    record = still()
    touch(record, INDEX, slice(0, 9), (0.025, 0.0, 0.0))
    touch(record, INDEX, slice(12, 40), (0.025, 0.002, 0.0))
    assert relocations(record) == []
    record.points[12:, 0, INDEX] = (0.025, 0.02, 0.0)
    assert len(relocations(record)) == 1
    record.touching[10, 0, PALM] = False
    assert relocations(record) == []


def test_grasps_are_named_by_what_touches() -> None:
    sets = {
        "nothing": [],
        "palm alone": ["palm"],
        "palm and fingers": ["palm", "thumb side"],
        "fingers' sides": ["index side", "index tip"],
        "fingertips without thumb": ["index tip", "middle tip"],
        "tip pinch: thumb and one": ["thumb tip", "little tip"],
        "tripod: thumb and two": ["thumb tip", "index tip", "middle tip"],
        "quadpod: thumb and three": ["thumb tip", "index tip", "middle tip", "ring tip"],
        "five fingertips": [part for part in PARTS if part.endswith("tip")],
    }
    touching = np.array([[part in named for part in PARTS] for named in sets.values()])
    assert [GRASPS[i] for i in grasps(touching)] == list(sets)


def test_the_clearest_events_are_of_different_trials() -> None:
    record = still(trials=2)
    record.slip[5:15, :, PALM] = 0.05
    record.slip[20:35, 0, PALM] = 0.05
    chosen = clearest(slides(record), 2)
    assert sorted(event.trial for event in chosen) == [0, 1]
    assert len(clearest(slides(record), 5)) == 3


def test_contacts_are_read_from_the_simulation() -> None:
    world = simulated_world("block", num_trials=3, limits=Limits(timeout=1.6), randomization="none", seed=0)
    parts = part_of_geom(world.env.scene)
    assert (parts == -1).sum() == len(world.env.scene.object_geoms)
    assert all((parts == i).sum() == 1 for i in range(5))
    recorder = ContactRecorder()
    run_trials(world, RandomPolicy(), 3, limits=Limits(timeout=1.6), watchers=[recorder])
    record = recorder.recording()
    assert record.touching.shape[1:] == (3, len(PARTS))
    touched = record.touching & record.running[..., None]
    assert touched[..., PALM].mean() > 0.2
    assert np.isfinite(record.points[touched]).all()
    # A 5 cm block: points of contact lie on its faces or edges, up to what contacts give way.
    reach = np.abs(record.points[touched])
    assert reach.max(-1).min() > 0.022
    assert reach.max() < 0.028
    assert (record.slip[~touched & record.running[..., None]] == 0).all()


def test_the_command_writes_its_account_and_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["random", "--trials", "2", "--clips", "1", "--output", str(tmp_path)])
    facts = json.loads((tmp_path / "strategies.json").read_text())
    assert sum(facts["grasps"].values()) == pytest.approx(1.0)
    assert sum(facts["turning_by_grasp"].values()) == pytest.approx(1.0)
    assert len(list(tmp_path.glob("*.mp4"))) == len(facts["longest"])
    for event in facts["longest"]:
        steps = event["stop"] - event["start"]
        film = iio.immeta(tmp_path / f"{event['kind']}_0.mp4")["duration"]
        # Slowed four times, at most 0.8 s before and after.
        assert steps * 0.32 <= film + 0.01
        assert film <= (steps + 20) * 0.32 + 0.01
    assert "how the object is held" in capsys.readouterr().out
