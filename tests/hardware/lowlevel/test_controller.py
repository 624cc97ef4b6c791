"""The controller behind real sockets, with a hand that is nothing but its program."""

import math
import time
from itertools import pairwise

import pytest
import torch

from dactyl_tl.envs.actuation import Actuators
from dactyl_tl.envs.config import ActionConfig
from dactyl_tl.simulation.native import NativePhysics
from dactyl_tl.simulation.scene import build_scene
from hardware.client import Refused
from hardware.lowlevel.controller import PERIOD, REPEAT, SETTLING
from hardware.lowlevel.hand import HandError
from hardware.lowlevel.joints import ACTUATORS, CENTRE, HALF_RANGE, JOINTS, SAFE, positions, table_hash
from hardware.lowlevel.safety import FASTEST, HOLD_AFTER, RAMP, RELAX_AFTER
from hardware.lowlevel.wire import (
    Alive,
    Arm,
    Ask,
    Clear,
    Command,
    Disarm,
    Header,
    Hold,
    Info,
    Jog,
    Mode,
    Reason,
    Report,
    State,
    Stop,
    Verdict,
    encode,
)
from tests.hardware.lowlevel.loops import MS, Loop, NotingHand, Peer, wait_for

ACTUATOR = {actuator.name: index for index, actuator in enumerate(ACTUATORS)}
JOINT = {joint.name: index for index, joint in enumerate(JOINTS)}
FAST = 30.0
STILL = (0.0,) * 20


def action(**parts: float) -> tuple[float, ...]:
    return tuple(parts.get(actuator.name, 0.0) for actuator in ACTUATORS)


def angles(**degrees: float) -> list[float]:
    return [math.radians(degrees.get(joint.name, 0.0)) for joint in JOINTS]


def insist(client, parts, mode: Mode):
    """A command without smoothing, once more if this machine was so busy that the hand holds."""
    try:
        return client.command(parts, mode, 0.0).report
    except Refused:
        client.arm(FAST, 1.0)
        return client.command(parts, mode, 0.0).report


def accepted(request) -> bool:
    try:
        request()
    except Refused:
        return False
    return True


@pytest.fixture(params=["servos", "torques"])
def any_loop(request):
    loop = Loop(NotingHand(torques=request.param == "torques"))
    yield loop
    loop.close()


@pytest.fixture
def loop():
    loop = Loop(NotingHand())
    yield loop
    loop.close()


@pytest.fixture
def peer(loop):
    peer = Peer(loop.link)
    yield peer
    peer.close()


# What commands do


def test_a_relative_command_moves_the_joints_to_what_was_computed_by_hand(any_loop):
    any_loop.hand.place(angles(FFJ2=10, RFJ1=40, RFJ0=40, THJ0=-50))
    with any_loop.client() as client:
        wait_for(lambda: client.condition().angles[JOINT["FFJ2"]] == math.radians(10))
        client.arm(FAST, 1.0)
        report = client.command(action(FFJ2=0.5, RFJ1=-0.25, THJ0=0.2), Mode.RELATIVE, 0.0).report
        expected = {"FFJ2": 10 + 0.5 * 45, "RFJ1": 80 - 0.25 * 90, "THJ0": -50 + 0.2 * 45}
        for index, actuator in enumerate(ACTUATORS):
            goal = math.radians(expected.get(actuator.name, 0.0))
            assert report.goals[index] == pytest.approx(goal, abs=1e-12)
        assert report.clipped == 0
        absolute = [
            (goal - centre) / half
            for goal, centre, half in zip(report.goals, CENTRE, HALF_RANGE, strict=True)
        ]  # means the same, so that repeating it only keeps the hand running

        def there() -> bool:
            again = insist(client, absolute, Mode.ABSOLUTE)
            assert again.goals == pytest.approx(report.goals, abs=1e-12)
            at = positions(client.condition().angles)
            return max(abs(a - b) for a, b in zip(at, report.goals, strict=True)) < 0.01

        wait_for(there)
        condition = client.condition()
        assert condition.angles[JOINT["RFJ1"]] == pytest.approx(condition.angles[JOINT["RFJ0"]], abs=1e-9)


