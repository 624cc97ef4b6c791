"""The safety machine: what accepted messages leave, and its deadlines to the nanosecond."""

import math

import pytest

from hardware.lowlevel.joints import table_hash
from hardware.lowlevel.safety import Health, Machine, enter, force, judge, tick
from hardware.lowlevel.wire import (
    Alive,
    Arm,
    Clear,
    Disarm,
    Header,
    Hold,
    Reason,
    State,
    Stop,
    Verdict,
)
from tests.hardware.lowlevel.machines import (
    HEADER,
    HEALTHY,
    MACHINES,
    MESSAGES,
    MS,
    NOBODY,
    NOW,
    OURS,
    SEQUENCE,
    STRANGER,
)

every_state = pytest.mark.parametrize("name", MACHINES)
every_message = pytest.mark.parametrize("kind", MESSAGES)


# What accepted messages leave


def accepted(machine: Machine, message, now: int = NOW, **header) -> Machine:
    fields = {"session": OURS, "sequence": SEQUENCE + 1, "basis_ns": now, **header}
    after, verdict = judge(machine, Header(**fields), message, HEALTHY._replace(measured_ns=now), now)
    assert verdict is Verdict.ACCEPTED
    return after


def test_arm_opens_a_session_with_its_limits():
    machine = accepted(MACHINES["disarmed"], Arm(table_hash(), 3.0, 0.25), session=5, sequence=9)
    assert machine == Machine(
        State.ARMED, Reason.NONE, NOW, session=5, sequence=9, alive_ns=NOW, force=0.25, velocity=3.0
    )
    assert force(machine, NOW) == 0.25


@pytest.mark.parametrize("name", ["armed", "running", "hold"])
@pytest.mark.parametrize(
    ("velocity", "share", "verdict"),
    [
        (2.0, 0.5, Verdict.ACCEPTED),
        (0.1, 0.1, Verdict.ACCEPTED),
        (2.0, math.nextafter(0.5, 1), Verdict.OUT_OF_RANGE),
        (math.nextafter(2.0, 3), 0.5, Verdict.OUT_OF_RANGE),
    ],
)
def test_within_a_session_limits_are_lowered_only(name, velocity, share, verdict):
    machine, given = judge(MACHINES[name], HEADER["fresh"], Arm(table_hash(), velocity, share), HEALTHY, NOW)
    assert given is verdict
    if given is Verdict.ACCEPTED:
        assert (machine.velocity, machine.force) == (velocity, share)
    else:
        assert machine == MACHINES[name]._replace(sequence=SEQUENCE + 1)


@pytest.mark.parametrize("name", ["disarmed", "armed", "running", "hold"])
def test_another_table_is_refused(name):
    message = MESSAGES["Arm"]._replace(table=bytes(32))
    machine, verdict = judge(MACHINES[name], HEADER["fresh"], message, HEALTHY, NOW)
    assert verdict is Verdict.LIMITS_DIFFER
    assert machine._replace(sequence=MACHINES[name].sequence) == MACHINES[name]


def test_who_resumes_has_seen_that_the_hand_holds():
    held = MACHINES["hold"]._replace(since_ns=NOW - 50 * MS)
    unaware = HEADER["fresh"]._replace(basis_ns=held.since_ns - 1)
    machine, verdict = judge(held, unaware, MESSAGES["Arm"], HEALTHY, NOW)
    assert verdict is Verdict.STALE
    assert machine.state is State.HOLD
    aware = HEADER["fresh"]._replace(basis_ns=held.since_ns, sequence=SEQUENCE + 2)
    machine, verdict = judge(machine, aware, MESSAGES["Arm"], HEALTHY, NOW)
    assert verdict is Verdict.ACCEPTED
    assert machine.state is State.ARMED


def test_commands_and_signs_of_life_are_counted_apart():
    running = MACHINES["running"]
    assert accepted(running, MESSAGES["Command"])[5:7] == (NOW, running.alive_ns)
    assert accepted(running, Alive())[5:7] == (running.commanded_ns, NOW)
    for name in ("armed", "running", "hold"):
        assert accepted(MACHINES[name], Alive()).since_ns == MACHINES[name].since_ns


