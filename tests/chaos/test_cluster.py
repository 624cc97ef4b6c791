"""`python train.py collection=ray` on clusters whose machines come, go, stop and die."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.cluster import Node, environment
from tests.chaos.hosts import LEFT, RIGHT, wire
from tests.chaos.running import PATIENCE, Trainer, saved_frames
from tests.processes import assert_none_left

pytest.importorskip("ray")


class ClusterTrainer(Trainer):
    """``python train.py`` at the head, with actors of the cluster."""

    def __init__(self, run: Path, head: Node, *words: str) -> None:
        super().__init__(
            run,
            *("collection.kind=ray", f"collection.address={head.address}", *words),
            command=(*head.prefix, sys.executable, "train.py"),
            environment=environment(),
        )

    def wait_for_actors(self, number: int, seconds: float = PATIENCE) -> float:
        """Until as many actors take part in the latest rollout."""
        return self.wait_for(lambda: bool(self.rows()) and self.last("collection/actors") == number, seconds)

    def end(self, seconds: float = PATIENCE) -> tuple[int, str]:
        """Exit code and all that was said; nothing is left running."""
        said = self.finish(seconds)
        assert_none_left(self.descendants)
        return self.process.returncode, said


@pytest.fixture
def node() -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def begin(head: Node | None = None, **options: object) -> Node:
        nodes.append(Node(head.address if head else None, **options))
        nodes[-1].wait_until_up()
        return nodes[-1]

    yield begin
    for each in reversed(nodes):
        each.close()


@pytest.fixture
def train(tmp_path: Path) -> Iterator[Callable[..., ClusterTrainer]]:
    trainers: list[ClusterTrainer] = []

    def begin(head: Node, *words: str) -> ClusterTrainer:
        trainers.append(ClusterTrainer(tmp_path / "run", head, *words))
        return trainers[-1]

    yield begin
    for trainer in trainers:
        trainer.kill()


@pytest.mark.timeout(240)
def test_training_waits_for_machines_takes_more_of_them_and_goes_on_with_fewer(
    node: Callable[..., Node], train: Callable[..., ClusterTrainer], record_chaos: Callable[..., None]
) -> None:
    head = node()
    trainer = train(head)
    trainer.wait_for(lambda: "Waiting for rollouts: 0 of 2 actors" in trainer.said())
    assert not trainer.rows()

    node(head, cpus=1)
    trainer.wait_for_actors(1)
    second = node(head, cpus=1)
    trainer.wait_for_actors(2)
    frames = trainer.last("frames")

    second.close()
    began = time.monotonic()
    trainer.wait_for(lambda: trainer.last("collection/lost") >= 1)
    detected = time.monotonic() - began
    trainer.wait_for_actors(1)
    assert trainer.last("frames") > frames
    record_chaos("machine of an actor: SIGKILL", detected, "the rollout it was making", "training, with half")

    node(head, cpus=1)
    trainer.wait_for_actors(2)
    os.killpg(trainer.process.pid, signal.SIGTERM)
    code, said = trainer.end()
    assert code == 128 + signal.SIGTERM, said
    assert "Traceback" not in said
    assert saved_frames(trainer.run) == trainer.last("frames"), "nothing is lost"


def test_a_signal_while_there_is_nobody_ends_training(
    node: Callable[..., Node], train: Callable[..., ClusterTrainer]
) -> None:
    trainer = train(node())
    trainer.wait_for(lambda: "Waiting for rollouts" in trainer.said())
    trainer.process.send_signal(signal.SIGTERM)
    code, said = trainer.end()
    assert code == 128 + signal.SIGTERM, said
    assert "Traceback" not in said
    assert saved_frames(trainer.run) == 0


@pytest.mark.timeout(240)
def test_two_ranks_have_actors_of_their_own(node: Callable[..., Node], train: Callable[..., Trainer]) -> None:
    head = node(cpus=2)
    ranks = ("trainer.accelerator=cpu", "trainer.devices=2", "collection.workers=1")
    trainer = train(head, *ranks, "frames=1280")
    said = trainer.finish(120)
    assert trainer.process.returncode == 0, said
    assert_none_left(trainer.descendants)
    frames = [row["frames"] for row in trainer.rows()]
    assert frames == [2 * 2 * 16 * (number + 1) for number in range(len(frames))], (
        "both ranks' rollouts count"
    )
    assert frames[-1] == 1280
    assert trainer.last("collection/actors") == 1


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_training_outlives_the_head(
    node: Callable[..., Node],
    train: Callable[..., ClusterTrainer],
    number: signal.Signals,
    record_chaos: Callable[..., None],
) -> None:
    head = node(cpus=1)
    trainer = train(head, "collection.workers=1", "collection.patience=100")
    trainer.wait_for_actors(1)
    head.signal("gcs_server", number)
    detected = trainer.wait_for(lambda: "Lost the Ray cluster" in trainer.said(), 90)
    head.close()
    frames = trainer.last("frames")

    node(cpus=1, port=int(head.address.rpartition(":")[2]))
    trainer.wait_for(lambda: trainer.last("frames") > frames + 200, 90)
    assert trainer.last("collection/lost") >= 1
    record_chaos(f"head: {number.name}", detected, "rollouts under way", "training, when a head was back")


def test_without_a_head_training_gives_up_with_a_checkpoint(
    node: Callable[..., Node], train: Callable[..., ClusterTrainer]
) -> None:
    head = node(cpus=1)
    trainer = train(head, "collection.workers=1", "collection.patience=5")
    trainer.wait_for_actors(1)
    head.close()
    code, said = trainer.end(90)
    assert code == 3, said
    assert "error: no Ray cluster for 5 s" in said
    assert f"resume={trainer.run}" in said
    assert saved_frames(trainer.run) == trainer.last("frames")


@pytest.mark.timeout(240)
def test_two_hosts_train_together_and_one_that_was_cut_off_comes_back(
    node: Callable[..., Node], train: Callable[..., ClusterTrainer], record_chaos: Callable[..., None]
) -> None:
    with wire() as hosts:
        if hosts is None:
            pytest.skip("network namespaces cannot be made here")
        head = node(address=LEFT, cpus=1, prefix=hosts.left)
        node(head, address=RIGHT, cpus=1, prefix=hosts.right, again=True)
        trainer = train(head)
        trainer.wait_for_actors(2)

        hosts.cut()
        frames = trainer.last("frames")
        detected = trainer.wait_for(lambda: trainer.last("collection/lost") >= 1)
        trainer.wait_for_actors(1)
        trainer.wait_for(lambda: trainer.last("frames") > frames + 200)
        hosts.mend()
        back = trainer.wait_for_actors(2, 90)
        assert back > 0
        record_chaos(
            "network of a machine: cut", detected, "the rollout it was making", "training, with half"
        )

        trainer.process.send_signal(signal.SIGTERM)
        code, said = trainer.end()
        assert code == 128 + signal.SIGTERM, said