@pytest.mark.parametrize("relative", [True, False])
def test_goals_of_several_commands_are_those_of_training(loop, relative):
    """Smoothing, clipping and the measured angle, within the rounding of the model's ranges."""
    generator = torch.Generator().manual_seed(3)
    scene = build_scene(hand="calibrated")
    physics = NativePhysics(scene.model, 1)
    config = ActionConfig(relative=relative)
    training = Actuators(scene, physics, config)
    start = [0.75 * low + 0.25 * high for low, high in SAFE]
    placed = [0.0] * 24
    for target, actuator in zip(start, ACTUATORS, strict=True):
        for name in actuator.joints:
            placed[JOINT[name]] = target / len(actuator.joints)
    loop.hand.place(placed)
    clipped_ever = 0
    with loop.client() as client:
        wait_for(lambda: list(client.condition().angles) == placed)
        client.arm(1e-9, 1.0)  # so slowly that the measured angles stay
        smoothed = torch.zeros(1, 20)
        physics.qpos[:, :24] = torch.tensor(placed)
        for _ in range(12):
            new = torch.randint(0, 11, (1, 20), generator=generator).float() / 5.0 - 1.0
            smoothed = training.smooth(new, smoothed)
            expected = training.targets(smoothed)[0]
            mode = Mode.RELATIVE if relative else Mode.ABSOLUTE
            report = client.command(new[0].tolist(), mode, config.smoothing).report
            torch.testing.assert_close(
                torch.tensor(report.goals, dtype=expected.dtype), expected, rtol=0, atol=1.1e-4
            )
            low, high = torch.from_numpy(scene.model.actuator_ctrlrange.T)
            free = (torch.tensor(start) if relative else 0.5 * (low + high)) + smoothed[0] * 0.5 * (
                high - low
            )
            for index in range(20):
                beyond = max(float(low[index] - free[index]), float(free[index] - high[index]))
                if abs(beyond) > 2e-4:
                    assert bool(report.clipped >> index & 1) == (beyond > 0), ACTUATORS[index].name
            clipped_ever |= report.clipped
    assert (clipped_ever != 0) == relative


def test_smoothing_is_forgotten_when_the_hand_holds_and_is_armed_again(loop):
    with loop.client() as client:
        client.arm(FAST, 1.0)
        for expected in (0.7, 0.91, 0.973):  # 1 - 0.3 ** n
            report = client.command(action(THJ4=1.0), Mode.ABSOLUTE, 0.3).report
            assert math.degrees(report.goals[ACTUATOR["THJ4"]]) == pytest.approx(60 * expected)
        client.hold()
        client.arm(FAST, 1.0)
        report = client.command(action(THJ4=1.0), Mode.ABSOLUTE, 0.3).report
        assert math.degrees(report.goals[ACTUATOR["THJ4"]]) == pytest.approx(60 * 0.7)


def test_what_is_clipped_is_told_by_its_bit_and_counted(loop):
    loop.hand.place(angles(FFJ2=10, THJ0=-10))
    with loop.client() as client:
        wait_for(lambda: client.condition().angles[JOINT["FFJ2"]] == math.radians(10))
        client.arm(FAST, 1.0)
        client.info(reset=True)
        report = client.command(action(FFJ2=-1.0, THJ0=1.0, WRJ1=-1.0), Mode.RELATIVE, 0.0).report
        assert report.clipped == 1 << ACTUATOR["FFJ2"] | 1 << ACTUATOR["THJ0"]
        assert report.goals[ACTUATOR["FFJ2"]] == report.goals[ACTUATOR["THJ0"]] == 0.0
        assert math.degrees(report.goals[ACTUATOR["WRJ1"]]) == pytest.approx(-18)
        assert client.command(STILL, Mode.ABSOLUTE, 0.0).report.clipped == 0
        assert client.info().clipped == 1