def test_a_hold_asked_for_again_is_the_same_hold():
    held = MACHINES["hold"]
    assert accepted(held, Hold(Reason.REQUESTED)) == held._replace(sequence=SEQUENCE + 1)


def test_hold_and_disarm_tell_their_reasons():
    assert accepted(MACHINES["running"], Hold(Reason.CLIENT_FAULT)).reason is Reason.CLIENT_FAULT
    relaxed = accepted(MACHINES["running"], Disarm())
    assert (relaxed.reason, relaxed.session, relaxed.since_ns) == (Reason.REQUESTED, NOBODY, NOW)


@pytest.mark.parametrize(
    "header", [Header(0, 0), Header(STRANGER, 0, ttl_ms=1), HEADER["stale"], HEADER["future"]]
)
@every_state
def test_stop_takes_the_force_at_once_whoever_sends_it(name, header):
    for health in (HEALTHY, HEALTHY._replace(reachable=False), HEALTHY._replace(measured_ns=0)):
        machine, verdict = judge(MACHINES[name], header, Stop(), health, NOW)
        assert verdict is Verdict.ACCEPTED
        assert machine == Machine(State.FAULT, Reason.STOPPED, NOW)
        assert force(machine, NOW) == force(machine, NOW - 1) == force(machine, NOW + 10**12) == 0.0


def test_a_button_that_is_held_down_cannot_be_cleared():
    machine = MACHINES["stopped"]
    for pressed in range(20):
        now = NOW + 100 * MS * pressed
        health = HEALTHY._replace(measured_ns=now)
        machine, _ = judge(machine, Header(0, 0), Stop(), health, now)
        machine, verdict = judge(machine, Header(OURS, 1, 0, now), Clear(), health, now + 99 * MS)
        assert verdict is Verdict.NOT_NOW
    now += 500 * MS
    machine, verdict = judge(
        machine, Header(OURS, 1, 0, now), Clear(), HEALTHY._replace(measured_ns=now), now
    )
    assert machine == Machine(State.DISARMED, Reason.NONE, now)


def test_neither_arm_nor_command_leads_out_of_a_stop():
    machine = MACHINES["stopped"]
    for second in range(10):
        now = NOW + 1000 * MS * second
        for kind in set(MESSAGES) - {"Clear"}:
            for header in (Header(OURS, SEQUENCE + second, 0, now), Header(STRANGER, second, 0, now)):
                machine, _ = judge(machine, header, MESSAGES[kind], HEALTHY._replace(measured_ns=now), now)
                assert (machine.state, machine.reason) == (State.FAULT, Reason.STOPPED)
                assert force(machine, now) == 0.0


# Deadlines, to the nanosecond


def at(machine: Machine, now: int, measured: int | None = None) -> Machine:
    return tick(machine, Health(now if measured is None else measured), now)


def fresh_arm(now: int = NOW, share: float = 0.5) -> Machine:
    return accepted(Machine(), Arm(table_hash(), 2.0, share), now=now)


def run(now: int = NOW, share: float = 0.5) -> Machine:
    return accepted(fresh_arm(now, share), MESSAGES["Command"], now=now, sequence=SEQUENCE + 2)


def alive(machine: Machine, now: int) -> Machine:
    return accepted(machine, Alive(), now=now, sequence=machine.sequence + 1)


def test_commands_that_cease_for_200_ms_are_a_hold_though_somebody_lives():
    machine = alive(run(), NOW + 100 * MS)
    assert at(machine, NOW + 200 * MS - 1).state is State.RUNNING
    held = at(machine, NOW + 200 * MS)
    assert (held.state, held.reason) == (State.HOLD, Reason.COMMANDS_CEASED)
    assert force(held, NOW + 200 * MS) == 0.5


def test_nobody_alive_for_200_ms_is_a_hold_though_commands_come():
    machine = accepted(run(), MESSAGES["Command"], now=NOW + 199 * MS, sequence=99)
    assert at(machine, NOW + 200 * MS - 1).state is State.RUNNING
    held = at(machine, NOW + 200 * MS)
    assert (held.state, held.reason) == (State.HOLD, Reason.DEAD_MAN)


