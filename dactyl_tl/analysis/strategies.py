"""What a policy does with its fingers (Section 6.1): ``python -m dactyl_tl.analysis.strategies POLICY``.

Contacts of section 6.2's trials are looked at once a control step (80 ms) and told apart by the rules below:
how the object is held, and when it is pivoted, slid or taken anew. The clearest of each is filmed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from dactyl_tl import rotations
from dactyl_tl.analysis.clips import film
from dactyl_tl.analysis.contacts import (
    PALM,
    PARTS,
    SIDES,
    THUMB,
    TIPS,
    Array,
    ContactRecorder,
    Mask,
    Recording,
)
from dactyl_tl.contract import CONTROL_PERIOD, FINGERS
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.evaluation.policies import find_policies
from dactyl_tl.evaluation.report import TABLE_WIDTH
from dactyl_tl.evaluation.trials import run_trials
from dactyl_tl.evaluation.watchers import reporter
from dactyl_tl.evaluation.worlds import simulated_world
from dactyl_tl.progress import progress_reports

PIVOT_ANGLE = np.radians(30.0)
"""Between the axis of rotation and the line through two fingers' contacts, at most."""
PIVOT_SPEED = 0.5
"""rad/s of the object, at least."""
PIVOT_TURN = 0.4
"""rad in all, at least: the tolerance of a goal."""
SLIP = 0.03
"""m/s: above, a contact slides; below, it sticks or rolls."""
SLIDE_LENGTH = 0.01
"""m, of a slide at least."""
RELOCATION = 0.01
"""m on the object, between where a finger left it and where it comes back."""
AWAY = 2.0
"""s, that a finger may be away."""
GAIT = 1.0
"""s, within which another finger moves too."""
SHORTEST = 3
"""Control steps of a pivot or a slide."""


@dataclass(frozen=True)
class Event:
    """Something that was done.

    Attributes:
        kind: ``"pivot"``, ``"slide"`` or ``"gait"``.
        trial: in which.
        start, stop: control steps, the last one excluded.
        parts: of the hand, of :data:`PARTS`.
        size: rad turned by a pivot; m slid; fingers that a gait moved.
    """

    kind: str
    trial: int
    start: int
    stop: int
    parts: tuple[str, ...]
    size: float


GRASPS = (
    "nothing",
    "palm alone",
    "palm and fingers",
    "fingers' sides",
    "fingertips without thumb",
    "tip pinch: thumb and one",
    "tripod: thumb and two",
    "quadpod: thumb and three",
    "five fingertips",
)
"""How the object may be held, by contacts alone; the names of precision grasps as in Figure 7."""


def grasps(touching: Mask) -> NDArray[np.int64]:
    """Index in :data:`GRASPS` of each of (..., 11) sets of contacts."""
    tips = touching[..., TIPS].sum(-1)
    sides = touching[..., SIDES].any(-1)
    thumb = touching[..., THUMB]
    palm = touching[..., PALM]
    precise = np.where(thumb & (tips >= 2), GRASPS.index("tip pinch: thumb and one") + tips - 2,
                       GRASPS.index("fingertips without thumb"))  # fmt: skip
    return np.select(
        [palm & ((tips > 0) | sides), palm, sides, tips > 0],
        [
            GRASPS.index("palm and fingers"),
            GRASPS.index("palm alone"),
            GRASPS.index("fingers' sides"),
            precise,
        ],
        GRASPS.index("nothing"),
    )


def pivots(record: Recording) -> list[Event]:
    """The object turns about the line through two fingers that hold on to it."""
    fingers = slice(TIPS.start, SIDES.stop)
    turn = torch.from_numpy(record.orientation)[..., None, :].expand(-1, -1, SIDES.stop, -1)
    world = rotations.rotate(turn, torch.from_numpy(record.points[..., fingers, :])).numpy()
    speed = np.linalg.norm(record.angular_velocity, axis=-1)
    axis = record.angular_velocity / np.maximum(speed, 1e-9)[..., None]
    holding = record.touching[..., fingers] & (record.slip[..., fingers] < SLIP)
    events = []
    for first, second in combinations(range(SIDES.stop), 2):
        if (second - first) % len(FINGERS) == 0:
            continue  # of the same finger
        line = world[..., second, :] - world[..., first, :]
        length = np.linalg.norm(line, axis=-1)
        with np.errstate(invalid="ignore"):
            cosine = np.abs((line * axis).sum(-1)) / np.maximum(length, 1e-9)
            turning = (cosine > np.cos(PIVOT_ANGLE)) & (speed > PIVOT_SPEED) & (length > RELOCATION)
        turning &= holding[..., first] & holding[..., second] & record.running
        for trial, start, stop in _runs(turning):
            size = float(speed[start:stop, trial].sum() * CONTROL_PERIOD)
            if size >= PIVOT_TURN:
                events.append(Event("pivot", trial, start, stop, (PARTS[first], PARTS[second]), size))
    return events