def test_no_target_is_faster_than_allowed_in_any_tick(loop):
    speed, far = 6.0, ACTUATOR["FFJ1"]
    step = speed * PERIOD * 1e-9
    with loop.client() as client:
        client.arm(speed, 1.0)
        client.info(reset=True)
        watcher = Peer(loop.link, every=True)
        heard = []
        while not heard or heard[-1].targets[far] < math.pi:
            if len(heard) % 8 == 0:
                report = client.command(action(FFJ1=1.0), Mode.ABSOLUTE, 0.0).report
                assert report.goals[far] == pytest.approx(math.pi)
            heard.append(watcher.hear()[1])
            assert heard[-1].state in (State.ARMED, State.RUNNING)
        watcher.close()
        slowed = client.info().slowed
    writes = [write[far] for write in loop.hand.writes()]
    moves = [after - before for before, after in pairwise(writes)]
    moving = [move for move in moves if move]
    assert all(0.0 <= move <= step * (1 + 1e-9) for move in moves)
    assert moving[:-1] == pytest.approx([step] * (len(moving) - 1))
    assert sum(moving) == pytest.approx(math.pi)
    assert slowed == len(moving) - 1, "in the last step it arrives"
    assert {condition.targets[far] for condition in heard} <= set(writes)
    assert all(c.slowed >> far & 1 for c in heard if 0.0 < c.targets[far] < math.pi)
    assert not heard[-1].slowed >> far & 1


def test_a_command_is_resolved_once_while_the_joints_move(loop):
    with loop.client() as client:
        client.arm(FAST, 1.0)
        goals = client.command(action(FFJ2=0.4), Mode.RELATIVE, 0.0).report.goals
        client.stay(time.monotonic_ns() + 100 * MS)
        condition = client.condition()
        assert condition.angles[JOINT["FFJ2"]] > 0.05, "it moves"
        assert condition.targets == goals


def test_when_a_command_was_received_and_acted_on_is_told_by_the_controllers_clock(loop):
    with loop.client() as client:
        client.arm(FAST, 1.0)
        assert client.condition().acted_ns == 0
        for _ in range(3):
            before = client.condition().measured_ns
            exchange = client.command(action(FFJ2=0.1), Mode.ABSOLUTE, 0.3)
            report = exchange.report
            assert report.echoed_ns <= exchange.sent_ns <= exchange.answered_ns
            assert before <= report.received_ns
            assert report.echoed_ns <= report.received_ns <= exchange.answered_ns  # one clock here
            wait_for(lambda sequence=report.sequence: client.condition().sequence == sequence)
            wait_for(lambda: client.condition().acted_ns)
            condition = client.condition()
            assert condition.sequence == report.sequence
            assert report.received_ns <= condition.acted_ns
        client.disarm()
        client.arm(FAST, 1.0)
        wait_for(lambda: client.condition().state == State.ARMED)
        assert (client.condition().sequence, client.condition().acted_ns) == (0, 0)


# Force


def test_targets_are_sent_before_there_is_any_force_and_force_is_sent_again(loop):
    loop.hand.place(angles(FFJ2=30))
    with loop.client() as client:
        wait_for(lambda: client.condition().angles[JOINT["FFJ2"]] == math.radians(30))
        del loop.hand.sent[:]
        client.arm(2.0, 0.6)
        client.stay(time.monotonic_ns() + 1500 * MS)
        sent = list(loop.hand.sent)
    first = next(index for index, (kind, what) in enumerate(sent) if kind == "limit" and what)
    before = [what for kind, what in sent[:first] if kind == "write"]
    assert sent[first] == ("limit", 0.6)
    assert len(before) == SETTLING + 1
    assert {write[ACTUATOR["FFJ2"]] for write in before} == {math.radians(30)}
    assert {what for kind, what in sent[:first] if kind == "limit"} <= {0.0}
    after = sent[first:]
    limits = [index for index, (kind, _) in enumerate(after) if kind == "limit"]
    assert len(limits) >= 3
    gaps = [b - a for a, b in pairwise(limits)]
    assert set(gaps[1:]) == {REPEAT + 1}  # so many targets, and the force