def test_nobody_alive_for_200_ms_is_a_hold_of_an_armed_hand():
    assert at(fresh_arm(), NOW + 200 * MS - 1).state is State.ARMED
    assert at(fresh_arm(), NOW + 200 * MS)[:2] == (State.HOLD, Reason.DEAD_MAN)


def test_signs_of_life_keep_an_armed_hand_armed_but_not_one_that_runs_running():
    armed, running = fresh_arm(), run()
    for tenth in range(1, 31):
        now = NOW + 100 * MS * tenth
        armed = alive(at(armed, now), now)
        assert armed.state is State.ARMED
        if tenth < 10:
            running = alive(at(running, now), now)
    assert running.reason is Reason.COMMANDS_CEASED
    assert at(running, NOW + 1000 * MS - 1).state is State.HOLD
    assert at(running, NOW + 1000 * MS).state is State.RELAX


@pytest.mark.parametrize("ticks", [[], [200], [205, 700], [999], [1001]])
def test_a_second_after_the_last_command_the_force_fades_whenever_ticks_came(ticks):
    machine = run(share=0.8)
    for milliseconds in ticks:
        machine = at(machine, NOW + milliseconds * MS)
    if ticks != [1001]:
        assert at(machine, NOW + 1000 * MS - 1).state is State.HOLD
    relaxed = at(machine, max(NOW + 1000 * MS, NOW + 1001 * MS if ticks == [1001] else 0))
    assert relaxed == Machine(
        State.RELAX, Reason.DEAD_MAN, NOW + 1000 * MS, force=0.8, fading_ns=NOW + 1000 * MS
    )
    for passed, share in ((1000, 0.8), (1250, 0.4), (1375, 0.2), (1500, 0.0), (9999, 0.0)):
        assert force(machine, NOW + passed * MS) == pytest.approx(share, abs=1e-15)
    assert force(machine, NOW + 1500 * MS - 1) > 0.0
    assert at(machine, NOW + 1500 * MS - 1).state is State.RELAX
    assert at(machine, NOW + 1500 * MS) == Machine(State.DISARMED, Reason.DEAD_MAN, NOW + 1500 * MS)


def test_a_hand_that_is_told_to_let_go_does_so_in_500_ms():
    machine = accepted(run(), Disarm(), sequence=99)
    assert [force(machine, NOW + t * MS) for t in (0, 125, 250, 375, 500)] == [0.5, 0.375, 0.25, 0.125, 0.0]
    assert at(machine, NOW + 500 * MS - 1).state is State.RELAX
    assert at(machine, NOW + 500 * MS).state is State.DISARMED


def test_sensors_may_be_silent_for_100_ms():
    assert at(run(), NOW + 150 * MS, measured=NOW + 50 * MS).state is State.RUNNING
    assert at(run(), NOW + 150 * MS + 1, measured=NOW + 50 * MS)[:2] == (State.FAULT, Reason.SENSORS_SILENT)


def test_a_fault_fades_and_can_be_cleared_after_500_ms():
    machine = tick(run(), HEALTHY._replace(calibrated=False), NOW)
    assert [force(machine, NOW + t * MS) for t in (0, 250, 500)] == [0.5, 0.25, 0.0]
    for now, verdict in ((NOW + 500 * MS - 1, Verdict.NOT_NOW), (NOW + 500 * MS, Verdict.ACCEPTED)):
        health = HEALTHY._replace(measured_ns=now)
        assert judge(machine, Header(0, 0, 0, now), Clear(), health, now)[1] is verdict


def test_a_fault_while_the_force_fades_neither_raises_nor_prolongs_it():
    relaxing = accepted(run(), Disarm(), sequence=99)
    for fault in (0, 1, 250, 499):
        now = NOW + fault * MS
        for machine in (
            tick(relaxing, HEALTHY._replace(measured_ns=now, valid=False), now),
            enter(relaxing, State.FAULT, Reason.BACKEND_FAILED, now),
        ):
            assert machine.state is State.FAULT
            assert machine.since_ns == now
            for later in range(fault, 600):
                moment = NOW + later * MS
                assert force(machine, moment) == force(relaxing, moment)


