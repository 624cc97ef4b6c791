"""The safety machine through random sequences of events: what no sequence may lead to.

Time passes in steps that hit the deadlines, ticks come or fail to come, messages are new, repeated, late or
forged, the hand is well or not, and the controller leads the machine down from outside. The invariants are of
the events alone, not of the machine's own fields.
"""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hardware.lowlevel.joints import table_hash
from hardware.lowlevel.safety import Health, Machine, enter, force, judge, tick
from hardware.lowlevel.wire import (
    Alive,
    Arm,
    Ask,
    Clear,
    Command,
    Disarm,
    Header,
    Hold,
    Jog,
    Message,
    Mode,
    Reason,
    State,
    Stop,
    Verdict,
)
from tests.hardware.lowlevel.machines import MACHINES, MS, NOW

UNDER_FORCE = (State.ARMED, State.RUNNING, State.HOLD)
REST = {State.DISARMED, State.FAULT}
DOWN = {
    State.RUNNING: {State.HOLD, State.RELAX, *REST},
    State.ARMED: {State.HOLD, State.RELAX, *REST},
    State.HOLD: {State.RELAX, *REST},
    State.RELAX: REST,
    State.DISARMED: {State.FAULT},
    State.FAULT: set(),
}
"""Where each state may lead without a message that was accepted."""

UP = {
    Arm: {(State.DISARMED, State.ARMED), (State.RUNNING, State.ARMED), (State.HOLD, State.ARMED)},
    Command: {(State.ARMED, State.RUNNING)},
    Clear: {(State.FAULT, State.DISARMED)},
}
"""What else some messages may do."""

steps = st.sampled_from(
    [0, 1, 5 * MS, 99 * MS, 100 * MS, 199 * MS, 200 * MS, 300 * MS, 499 * MS, 500 * MS, 799 * MS]
)
shares = st.one_of(st.floats(0.01, 1.0), st.sampled_from([math.nan, math.inf, 0.0, 1.5]))
parts = st.one_of(st.floats(-1.0, 1.0), st.sampled_from([math.nan, -math.inf, 1.5]))
messages = st.one_of(
    st.builds(Arm, st.sampled_from([table_hash(), bytes(32)]), st.sampled_from([1.0, 2.0, math.nan]), shares),
    st.builds(
        Command, st.integers(0, 2), st.sampled_from([0.0, 0.3, math.nan]), parts.map(lambda p: (p,) * 20)
    ),
    st.builds(Jog, st.integers(0, 21), st.sampled_from([0.1, -0.2, 0.3, math.nan])),
    st.builds(Hold, st.integers(0, 16)),
    st.sampled_from([Disarm(), Clear(), Alive(), Ask(0)]),
)
HEALTHS = [{}, {"valid": False}, {"calibrated": False}, {"reachable": False}, {"temperature": 80.0}]
ARM = Arm(table_hash(), 2.0, 0.75)
COMMAND = Command(Mode.RELATIVE, 0.3, (0.1,) * 20)


def numbers(message: Message):
    for value in message:
        yield from (value if isinstance(value, tuple) else (value,))