def test_force_fades_and_never_rises_when_the_hand_is_let_go_at_once(loop):
    with loop.client() as client:
        for _ in range(5):
            del loop.hand.sent[:]
            client.arm(2.0, 1.0)
            client.disarm()
            forces = [what for kind, what in loop.hand.sent if kind == "limit"]
            highest = forces.index(max(forces))
            assert forces[highest:] == sorted(forces[highest:], reverse=True)
            assert all(force in (0.0, 1.0) for force in forces[: highest + 1]), forces
            assert forces[-1] == 0.0


def test_torques_follow_the_gains_and_the_force():
    hand = NotingHand(torques=True)
    loop = Loop(hand)
    try:
        with loop.client() as client:
            client.arm(FAST, 0.5)
            client.command(action(FFJ2=0.0, FFJ1=-1.0), Mode.ABSOLUTE, 0.0)
            wait_for(lambda: client.condition().acted_ns)
            first = next(write for write in hand.writes() if any(write))
            # at rest at zero: stiffness times the goal's distance (45 degrees), but no more than it can
            assert first[ACTUATOR["FFJ2"]] == pytest.approx(0.5 * min(400 * 0.15, 200.0), rel=0.01)
            assert first[ACTUATOR["FFJ1"]] == 0.0
            client.stay(time.monotonic_ns() + 40 * MS)
            assert max(max(map(abs, write)) for write in hand.writes()) <= 0.5 * 200.0
            client.disarm()
            assert hand.sent[-1] == ("limit", 0.0)
    finally:
        loop.close()


# Deadlines


def spans(heard):
    """When each state was first published, ns of the controller's clock."""
    first = {}
    for header, condition in heard:
        first.setdefault(State(condition.state), header.sent_ns)
    return first


def test_without_commands_the_hand_holds_then_relaxes_in_time(loop, peer):
    with loop.client() as client:
        watcher = Peer(loop.link, every=True)
        client.arm(FAST, 0.8)
        received = client.command(STILL, Mode.RELATIVE, 0.0).report.received_ns
        heard = [watcher.hear()]
        while heard[-1][1].state != State.DISARMED or heard[0][1].state == State.DISARMED:
            client.live()  # the operator is there: it is the commands that cease
            heard.append(watcher.hear())
            if heard[0][1].state == State.DISARMED:
                heard.pop(0)
        watcher.close()
    began = spans(heard)
    reasons = {Reason(condition.reason) for _, condition in heard if condition.state in (3, 4)}
    assert reasons == {Reason.COMMANDS_CEASED}
    due = {
        State.HOLD: received + HOLD_AFTER,
        State.RELAX: received + HOLD_AFTER + RELAX_AFTER,
    }
    by_tick = {condition.tick: (header.sent_ns, condition) for header, condition in heard}
    for state, when in due.items():
        assert began[state] >= when
        previous = max(sent for sent, condition in by_tick.values() if sent < began[state])
        assert previous < when, "the tick before it was due"
    for sent, condition in by_tick.values():
        if condition.state == State.HOLD:
            assert condition.force == 0.8
        if condition.state == State.RELAX:
            faded = (sent - due[State.RELAX]) / RAMP
            assert condition.force == pytest.approx(0.8 * max(0.0, 1.0 - faded), abs=0.8 * 2 * MS / RAMP)


def test_without_a_sign_of_life_the_hand_holds_where_it_is_measured(loop):
    with loop.client() as client:
        watcher = Peer(loop.link, every=True)
        received = client.arm(FAST, 0.8).report.received_ns
        heard = watcher.until(lambda condition: condition.state == State.HOLD)
        watcher.close()
        condition = heard[-1][1]
        assert condition.reason == Reason.DEAD_MAN
        assert heard[-1][0].sent_ns >= received + HOLD_AFTER
        assert heard[-2][0].sent_ns < received + HOLD_AFTER
        assert condition.targets == pytest.approx(positions(condition.angles))


