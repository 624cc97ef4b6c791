"""The hand as a world in which trials run: observe, act, 80 ms later look again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from tensordict import TensorDict
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.contract import CONTROL_PERIOD, DROP_DEPTH, NUM_BINS, POLICY
from dactyl_tl.goals import GoalConfig, sample_goals
from dactyl_tl.protocol import Events, TrialInterrupted
from dactyl_tl.trials import Trial, Turn
from hardware.client import HandClient
from hardware.errors import HardwareError
from hardware.goal_display import GoalDisplay
from hardware.lowlevel.joints import NUM_ACTUATORS
from hardware.lowlevel.realtime import settle
from hardware.lowlevel.wire import Condition, Info, Mode, Reason, State
from hardware.operators import Operator
from hardware.pose import take_pose
from hardware.records.mcap_file import Record, RecordError
from hardware.records.report import print_report
from hardware.senses import Senses, Sight
from hardware.session import step_back

PERIOD_NS = round(CONTROL_PERIOD * 1e9)

PALM_HEIGHT = -0.01
"""Of the palm's origin in the hand-base frame, m, whatever the wrist does; the object is dropped
:data:`~dactyl_tl.contract.DROP_DEPTH` below it."""

FINDING = 2_000_000_000
"""ns for everything to be seen before a trial."""


@dataclass(frozen=True)
class Action:
    """How actions move the hand; a policy only means something with those it was trained on.

    Attributes:
        relative: To the measured angle; otherwise to the centre of the range.
        smoothing: Share of the previous smoothed action that is kept.
    """

    relative: bool = True
    smoothing: float = 0.3


@dataclass(frozen=True)
class Safety:
    """What a session allows the hand.

    Attributes:
        velocity: Greatest speed of a target, rad/s.
        force: The servos' greatest force, 0..1.
    """

    velocity: float = 10.0
    force: float = 1.0


@dataclass
class HandWorld:
    """One trial at a time on a hand, real or simulated, by the same interface as simulation.

    Args:
        client: To the low-level controller.
        senses: Where fingertips and object are.
        operator: Puts the object on the hand.
        records: Directory of the trials' records.
        actions: Of the policies, by name.
        goals: Which are asked for.
        safety: What the hand is allowed.
        start: Targets of the 20 servos at which trials begin, rad; None to begin where the hand is.
        display: Shows the goal; None for none.
        pictures: Whether records keep the cameras' pictures.
        about: What else identifies a trial, for its record.
        resources: Closed with the world.
    """

    client: HandClient
    senses: Senses
    operator: Operator
    records: Path
    actions: Mapping[str, Action]
    goals: GoalConfig = field(default_factory=GoalConfig)
    safety: Safety = field(default_factory=Safety)
    start: tuple[float, ...] | None = None
    display: GoalDisplay | None = None
    pictures: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    resources: ExitStack = field(default_factory=ExitStack)

    num_trials = 1

    def __post_init__(self) -> None:
        self._turn = Turn(0, "", "", 0, 0)
        self._record: Record | None = None

    # Between trials

    def introduce(self, turn: Turn) -> None:
        """Whose trial begins next; see :class:`dactyl_tl.evaluation.campaign.PhysicalWorld`."""
        self._turn = turn

    def begin(self, seed: int) -> None:
        """Have the hand made ready and the object put on it; the first goal follows from the seed.

        Raises:
            TrialInterrupted: Something is not as it should be.
        """
        with self._interruptible():
            self._open_record(seed)
            settle()
            self._generator = torch.Generator().manual_seed(seed)
            self._make_ready()
            self.operator.prepare(seed)
            self._await_measurement()
            self.client.await_well()
            self.client.arm(self.safety.velocity, self.safety.force)
            if self.start is not None:
                take_pose(self.client, self.start)
            self.operator.hand_over(self._idle)
            self.senses.reset()
            sight = self._find_everything()
            self.client.info(reset=True)
            self._step = 0
            self._acted = (0, 0)
            self._goal = self._next_goal(sight)
            self.operator.begin()
            self._began = self._due = time.monotonic_ns()
            first = self._look()
            if first is None:
                raise TrialInterrupted("the object fell before the trial began")
            self._take_in(first)

    def conclude(self, trial: Trial) -> None:
        """The trial has ended: let go of the hand, and close its record."""
        self._finish(self._rest(), "outcome", **{**vars(trial), "ending": str(trial.ending)})

    def recover(self, why: str) -> bool:
        """The trial was interrupted: let go of the hand, and ask the operator."""
        self._finish(self._rest(), "interruption", why=why)
        return self.operator.go_on(why)

    def close(self) -> None:
        """Let go of the hand and of everything else."""
        with self.resources:
            self._rest()
            if self._record:
                self._record.close()
        step_back()

    def report(self, console: Console) -> list[Path]:
        """Print latencies and lateness of all trials' records, and write the campaign's report."""
        return print_report(self.records.parent, console)

    # In a trial

    def observe(self) -> TensorDict:
        """The policy's inputs; see :class:`dactyl_tl.protocol.World`."""
        return self._observation.clone()

    def act(self, action: Tensor) -> Events:
        """Send an action, wait for the rest of the control step, and look.

        Raises:
            TrialInterrupted: The hand did not do it, or what is needed is not seen; the hand holds.
        """
        with self._interruptible():
            self._send(action)
            self._wait()
            sight = self._look()
            if sight is None:
                return self._events(achieved=False, dropped=True)
            position, orientation = _tensor(sight.object_position), _tensor(sight.object_orientation)
            dropped = bool(position[0, 2] < PALM_HEIGHT - DROP_DEPTH)
            achieved = bool(rotations.distance(orientation, self._goal) < self.goals.tolerance)
            if achieved:
                self._goal = self._next_goal(sight)
            self._take_in(sight)
            return self._events(achieved, dropped)

    def _send(self, action: Tensor) -> None:
        decided = time.monotonic_ns()
        bins = action[0].tolist()
        assert len(bins) == NUM_ACTUATORS
        numbers = [bin_ * (2.0 / (NUM_BINS - 1)) - 1.0 for bin_ in bins]
        how = self.actions[self._turn.policy]
        mode = Mode.RELATIVE if how.relative else Mode.ABSOLUTE
        exchange = self.client.command(numbers, mode, how.smoothing)
        report = exchange.report
        self._write(
            "action", step=self._step, bins=bins, sent=numbers, mode=mode.name.lower(),
            smoothing=how.smoothing, goals=report.goals, clipped=report.clipped, sequence=report.sequence,
        )  # fmt: skip
        self._times["infer"] = decided - self._looked
        self._times["send"] = exchange.answered_ns - exchange.sent_ns
        self._acted = (report.sequence, report.received_ns)

    def _wait(self) -> None:
        """Until the control step is over; one that is late already is counted, and begins anew."""
        self._due += PERIOD_NS
        now = time.monotonic_ns()
        missed = now >= self._due
        if missed:
            self._due = now
        while time.monotonic_ns() < self._due - 2_000_000:
            self._idle()
            left = self._due - time.monotonic_ns()
            time.sleep(max(0.0, min(left - 1_000_000, 10_000_000) * 1e-9))
        self.client.stay(self._due)
        self._times["late"] = time.monotonic_ns() - self._due
        condition = self.client.condition()
        sequence, received = self._acted
        acted = condition.sequence == sequence and condition.acted_ns > 0
        self._times["act"] = condition.acted_ns - received if acted else None
        self._write(
            "latency", step=self._step, missed=missed, **{f"{k}_ns": v for k, v in self._times.items()}
        )
        self._check(condition)
        self._step += 1

    def _look(self) -> Sight | None:
        """What is seen now; None if the object is gone because it fell."""
        began = time.monotonic_ns()
        sight = self.senses.look()
        self._looked = time.monotonic_ns()
        self._times: dict[str, int | None] = {"sense": sight.age_ns + self._looked - began}
        missing = [each for each in sight.missing if not each.startswith("object")]
        if sight.missing:
            self.client.hold(Reason.TRACKING_LOST)
            if not missing and self.operator.dropped():
                return None
            raise TrialInterrupted("; ".join(sight.missing))
        for name in ("fingertips", "object_position", "object_orientation"):
            value = getattr(sight, name)
            if value is None or not np.isfinite(value).all():
                self.client.hold(Reason.TRACKING_LOST)
                raise TrialInterrupted(f"{name} is {value}, which no policy can act on")
        return sight

    def _take_in(self, sight: Sight) -> None:
        assert sight.fingertips is not None
        orientation = _tensor(sight.object_orientation)
        relative = rotations.multiply(self._goal, rotations.conjugate(orientation))
        inputs: dict[str, Tensor] = {
            "fingertip_positions": _tensor(sight.fingertips.ravel()),
            "object_position": _tensor(sight.object_position),
            "relative_target_orientation": rotations.canonical(relative),
        }
        self._observation = TensorDict(
            {(POLICY, name): values.float() for name, values in inputs.items()},
            batch_size=[1],
        )
        self._observation["is_init"] = torch.tensor([[self._step == 0]])
        condition = self.client.condition()
        self._write(
            "observation",
            step=self._step,
            inputs={name: self._observation[POLICY, name][0].tolist() for name in inputs},
            is_init=self._step == 0,
            goal=self._goal[0].tolist(),
            object_orientation=orientation[0].tolist(),
            held=sight.held,
            age_ns=sight.age_ns,
        )
        self._write("condition", step=self._step, **_described(condition))
        if self.pictures and sight.triple is not None and self._record:
            for frame in sight.triple.frames:
                self._record.picture(frame.camera, frame.picture)
        if self.display:
            self.display.show(
                goal=self._goal[0].tolist(), present=orientation[0].tolist(), trial=self._turn.number,
                policy=self._turn.policy, seconds=(time.monotonic_ns() - self._began) * 1e-9,
            )  # fmt: skip

    def _events(self, achieved: bool, dropped: bool) -> Events:
        seconds = (time.monotonic_ns() - self._began) * 1e-9
        self._write("events", step=self._step, achieved=achieved, dropped=dropped, seconds=seconds)
        false = torch.zeros(1, dtype=torch.bool)
        return Events(
            achieved=torch.tensor([achieved]),
            dropped=torch.tensor([dropped]),
            diverged=false,
            stopped=false,
            seconds=torch.tensor([seconds], dtype=torch.float64),
        )

    def _next_goal(self, sight: Sight) -> Tensor:
        present = _tensor(sight.object_orientation)
        return sample_goals(self.goals.kind, present, self.goals.angle, self._generator).to(present)

    # The hand

    def _idle(self) -> None:
        """What must go on whatever else is waited for."""
        self.client.live()
        self.senses.pump()

    def _check(self, condition: Condition) -> None:
        if condition.state != State.RUNNING:
            state, reason = State(condition.state), Reason(condition.reason)
            words = reason.name.lower().replace("_", " ")
            raise TrialInterrupted(f"the hand is in {state.name.lower()}: {words}")

    def _make_ready(self) -> None:
        """Disarmed, whatever was before; somebody has to say so where the emergency stop was pressed."""
        condition = self.client.connect()
        if condition.state == State.FAULT:
            if condition.reason == Reason.STOPPED and not self.operator.go_on(
                "the emergency stop was pressed"
            ):
                raise TrialInterrupted("the emergency stop was pressed")
            self.client.clear()
        self.client.disarm()

    def _await_measurement(self) -> None:
        """Until the controller has measured what the operator has just moved."""
        moved = self.client.condition().measured_ns
        deadline = time.monotonic_ns() + FINDING
        while self.client.condition().measured_ns < moved + 50_000_000:
            if time.monotonic_ns() > deadline:
                raise TrialInterrupted("the hand's joints are not measured any more")
            time.sleep(0.005)

    def _find_everything(self) -> Sight:
        deadline = time.monotonic_ns() + FINDING
        while True:
            sight = self.senses.look()
            if not sight.missing and sight.fingertips is not None and sight.object_orientation is not None:
                return sight
            if time.monotonic_ns() > deadline:
                raise TrialInterrupted(f"before the trial: {'; '.join(sight.missing)}")
            self.client.live()
            time.sleep(0.01)

    def _rest(self) -> Info | None:
        """Let go of the hand; the controller's counts, if it still answers."""
        counts = None
        for ask in (self.client.info, self.client.disarm):
            try:
                counts = ask() or counts
            except HardwareError as error:
                with suppress(RecordError):  # what broke may be the record
                    self._write("safety", said=str(error))
        return counts

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        try:
            yield
        except HardwareError as error:
            raise TrialInterrupted(str(error)) from error

    # Records

    def _open_record(self, seed: int) -> None:
        turn = self._turn
        policy = turn.policy.replace("/", "_")
        trial = f"{turn.number:04d}_{policy}_trial{turn.trial:03d}_attempt"
        # Earlier attempts may be of a campaign that is gone on with.
        attempt = 1
        while (self.records / f"{trial}{attempt}.mcap").exists():
            attempt += 1
        self._record = Record(self.records / f"{trial}{attempt}.mcap")
        self._record.write(
            "trial",
            **{**vars(turn), "seed": seed},
            bundle=self.about.get("bundles", {}).get(turn.policy),
            goals=vars(self.goals),
            safety=vars(self.safety),
            actions=vars(self.actions[turn.policy]),
            **self.about,
        )

    def _write(self, topic: str, **fields: Any) -> None:
        if self._record:
            self._record.write(topic, **fields)

    def _finish(self, counts: Info | None, topic: str, **how: Any) -> None:
        """Close the record with how the trial ended."""
        record, self._record = self._record, None
        if record is None:
            return
        record.write(topic, **how)
        if counts is not None:
            record.write("controller", **_described(counts))
        record.close()


def _tensor(values: Any) -> Tensor:
    """(1, n) float64."""
    return torch.as_tensor(np.asarray(values, dtype=np.float64))[None]


def _described(message: Condition | Info) -> dict[str, Any]:
    fields = message._asdict()
    for name, value in fields.items():
        if isinstance(value, bytes):
            fields[name] = value.rstrip(b"\0").decode() if name == "backend" else value.hex()
    return fields