class Events(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.machine = Machine()
        self.now = NOW
        self.health = {}
        self.silent_since = None
        self.sequence = 0
        self.sent = []  # frames, for who repeats them
        self.taken = set()  # accepted frames
        self.heard = NOW - 10_000 * MS  # when a message was last accepted
        self.commanded = self.lived = self.heard
        self.stopped = False  # and not cleared since
        self.greatest = 0.0  # that was asked for last

    # What happens

    @rule(step=steps)
    def time_passes(self, step):
        self.now += step

    @rule(times=st.integers(1, 300))
    def ticks_come(self, times):
        """As the controller's, every 5 ms."""
        for _ in range(times):
            self.now += 5 * MS
            self._moves(tick(self.machine, self._health(), self.now))
            self._at_every_moment()

    @rule()
    def a_tick_comes(self):
        self._moves(tick(self.machine, self._health(), self.now))

    @rule(health=st.sampled_from(HEALTHS))
    def the_hand_s_health_changes(self, health):
        self.health = health

    @rule()
    def measurements_cease(self):
        self.silent_since = self.now

    @rule()
    def the_hand_is_well(self):
        self.health, self.silent_since = {}, None

    @rule(state=st.sampled_from([State.HOLD, State.RELAX, State.FAULT]))
    def the_controller_leads_down(self, state):
        self._moves(enter(self.machine, state, Reason.SUPERVISOR_LOST, self.now))

    @rule(session=st.integers(0, 2), message=messages, age=st.sampled_from([-MS, 0, MS, 150 * MS, 201 * MS]))
    def somebody_sends(self, session, message, age):
        self.sequence += 1
        header = Header(session, self.sequence, self.now, self.now - age)
        self.sent.append((header, message))
        self._arrives(header, message)

    @rule(data=st.data())
    def somebody_repeats(self, data):
        if self.sent:
            header, message = data.draw(st.sampled_from(self.sent[-5:]))
            if (header, message) in self.taken:
                assert self._arrives(header, message) is not Verdict.ACCEPTED
            else:
                self._arrives(header, message)

    @rule(session=st.integers(0, 2))
    def somebody_stops(self, session):
        assert self._arrives(Header(session, 0), Stop()) is Verdict.ACCEPTED
        self.stopped = True

    @rule()
    def a_good_client_begins(self):
        """What leads to a running hand, so that most sequences have one."""
        self.the_hand_is_well()
        for message in (Clear(), ARM, COMMAND):
            self.sequence += 1
            session = self.machine.session or 1
            self._arrives(Header(session, self.sequence, self.now, self.now), message)

    @rule(times=st.integers(1, 20), session=st.integers(1, 2), lives=st.booleans(), commands=st.booleans())
    def a_client_goes_on(self, times, session, lives, commands):
        for _ in range(times):
            self.now += 80 * MS
            for message in [Alive()] * lives + [COMMAND] * commands:
                self.sequence += 1
                self._arrives(Header(session, self.sequence, self.now, self.now), message)

    # What follows

    def _health(self):
        measured = self.now if self.silent_since is None else self.silent_since
        return Health(measured)._replace(**self.health)

    def _arrives(self, header, message):
        before = tick(self.machine, self._health(), self.now)
        after, verdict = judge(self.machine, header, message, self._health(), self.now)
        arms = isinstance(message, Arm) and verdict is Verdict.ACCEPTED
        if arms:
            assert not self.stopped
            self.greatest = message.force
        self._moves(after, before, message if verdict is Verdict.ACCEPTED else None)
        if verdict is Verdict.ACCEPTED:
            assert all(not isinstance(n, float) or math.isfinite(n) for n in numbers(message))
            if not isinstance(message, Stop):
                assert 0 <= self.now - header.basis_ns <= 200 * MS
                assert (header, message) not in self.taken
                self.taken.add((header, message))
            if isinstance(message, Clear):
                self.stopped = False
                assert after.state is State.DISARMED
            self._hears(message)
        return verdict

    def _hears(self, message):
        if not isinstance(message, Stop):
            self.heard = self.now
        if isinstance(message, (Arm, Command)):
            self.commanded = self.now
        if isinstance(message, (Arm, Alive)):
            self.lived = self.now

    def _moves(self, after, before=None, accepted=None):
        before = self.machine if before is None else before
        if after.state is not before.state and after.state not in DOWN[before.state]:
            assert (before.state, after.state) in UP.get(type(accepted), ())
        if not (isinstance(accepted, Arm) and before.state is State.DISARMED):
            assert force(after, self.now) <= force(before, self.now)
        self.machine = after

    @invariant()
    def _at_every_moment(self):
        share = force(self.machine, self.now)
        state = tick(self.machine, self._health(), self.now).state
        assert 0.0 <= share <= self.greatest or share == 0.0
        if state is State.DISARMED or self.stopped:
            assert share == 0.0
        quiet = self.now - self.heard
        if quiet >= 1000 * MS:
            assert state not in UNDER_FORCE
        if quiet >= 1500 * MS:
            assert share == 0.0
        if self.now - max(self.commanded, 0) >= 200 * MS:
            assert state is not State.RUNNING
        if self.now - self.lived >= 200 * MS:
            assert state not in (State.RUNNING, State.ARMED)
        if share > 0.0 and (self.health or self.silent_since is not None):
            wrong = self.health or self.now - self.silent_since > 100 * MS
            assert not wrong or state is State.FAULT


TestEvents = Events.TestCase
TestEvents.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


# Late ticks

moments = st.lists(st.integers(0, 2000 * MS), max_size=8).map(sorted)


@given(st.sampled_from(sorted(MACHINES)), moments, st.integers(0, 2000 * MS))
def test_ticks_between_change_nothing(name, between, last):
    machine = ticked = MACHINES[name]
    for moment in between:
        if moment <= last:
            ticked = tick(ticked, Health(NOW + moment), NOW + moment)
            assert force(ticked, NOW + last) == force(machine, NOW + last)
    healthy = Health(NOW + last)
    assert tick(ticked, healthy, NOW + last) == tick(machine, healthy, NOW + last)


@given(st.sampled_from(sorted(MACHINES)), st.integers(-(10**12), 10**13), st.integers(0, 10**13))
def test_without_messages_the_force_never_rises(name, start, passed):
    first, second = force(MACHINES[name], NOW + start), force(MACHINES[name], NOW + start + passed)
    assert 0.0 <= second <= first <= MACHINES[name].force


@pytest.mark.parametrize("name", MACHINES)
def test_no_machine_has_force_after_a_second_and_the_ramp(name):
    assert force(MACHINES[name], NOW + 1500 * MS) == 0.0