def test_nothing_resumes_by_itself(loop):
    with loop.client() as client:
        client.arm(FAST, 0.8)
        client.command(STILL, Mode.RELATIVE, 0.0)
        wait_for(lambda: client.condition().state == State.HOLD)
        with pytest.raises(Refused) as refusal:
            client.command(STILL, Mode.RELATIVE, 0.0)
        assert refusal.value.report.verdict == Verdict.NOT_NOW
        client.arm(FAST, 0.8)
        assert client.command(STILL, Mode.RELATIVE, 0.0).report.state == State.RUNNING


# What is refused


def test_what_is_refused_is_answered_and_counted(loop, peer):
    assert isinstance(peer.tell(Ask(1), 0, 1), Info)
    good = Command(Mode.RELATIVE, 0.3, STILL)
    refused = [
        (peer.tell(good, 9, 1), Verdict.OUT_OF_SESSION),
        (peer.tell(Arm(bytes(32), 2.0, 0.5), 9, 1), Verdict.LIMITS_DIFFER),
        (peer.tell(Arm(table_hash(), 2.0 * FASTEST, 0.5), 9, 1), Verdict.OUT_OF_RANGE),
        (peer.tell(Arm(table_hash(), math.nan, 0.5), 9, 1), Verdict.NOT_FINITE),
        (peer.tell(Arm(table_hash(), 2.0, 0.5), 9, 1, basis_ns=1), Verdict.STALE),
        (peer.tell(Clear(), 9, 1), Verdict.NOT_NOW),
    ]
    assert peer.tell(Arm(table_hash(), 2.0, 0.5), 9, 1).verdict == Verdict.ACCEPTED
    refused += [
        (peer.tell(Arm(table_hash(), 2.0, 0.5), 8, 1), Verdict.OUT_OF_SESSION),
        (peer.tell(good, 9, 1), Verdict.REPLAYED),
        (peer.tell(good._replace(mode=7), 9, 2), Verdict.OUT_OF_RANGE),
        (peer.tell(good._replace(smoothing=1.0), 9, 3), Verdict.OUT_OF_RANGE),
        (peer.tell(good._replace(action=(1.5, *STILL[1:])), 9, 4), Verdict.OUT_OF_RANGE),
        (peer.tell(good._replace(action=(math.nan, *STILL[1:])), 9, 5), Verdict.NOT_FINITE),
        (peer.tell(Jog(20, 0.01), 9, 6), Verdict.OUT_OF_RANGE),
        (peer.tell(Hold(Reason.STOPPED), 9, 7), Verdict.OUT_OF_RANGE),
        (peer.tell(Arm(table_hash(), 2.1, 0.5), 9, 8), Verdict.OUT_OF_RANGE),
    ]
    assert [Verdict(report.verdict) for report, _ in refused] == [verdict for _, verdict in refused]
    assert all(isinstance(report, Report) and report.clipped == 0 for report, _ in refused)
    assert peer.tell(Ask(0), 9, 9).refused == len(refused)
    assert all(math.isfinite(number) for write in loop.hand.writes() for number in write)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: b"",
        lambda frame: b"hello",
        lambda frame: bytes(1000),
        lambda frame: frame[:-1],
        lambda frame: frame + b"\0",
        lambda frame: frame[:-1] + bytes((frame[-1] ^ 1,)),
        lambda frame: b"DTL2" + frame[4:],
        lambda frame: frame[:4] + b"\x02" + frame[5:],
        lambda frame: frame[:5] + b"\x63" + frame[6:],
    ],
    ids=[
        "empty", "words", "zeros", "short", "long", "checksum", "magic", "version", "kind",
    ],
)  # fmt: skip
def test_garbage_is_answered_and_moves_nothing(loop, peer, change):
    peer.tell(Ask(1), 0, 1)
    _, report = peer.exchange(change(encode(Header(5, 1, 0, peer.hear()[0].sent_ns), Stop())))
    assert report.verdict == Verdict.GARBAGE
    assert report.state == State.DISARMED
    assert peer.tell(Ask(0), 0, 2).refused == 1


