"""Ray actors on this machine: what they collect, what becomes of lost ones, who may talk to them."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dactyl_tl.collection.actors import check_packages, installed_packages
from dactyl_tl.collection.remote import Remote
from dactyl_tl.collection.worker import SIMULATION, VERSION
from dactyl_tl.contract import STEPS
from dactyl_tl.errors import CollectionError, ConfigurationError, InterruptedCollection
from tests.collection.small import ENVS, actor, plan, running
from tests.processes import alive, assert_none_left, command, cut_connections, descendants, listening, wait

pytest.importorskip("ray")

ROOT = Path(__file__).parents[2]

START = 60.0
"""s that a cluster and its actors may take to start on a busy machine."""


@pytest.fixture
def collect() -> Iterator[Callable[..., Remote]]:
    """Start collections of the toy world that end with the test."""
    started: list[Remote] = []

    def begin(**options: Any) -> Remote:
        toy = {name: options.pop(name) for name in ("limit",) if name in options}
        started.append(Remote(dataclasses.replace(plan(**toy), **options), actor()))
        return started[-1]

    yield begin
    for source in started:
        pids = descendants(source.pids[0]) | set(source.pids)
        source.close()
        assert_none_left(pids)


class Endless:
    """A world that is never ready."""

    def __init__(self, **_: Any) -> None:
        time.sleep(600)


class Broken:
    """A world that cannot be made."""

    def __init__(self, **_: Any) -> None:
        raise ZeroDivisionError("on purpose")


def making(world: type) -> Callable[[int], Any]:
    """The plan's simulations, but of another world."""
    make_env = plan().make_env
    settings = {"_target_": f"{__name__}.{world.__name__}"}
    return type(make_env)(make_env.func, settings, *make_env.args[1:])


def actors(source: Remote) -> list[int]:
    """Process ids of the collection's actors."""
    return sorted(pid for pid in descendants(source.pids[0]) if "ActorCollector" in command(pid))


def next_version(source: Remote) -> torch.Tensor:
    source.board.post(actor())
    return source.collect()


def until_both_work(source: Remote) -> None:
    """One actor may deliver rollouts before the other has started."""
    next_version(source)
    while source.metrics["collection/actors"] < 2:
        next_version(source)


def test_actors_collect_what_one_process_would_and_nobody_else_can_ask_them(
    collect: Callable[..., Remote],
) -> None:
    source = collect(max_age=0)
    source.board.turn("goal_angle", 0.5)
    with running("inprocess", plan(), actor()) as local:
        local.board.turn("goal_angle", 0.5)
        for _ in range(3):
            local.board.post(actor())
            expected, rollout = local.collect(), next_version(source)
            for key in expected.keys(True, True):
                assert torch.equal(rollout[key], expected[key]), key
            assert rollout[STEPS].batch_size == expected[STEPS].batch_size
    assert source.metrics["collection/actors"] == 2
    assert source.metrics["collection/lost"] == source.metrics["collection/stale"] == 0
    assert 0 < source.metrics["throughput/weights_seconds"] < 5

    everyone = descendants(source.pids[0]) | set(source.pids)
    assert len(actors(source)) == 2
    assert {address for address, _ in listening(everyone)} == {"127.0.0.1"}
    assert "RAY_AUTH_TOKEN" not in os.environ, "the token is the broker's"


def test_actors_go_on_while_the_learner_learns_but_not_without_end(collect: Callable[..., Remote]) -> None:
    source = collect(max_age=3)
    until_both_work(source)
    for _ in range(3):  # until neither is behind: each has a rollout ready and waits
        time.sleep(0.5)
        next_version(source)
    _, before = source.board.spent
    update = 2.0
    time.sleep(update)
    rollout = next_version(source)
    age = source.board.version - rollout[VERSION]
    assert age.unique().tolist() == [1], "collected during the update"
    next_version(source)
    assert source.board.spent[1] - before > update, "they waited for the learner"
    assert set(rollout[SIMULATION].flatten().tolist()) <= set(range(2 * ENVS))


def test_an_actor_that_has_delivered_is_not_silent_however_long_an_update_takes(
    collect: Callable[..., Remote],
) -> None:
    patience = 3.0
    source = collect(max_age=1, patience=patience)
    until_both_work(source)
    time.sleep(patience + 1.0)
    next_version(source)
    assert source.metrics["collection/lost"] == source.metrics["collection/replaced"] == 0


def test_what_is_too_old_is_dropped_and_counted(collect: Callable[..., Remote]) -> None:
    source = collect(max_age=1)
    until_both_work(source)
    for _ in range(5):
        source.board.post(actor())
    rollout = source.collect()
    assert (source.board.version - rollout[VERSION]).max() <= 1
    assert source.metrics["collection/stale"] >= 1
    assert source.metrics["collection/lost"] == 0


@pytest.mark.parametrize(("number", "patience"), [(signal.SIGKILL, 60.0), (signal.SIGSTOP, 4.0)])
def test_a_lost_actor_is_replaced_and_collection_goes_on(
    collect: Callable[..., Remote],
    number: signal.Signals,
    patience: float,
    record_chaos: Callable[..., None],
) -> None:
    source = collect(max_age=1, patience=patience)
    until_both_work(source)
    before = actors(source)
    os.kill(before[0], number)
    began = time.monotonic()
    while source.metrics["collection/replaced"] == 0:
        next_version(source)
        assert time.monotonic() - began < START
    detected = time.monotonic() - began
    wait(lambda: len(set(actors(source)) - set(before)) == 1, START)
    while source.metrics["collection/actors"] < 2:
        next_version(source)
    assert source.metrics["collection/lost"] >= 1
    assert source.metrics["collection/replaced"] == 1
    assert detected < patience + 5.0
    record_chaos(
        f"actor: {number.name}",
        detected,
        "the rollout it was making" + (f" (patience {patience:g} s)" if number is signal.SIGSTOP else ""),
        "training; the actor was replaced",
    )