def slides(record: Recording) -> list[Event]:
    """A part stays in contact while it moves over the object's surface, or the object over it."""
    events = []
    for part in range(len(PARTS)):
        sliding = record.touching[..., part] & (record.slip[..., part] > SLIP) & record.running
        for trial, start, stop in _runs(sliding):
            length = float(record.slip[start:stop, trial, part].sum() * CONTROL_PERIOD)
            if length >= SLIDE_LENGTH:
                events.append(Event("slide", trial, start, stop, (PARTS[part],), length))
    return events


@dataclass(frozen=True)
class Relocation:
    """A finger that left the object at step ``start`` and is back elsewhere on it at step ``stop``."""

    trial: int
    finger: int
    start: int
    stop: int


def relocations(record: Recording) -> list[Relocation]:
    """Fingertips that leave the object and come back elsewhere while something else holds it all the time."""
    found = []
    longest = round(AWAY / CONTROL_PERIOD)
    for finger in range(5):
        touching = record.touching[..., finger] & record.running
        others = np.delete(record.touching, finger, axis=-1).any(-1) & record.running
        for trial in range(touching.shape[1]):
            steps = np.flatnonzero(touching[:, trial])
            for left, back in pairwise(steps):
                if not 1 < back - left <= longest or not others[left : back + 1, trial].all():
                    continue
                moved = record.points[back, trial, finger] - record.points[left, trial, finger]
                if np.linalg.norm(moved) >= RELOCATION:
                    found.append(Relocation(trial, finger, int(left), int(back)))
    return sorted(found, key=lambda each: (each.trial, each.start))


def gaits(record: Recording) -> list[Event]:
    """Two fingers or more take the object anew, one after the other."""
    events = []
    apart = round(GAIT / CONTROL_PERIOD)
    moves = relocations(record)
    while moves:
        chain = [moves.pop(0)]
        while moves and moves[0].trial == chain[0].trial and moves[0].start - chain[-1].stop <= apart:
            chain.append(moves.pop(0))
        fingers = dict.fromkeys(PARTS[move.finger] for move in chain)
        if len(fingers) >= 2:
            stop = max(move.stop for move in chain) + 1
            events.append(Event("gait", chain[0].trial, chain[0].start, stop, tuple(fingers), len(fingers)))
    return events


def account(record: Recording, events: Sequence[Event]) -> dict[str, Any]:
    """Shares of time and of turning, and how often each thing is done: JSON types."""
    running = record.running
    minutes = running.sum() * CONTROL_PERIOD / 60
    turn = np.linalg.norm(record.angular_velocity, axis=-1) * CONTROL_PERIOD * running
    turn /= max(turn.sum(), 1e-9)
    held = grasps(record.touching)
    sets = Counter(map(bytes, record.touching[running].view(np.uint8)))
    named = {
        " + ".join(_names(np.frombuffer(key, np.uint8))) or "nothing": n for key, n in sets.most_common(8)
    }
    return {
        "minutes": float(minutes),
        "rotations": int(record.successes.max(0).sum()),
        "touching": {part: float(record.touching[running, i].mean()) for i, part in enumerate(PARTS)},
        "fingertips_at_a_time": [
            float((record.touching[running][:, TIPS].sum(-1) == count).mean()) for count in range(6)
        ],
        "grasps": {name: float((held[running] == i).mean()) for i, name in enumerate(GRASPS)},
        "turning_by_grasp": {name: float(turn[held == i].sum()) for i, name in enumerate(GRASPS)},
        "commonest_contacts": {name: float(count / running.sum()) for name, count in named.items()},
        "events": {kind: _account_of(kind, events, turn, minutes) for kind in ("pivot", "slide", "gait")},
    }


def _account_of(kind: str, events: Sequence[Event], turn: Array, minutes: float) -> dict[str, Any]:
    chosen = [event for event in events if event.kind == kind]
    covered = np.zeros(turn.shape, bool)
    for event in chosen:
        covered[event.start : event.stop, event.trial] = True
    parts = Counter(" + ".join(event.parts) for event in chosen)
    return {
        "number": len(chosen),
        "a_minute": len(chosen) / minutes,
        "share_of_turning": float(turn[covered].sum()),
        "mean_size": float(np.mean([event.size for event in chosen])) if chosen else 0.0,
        "parts": {name: count / len(chosen) for name, count in parts.most_common(6)},
    }


