"""Records of trials with real policies in a world without a hand, where what is seen is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict

from dactyl_tl import load_policy, rotations
from dactyl_tl.checkpoint import bundle_digest
from dactyl_tl.contract import ACTUATORS, CONTROL_PERIOD, NUM_JOINTS, POLICY, policy_keys
from dactyl_tl.goals import GoalConfig, sample_goals
from dactyl_tl.policies import locate
from dactyl_tl.protocol import Events, Limits, TrialInterrupted
from dactyl_tl.trials import Trial, Turn, collect_trials, run_batch
from hardware.lowlevel.wire import BUCKETS, Condition, Info, State
from hardware.records.mcap_file import Record
from hardware.records.trial_record import present_versions

LIMITS = Limits(rotations=3, timeout=8.0)


class DrawnWorld:
    """Shows what is drawn at random, and records as the world of the hand does.

    Args:
        record: Open; it is not closed here.
        turn: Whose trial it is.
        turns: Rotation of the object in a step, rad: with some, goals are met now and then.
        drop: Step after which the object has fallen and is seen no more.
        interrupt: Step after which the trial breaks off.
    """

    num_trials = 1

    def __init__(
        self,
        record: Record,
        turn: Turn,
        *,
        goals: GoalConfig | None = None,
        turns: float = 0.15,
        drop: int | None = None,
        interrupt: int | None = None,
    ) -> None:
        self.record, self.turn, self.turns, self.drop, self.interrupt = record, turn, turns, drop, interrupt
        self.goals = goals or GoalConfig()

    def begin(self, seed: int) -> None:
        self.record.write(
            "trial", **vars(self.turn), goals=vars(self.goals), safety={"velocity": 10.0, "force": 1.0},
            actions={"relative": True, "smoothing": 0.3}, task="block", limits=vars(LIMITS),
            bundle=bundle_digest(self.turn.source), versions=present_versions(),
        )  # fmt: skip
        self.generator = torch.Generator().manual_seed(seed)
        self.draws = torch.Generator().manual_seed(seed + 1)
        self.step = 0
        self.present = rotations.uniform((1,), self.draws).double()
        self.goal = self.next_goal()
        self.look()

    def next_goal(self) -> torch.Tensor:
        goals = sample_goals(self.goals.kind, self.present, self.goals.angle, self.generator)
        return goals.to(self.present)

    def observe(self) -> TensorDict:
        return self.observation.clone()

    def look(self) -> None:
        view = rotations.canonical(rotations.multiply(self.goal, rotations.conjugate(self.present)))
        drawn = {
            "fingertip_positions": torch.randn(1, 15, generator=self.draws, dtype=torch.float64) * 0.05,
            "object_position": torch.randn(1, 3, generator=self.draws, dtype=torch.float64) * 0.02,
            "relative_target_orientation": view,
        }
        self.observation = TensorDict(
            {
                **{key: drawn[key[1]].float() for key in policy_keys()},
                "is_init": torch.tensor([[self.step == 0]]),
            },
            [1],
        )
        self.record.write(
            "observation",
            step=self.step,
            inputs={name: self.observation[POLICY, name][0].tolist() for name in drawn},
            is_init=self.step == 0,
            goal=self.goal[0].tolist(),
            object_orientation=self.present[0].tolist(),
            held=["object"] if self.step % 10 == 9 else [],
            age_ns=4_000_000,
        )
        condition = Condition(
            State.RUNNING, 0, 0, 16 * self.step, 80_000_000 * self.step, 40_000, self.step + 1, 1, 0, 1.0,
            40.0 + 0.1 * self.step, (0.1,) * NUM_JOINTS, (0.0,) * NUM_JOINTS,
            (float("nan"),) * len(ACTUATORS),
        )  # fmt: skip
        self.record.write("condition", step=self.step, **condition._asdict())

    def act(self, action: torch.Tensor) -> Events:
        bins = action[0].tolist()
        self.record.write(
            "action", step=self.step, bins=bins, sent=[bin_ * 0.2 - 1.0 for bin_ in bins], mode="relative",
            smoothing=0.3, goals=[0.1] * len(bins), clipped=0b101, sequence=self.step + 1,
        )  # fmt: skip
        self.record.write(
            "latency", step=self.step, missed=self.step == 4, sense_ns=5_000_000 + 10_000 * self.step,
            infer_ns=20_000_000 + 1_000 * self.step, send_ns=300_000, act_ns=2_000_000 if self.step else None,
            late_ns=30_000,
        )  # fmt: skip
        if self.step == self.interrupt:
            raise TrialInterrupted("the hand is in hold: tracking lost")
        self.step += 1
        if self.drop is not None and self.step > self.drop:
            return self.events(achieved=False, dropped=True)
        way = rotations.multiply(self.goal, rotations.conjugate(self.present))
        axis = rotations.canonical(way)[:, 1:]
        noise = torch.randn(1, 3, generator=self.draws, dtype=torch.float64)
        step = self.turns * axis / axis.norm() + 0.1 * noise
        self.present = rotations.normalize(
            rotations.multiply(rotations.from_rotation_vector(step), self.present)
        )
        achieved = bool(rotations.distance(self.present, self.goal) < self.goals.tolerance)
        if achieved:
            self.goal = self.next_goal()
        self.look()
        return self.events(achieved, dropped=False)

    def events(self, achieved: bool, dropped: bool) -> Events:
        seconds = self.step * CONTROL_PERIOD + 0.0123
        self.record.write("events", step=self.step, achieved=achieved, dropped=dropped, seconds=seconds)
        no = torch.zeros(1, dtype=torch.bool)
        return Events(
            torch.tensor([achieved]), torch.tensor([dropped]), no, no,
            torch.tensor([seconds], dtype=torch.float64),
        )  # fmt: skip


def controller_counts(**changes: Any) -> dict[str, Any]:
    """As the world of the hand writes them at the end of a trial."""
    lateness = [0] * BUCKETS
    lateness[4], lateness[5], lateness[6], lateness[10] = 20, 60, 19, 1
    info = Info(b"", b"", 5_000_000, 3, 100, 1, 2, 7, 11, tuple(lateness))
    return info._asdict() | {"table": "00ff", "backend": "twin"} | changes


def record_trial(path: Path, policy: str = "block_none", seed: int = 7, trial: int = 0, number: int = 0,
                 sample_actions: bool = True, **how: Any) -> Trial | None:  # fmt: skip
    """Run a trial and record it; its outcome, None if it was interrupted."""
    record = Record(path)
    turn = Turn(number, policy, str(locate(policy)), trial, seed, sample_actions)
    try:
        referee = run_batch(
            DrawnWorld(record, turn, **how), load_policy(policy), seed, LIMITS, sample_actions
        )
    except TrialInterrupted as interruption:
        record.write("interruption", why=str(interruption))
        outcome = None
    else:
        outcome = collect_trials(referee, seed, trial)[0]
        record.write("outcome", **{**dataclasses.asdict(outcome), "ending": str(outcome.ending)})
    record.write("controller", **controller_counts())
    record.close()
    return outcome


def rewrite(source: Path, target: Path, change: Callable[[str, dict[str, Any]], None]) -> Path:
    """Copy a record, each message changed in place by ``change(topic, fields)``."""
    from hardware.records.mcap_file import read_record

    record = Record(target)
    for entry in read_record(source)[0]:
        change(entry.topic, entry.fields)
        record.write(entry.topic, **entry.fields)
    record.close()
    return target