def test_the_fault_that_is_told_is_the_first():
    machine = enter(run(), State.FAULT, Reason.OVER_TEMPERATURE, NOW)
    for millisecond in range(0, 1000, 5):  # as from a backend that fails at every tick
        now = NOW + millisecond * MS
        assert enter(machine, State.FAULT, Reason.BACKEND_FAILED, now) == machine
        assert tick(machine, HEALTHY._replace(reachable=False), now) == machine


@pytest.mark.parametrize("state", [State.HOLD, State.RELAX, State.FAULT])
@every_state
def test_entering_a_state_from_outside_leads_down_or_nowhere(name, state):
    depth = [State.RUNNING, State.ARMED, State.HOLD, State.RELAX, State.DISARMED, State.FAULT]
    machine = MACHINES[name]
    after = enter(machine, state, Reason.SUPERVISOR_LOST, NOW)
    if depth.index(state) > depth.index(machine.state) and not (
        machine.state in (State.DISARMED,) and state is not State.FAULT
    ):
        assert after[:3] == (state, Reason.SUPERVISOR_LOST, NOW)
    else:
        assert after == machine
    for later in range(0, 2000, 10):
        assert force(after, NOW + later * MS) <= force(machine, NOW + later * MS)
    assert force(after, NOW) == force(machine, NOW)
    assert enter(after, state, Reason.ENDING, NOW + 50 * MS) == tick(
        after, Health(NOW + 50 * MS), NOW + 50 * MS
    )


@pytest.mark.parametrize("state", [State.DISARMED, State.ARMED, State.RUNNING])
@every_state
def test_no_other_state_can_be_entered_from_outside(name, state):
    with pytest.raises(ValueError, match=f"not {state.name.lower()}"):
        enter(MACHINES[name], state, Reason.REQUESTED, NOW)


def test_a_command_or_a_sign_of_life_that_comes_too_late_does_not_count_though_no_tick_came_before_it():
    late = NOW + 200 * MS
    health = HEALTHY._replace(measured_ns=late)
    machine, verdict = judge(run(), Header(OURS, 99, 0, late), MESSAGES["Command"], health, late)
    assert (machine.state, verdict) == (State.HOLD, Verdict.NOT_NOW)
    machine, verdict = judge(fresh_arm(), Header(OURS, 99, 0, late), Alive(), health, late)
    assert machine.state is State.HOLD


def test_a_controller_that_stood_still_does_not_take_up_force_again():
    for seconds in (2, 10, 3600):
        now = NOW + seconds * 1000 * MS
        assert force(run(), now) == 0.0
        # The measurements are as old as the standstill: that is no news of a hand that has been let go.
        assert at(run(), now, measured=NOW) == Machine(State.DISARMED, Reason.DEAD_MAN, NOW + 1500 * MS)


def test_a_clock_that_is_read_out_of_order_does_not_raise_the_force():
    machine = accepted(run(), Disarm(), sequence=99)
    assert force(machine, NOW - 400 * MS) == 0.5
    assert at(run(), NOW - 50 * MS) == run()


def test_a_disarmed_hand_has_no_force_whatever_else_is_known_of_it():
    assert force(Machine(State.DISARMED, force=1.0, fading_ns=NOW), NOW) == 0.0


@pytest.mark.parametrize("name", ["relax", "fading"])
def test_nothing_of_a_session_outlives_it(name):
    """Whatever was sent before the hand was let go is stale before it can be armed or cleared again."""
    machine = MACHINES[name]
    sent = machine.since_ns
    for kind, message in MESSAGES.items():
        now = machine.since_ns + 500 * MS
        let_go = at(machine, now)
        after, verdict = judge(let_go, Header(OURS, 9**9, 0, sent), message, Health(now), now)
        if kind != "Stop":
            assert verdict is not Verdict.ACCEPTED
            assert after == let_go