def test_answers_sent_as_requests_and_several_frames_are_garbage(loop, peer):
    header, condition = peer.hear()
    for message in (condition, peer.tell(Alive(), 1, 1), peer.tell(Ask(0), 1, 1)):
        _, report = peer.exchange(encode(Header(5, 7), message))
        assert (report.verdict, report.sequence) == (Verdict.GARBAGE, 7)
    peer._requests.send_multipart([encode(header, Stop()), b"more"])
    assert peer._requests.poll(30_000)
    assert peer.hear()[1].state == State.DISARMED


# Counts, stops, many


def test_counts_are_begun_anew_by_the_session_and_by_nobody_else(loop, peer):
    with loop.client() as client:
        info = client.info()
        assert info.table == table_hash()
        assert info.backend.rstrip(b"\0") == b"dry"
        assert info.period_ns == PERIOD
        assert sum(info.lateness) == info.ticks
        wait_for(lambda: client.info().ticks > info.ticks + 20)
        client.arm(FAST, 1.0)
        peer.tell(Ask(1), 5, 1)
        assert client.info(reset=True).ticks > info.ticks + 20
        after = client.info()
        assert sum(after.lateness) == after.ticks < info.ticks + 20
        assert (after.refused, after.clipped) == (0, 0)


def test_a_jog_moves_one_actuator_of_an_armed_hand(loop):
    with loop.client() as client:
        with pytest.raises(Refused, match="out of session"):
            client.jog(3, 0.01)
        client.arm(1.0, 1.0)
        report = client.jog(ACTUATOR["FFJ2"], 0.15).report
        assert report.goals == pytest.approx(action(FFJ2=0.15))
        report = client.jog(ACTUATOR["FFJ2"], -0.2).report
        assert report.goals == STILL
        assert report.clipped == 1 << ACTUATOR["FFJ2"]
        client.jog(ACTUATOR["FFJ2"], 0.1)

        def there() -> bool:
            client.live()
            return abs(client.condition().angles[JOINT["FFJ2"]] - 0.1) < 0.005

        wait_for(there)
        client.command(STILL, Mode.RELATIVE, 0.0)
        with pytest.raises(Refused, match="not now"):
            client.jog(ACTUATOR["FFJ2"], 0.01)


def test_anybody_may_stop_the_hand_and_only_clear_leads_on(loop, peer):
    with loop.client() as client:
        client.arm(FAST, 1.0)
        client.command(STILL, Mode.RELATIVE, 0.0)
        wait_for(lambda: ("limit", 1.0) in loop.hand.sent)
        report = peer.exchange(encode(Header(0, 0), Stop()))[1]  # no session, no clock
        assert (report.verdict, report.state) == (Verdict.ACCEPTED, State.FAULT)
        wait_for(lambda: client.condition().state == State.FAULT)
        assert client.condition().reason == Reason.STOPPED
        assert client.condition().force == 0.0
        wait_for(lambda: loop.hand.sent[-1] == ("limit", 0.0) or ("limit", 0.0) in loop.hand.sent[-40:])
        forces = [what for kind, what in loop.hand.sent if kind == "limit"]
        assert set(forces[forces.index(1.0) :]) == {1.0, 0.0}, "at once, without a ramp"
        with pytest.raises(Refused, match="not now"):
            client.arm(FAST, 1.0)
        wait_for(lambda: peer.tell(Clear(), 0, 1).verdict == Verdict.ACCEPTED)
        wait_for(lambda: client.condition().state == State.DISARMED)
        client.arm(FAST, 1.0)