def test_a_cut_connection_to_an_actor_costs_a_rollout_at_most(
    collect: Callable[..., Remote], record_chaos: Callable[..., None]
) -> None:
    source = collect(max_age=1)
    until_both_work(source)
    began = time.monotonic()
    for _, port in listening({actors(source)[0]}):
        if not cut_connections(port):
            pytest.skip("this machine does not abort connections (ss -K)")
    for _ in range(4):
        next_version(source)
    took = time.monotonic() - began
    assert source.metrics["collection/actors"] >= 1
    assert source.metrics["collection/lost"] <= 1
    assert took < START
    lost = "the rollout it was making" if source.metrics["collection/lost"] else "nothing"
    record_chaos("connection to an actor: cut", took, lost, "training")


@pytest.mark.parametrize("waiting", [True, False])
def test_a_lost_broker_is_replaced_with_a_new_cluster(
    waiting: bool,
    collect: Callable[..., Remote],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    record_chaos: Callable[..., None],
) -> None:
    source = collect(max_age=1)
    next_version(source)
    old = descendants(source.pids[0])
    noticed: list[float] = []
    restart = source._restart
    monkeypatch.setattr(source, "_restart", lambda why: (noticed.append(time.monotonic()), restart(why)))
    killed: list[float] = []

    def lose() -> None:
        os.kill(source.pids[0], signal.SIGKILL)
        killed.append(time.monotonic())

    if waiting:
        os.kill(source.pids[0], signal.SIGSTOP)  # it cannot answer before it ends
        threading.Timer(0.5, lose).start()
    else:
        lose()
        source._process.join()
    began = time.monotonic()
    rollout = next_version(source)
    record_chaos(
        f"broker, and its own cluster: SIGKILL while {'waited for' if waiting else 'nobody asks'}",
        noticed[0] - killed[0],
        "all rollouts under way",
        f"training, on a new cluster, after {time.monotonic() - began:.0f} s",
    )
    assert time.monotonic() - began < START
    assert (rollout[VERSION] == source.board.version).all()
    assert source.metrics["collection/lost"] >= 1
    assert "Lost the Ray cluster (the broker ended with signal SIGKILL" in capfd.readouterr().err
    assert_none_left(old)


LEARNER = """
import time
from dactyl_tl.collection.remote import Remote
from tests.collection.small import actor, plan

if __name__ == "__main__":
    source = Remote(plan(), actor())
    source.collect()
    print(source.pids[0], flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_a_killed_learner_leaves_nothing_of_its_cluster(
    tmp_path: Path, record_chaos: Callable[..., None], stopped: bool
) -> None:
    script = tmp_path / "learner.py"
    script.write_text(LEARNER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment) as learner:
        try:
            assert learner.stdout is not None
            broker = int(learner.stdout.readline())
            cluster = descendants(broker)
            assert len([pid for pid in cluster if "ActorCollector" in command(pid)]) == 2
            if stopped:
                os.kill(broker, signal.SIGSTOP)
        finally:  # or the end of its sleep would be waited for
            learner.kill()
    began = time.monotonic()
    assert_none_left(cluster | {broker})
    how = ", its broker stopped" if stopped else ""
    record_chaos(
        f"learner with a cluster of its own: SIGKILL{how}",
        time.monotonic() - began,
        "since the last checkpoint",
        "nothing, no process is left; resume",
    )


def test_training_that_is_to_end_waits_for_rollouts_no_longer(
    collect: Callable[..., Remote], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dactyl_tl.collection.remote.GRACE", 1.0)
    source = collect(make_env=making(Endless))
    began = time.monotonic()
    source.stopping = lambda: time.monotonic() - began > 2.0
    with pytest.raises(InterruptedCollection):
        source.collect()
    assert 3.0 < time.monotonic() - began < 10.0


def test_gpus_that_this_machine_does_not_have_are_a_clear_error(collect: Callable[..., Remote]) -> None:
    with pytest.raises(ConfigurationError, match=r"asks for 2000 GPUs .* this machine has \d+; "):
        collect(gpus=1000.0)


def test_an_actor_that_cannot_start_is_a_clear_error(collect: Callable[..., Remote]) -> None:
    source = collect(make_env=making(Broken))
    with pytest.raises(CollectionError, match=r"an actor could not start: .*on purpose"):
        source.collect()


def test_other_versions_are_refused() -> None:
    here = installed_packages()
    check_packages(here)
    with pytest.raises(RuntimeError, match=r"mujoco-core is .* here and 3\.0 where the learner is"):
        check_packages(here | {"mujoco-core": "3.0"})


def test_sources_that_are_only_on_the_path_have_a_version_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dactyl_tl.collection.actors.PACKAGES", ("torch", "not-to-be-found"))
    assert installed_packages()["not-to-be-found"] == "not installed"


def test_a_cluster_that_is_not_there_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    elsewhere = dataclasses.replace(plan(), address="127.0.0.1:1")
    with pytest.raises(CollectionError, match="needs the cluster's token"):
        Remote(elsewhere, actor())
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-token")
    with pytest.raises(CollectionError, match=r"no Ray head answers at collection.address=127.0.0.1:1: "):
        Remote(elsewhere, actor())


def test_a_silent_broker_counts_as_lost(collect: Callable[..., Remote]) -> None:
    source = collect(max_age=1, patience=4.0)
    next_version(source)
    old = source.pids[0]
    os.kill(old, signal.SIGSTOP)
    next_version(source)
    assert source.pids[0] != old
    assert not alive(old)