def _names(flags: NDArray[np.uint8]) -> list[str]:
    return [part for part, on in zip(PARTS, flags, strict=True) if on]


def _runs(marks: Mask) -> list[tuple[int, int, int]]:
    """Trial, start and stop of every run of at least :data:`SHORTEST` marked steps of (T, N)."""
    found = []
    for trial in range(marks.shape[1]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], marks[:, trial].astype(np.int8), [0]])))
        for start, stop in edges.reshape(-1, 2):
            if stop - start >= SHORTEST:
                found.append((trial, int(start), int(stop)))
    return found


def account_table(facts: dict[str, Any], title: str) -> list[Table]:
    """For a terminal."""
    held = Table(title=title, title_justify="left", width=TABLE_WIDTH)
    held.add_column("how the object is held", ratio=1)
    held.add_column("time", justify="right")
    held.add_column("turning", justify="right")
    for name in GRASPS:
        held.add_row(name, f"{facts['grasps'][name]:.1%}", f"{facts['turning_by_grasp'][name]:.1%}")
    touched = Table(width=TABLE_WIDTH)
    touched.add_column("touches the object", ratio=1)
    touched.add_column("time", justify="right")
    for part, share in facts["touching"].items():
        touched.add_row(part, f"{share:.1%}")
    done = Table(width=TABLE_WIDTH)
    done.add_column("what is done", ratio=1)
    for column in ("a minute", "turning", "mean size", "mostly with"):
        done.add_column(column, justify="right")
    units = {"pivot": "rad", "slide": "m", "gait": "fingers"}
    for kind, each in facts["events"].items():
        mostly = next(iter(each["parts"]), "")
        size = f"{each['mean_size']:.2g} {units[kind]}"
        done.add_row(kind, f"{each['a_minute']:.1f}", f"{each['share_of_turning']:.1%}", size, mostly)
    return [held, touched, done]


def main(arguments: Sequence[str] | None = None) -> None:
    """Record, account, film."""
    parser = argparse.ArgumentParser(prog="python -m dactyl_tl.analysis.strategies", description=__doc__)
    parser.add_argument("policy", help="a shipped policy's name, a bundle, a checkpoint or a run")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--randomization", default="none", help="of the trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clips", type=int, default=2, help="films of each kind of event")
    parser.add_argument("--output", type=Path, default=Path("outputs/strategies"))
    options = parser.parse_args(arguments)
    console = Console()
    try:
        (policy,) = find_policies([options.policy])
        world = simulated_world(
            policy.task,
            num_trials=options.trials,
            randomization=options.randomization,
            hand=policy.hand,
            actions=policy.actions,
            num_threads=0,
        )
    except (ConfigurationError, ValueError) as error:
        parser.error(str(error))
    recorder = ContactRecorder()
    with progress_reports(console) as report:
        progress = reporter(policy.name, options.trials, report)
        run_trials(world, policy.module, options.trials, options.seed, watchers=[progress, recorder])
    world.close()
    record = recorder.recording()
    events = [*pivots(record), *slides(record), *gaits(record)]
    facts = account(record, events)
    title = f"{policy.name}, randomization {options.randomization}, {options.trials} trials, "
    title += f"{facts['minutes']:.0f} min"
    for each in account_table(facts, title):
        console.print(each)
    options.output.mkdir(parents=True, exist_ok=True)
    written = {"policy": policy.name, "randomization": options.randomization, "seed": options.seed, **facts}
    filmed = clearest(events, options.clips)
    written["longest"] = [asdict(event) for event in filmed]
    (options.output / "strategies.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    console.print(f"wrote {options.output / 'strategies.json'}")
    for number, event in enumerate(filmed):
        path = options.output / f"{event.kind}_{number % options.clips}.mp4"
        words = f"{event.kind}: {', '.join(event.parts)}"
        steps = range(event.start, event.stop)
        film(path, record, event.trial, steps, words, task=policy.task, hand=policy.hand)
        console.print(f"wrote {path}")


def clearest(events: Sequence[Event], number: int) -> list[Event]:
    """The ``number`` largest of each kind, of equal ones the shortest; of different trials if possible."""

    def rank(event: Event) -> tuple[float, int]:
        return -event.size, event.stop - event.start

    chosen = []
    for kind in ("pivot", "slide", "gait"):
        ranked = sorted((event for event in events if event.kind == kind), key=rank)
        first_of_trial = {event.trial: event for event in reversed(ranked)}
        best = sorted(first_of_trial.values(), key=rank)
        chosen += (best + [event for event in ranked if event not in best])[:number]
    return chosen


if __name__ == "__main__":
    main()