def test_many_may_ask_and_one_commands(loop):
    peers = [Peer(loop.link) for _ in range(8)]
    try:
        with loop.client() as client:
            client.arm(FAST, 1.0)
            for step in range(10):
                reports = [peer.tell(Command(Mode.RELATIVE, 0.3, STILL), 40 + n, step + 1)
                           for n, peer in enumerate(peers)]  # fmt: skip
                assert {report.verdict for report in reports} == {Verdict.OUT_OF_SESSION}
                assert all(isinstance(peer.tell(Ask(0), 1, 1), Info) for peer in peers)
                client.live()
                if client.condition().state in (State.ARMED, State.RUNNING):
                    assert client.command(STILL, Mode.RELATIVE, 0.0).report.sequence > step
            ticks = {peer.hear()[1].tick for peer in peers}
            assert max(ticks) - min(ticks) <= 1000, "all hear the present"
    finally:
        for peer in peers:
            peer.close()


# The hand fails


class FailingHand(NotingHand):
    """Cannot be reached once it is told so."""

    failing = False

    def read(self):
        if self.failing:
            raise HandError("gone")
        return super().read()


def test_a_hand_that_is_lost_is_told_of_and_then_the_loop_ends():
    loop = Loop(FailingHand())
    try:
        with loop.client() as client:
            client.arm(FAST, 1.0)
            watcher = Peer(loop.link, every=True)
            loop.hand.failing = True
            heard = watcher.until(lambda condition: condition.state == State.FAULT)
            assert heard[-1][1].reason == Reason.BACKEND_FAILED
            loop.join()
            assert loop.reason is Reason.BACKEND_FAILED
            watcher.close()
    finally:
        loop.close()


class UnwellHand(NotingHand):
    def __init__(self) -> None:
        super().__init__()
        self.changes: dict[str, object] = {}

    def read(self):
        return super().read()._replace(**self.changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"calibrated": False}, Reason.NOT_CALIBRATED),
        ({"temperature": 66.0}, Reason.OVER_TEMPERATURE),
        ({"angles": (math.nan,) * 24}, Reason.SENSORS_INVALID),
        ({"velocities": (math.inf,) * 24}, Reason.SENSORS_INVALID),
        ({"measured_ns": 1}, Reason.SENSORS_SILENT),
    ],
)
def test_an_unwell_hand_is_not_armed_and_one_that_falls_ill_is_let_go(changes, reason):
    loop = Loop(UnwellHand())
    try:
        with loop.client() as client:
            client.arm(FAST, 0.5)
            wait_for(lambda: ("limit", 0.5) in loop.hand.sent)
            last = loop.hand.writes()[-1]
            loop.hand.changes = changes
            wait_for(lambda: client.condition().state == State.FAULT)
            assert client.condition().reason == reason
            wait_for(lambda: client.condition().force == 0.0)
            assert loop.hand.writes()[-1] == pytest.approx(last), "it stays where it was sent last"
            with pytest.raises(Refused, match="unhealthy"):
                client.clear()
            loop.hand.changes = {}
            wait_for(lambda: accepted(client.clear))
            loop.hand.changes = changes

            ticks = client.condition().tick + 3
            wait_for(lambda: client.condition().tick > ticks)
            with pytest.raises(Refused, match="unhealthy") as refusal:
                client.arm(FAST, 0.5)
            assert refusal.value.report.reason == reason
    finally:
        loop.close()


def test_the_loop_ends_when_it_is_asked_to_once_the_force_has_faded(loop):
    with loop.client() as client:
        client.arm(FAST, 1.0)
        wait_for(lambda: ("limit", 1.0) in loop.hand.sent)
        loop.controller.end()
        loop.join()
    assert loop.reason is Reason.ENDING
    forces = [what for kind, what in loop.hand.sent if kind == "limit"]
    fading = forces[forces.index(1.0) :]
    assert fading == sorted(fading, reverse=True)
    assert fading[-1] == 0.0
    assert len(set(fading)) > 10, "it fades"


def test_disarm_of_a_hand_that_is_disarmed_is_refused_and_does_nothing(loop, peer):
    assert peer.tell(Disarm(), 3, 1).verdict == Verdict.OUT_OF_SESSION
    assert loop.hand.writes() == []
