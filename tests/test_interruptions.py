"""Ctrl-C, SIGTERM, killed workers and killed trainers: a checkpoint to resume from, and no process left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytorch_lightning import Callback

from dactyl_tl.training import train
from tests.chaos.running import WORDS, Trainer, assert_resumable
from tests.compose import compose
from tests.processes import assert_none_left

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Trainer]]:
    started: list[Trainer] = []

    def begin(*words: str) -> Trainer:
        started.append(Trainer(tmp_path / "run", *words))
        return started[-1]

    yield begin
    for trainer in started:
        trainer.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_training_cleanly(
    start: Callable[..., Trainer], number: signal.Signals
) -> None:
    trainer = start()
    trainer.wait_for_rollouts(2)
    assert len(trainer.workers()) == 2
    os.killpg(trainer.process.pid, number)
    output = trainer.finish()
    assert trainer.process.returncode == 128 + number, output
    assert "Traceback" not in output
    assert f"Stopped by {number.name}" in output
    assert_none_left(trainer.descendants)
    last = trainer.frames()[-1]
    assert assert_resumable(trainer.run) == last, "nothing is lost"


@pytest.mark.filterwarnings("ignore:The simulations begin new episodes")  # as they must
@pytest.mark.parametrize(
    ("number", "patience", "limit", "said"),
    [
        pytest.param(signal.SIGKILL, 300, 15.0, "ended with signal SIGKILL", id="killed"),
        pytest.param(signal.SIGSTOP, 3, 18.0, "gave no sign of life for 3 s; it was stopped", id="stopped"),
    ],
)
def test_a_lost_worker_is_a_clear_error_and_loses_the_current_rollout_only(
    start: Callable[..., Trainer],
    record_chaos: Callable[..., None],
    number: signal.Signals,
    patience: int,
    limit: float,
    said: str,
) -> None:
    trainer = start(f"collection.patience={patience}")
    trainer.wait_for_rollouts(2)
    victim = trainer.workers()[0]
    os.kill(victim, number)
    began = time.monotonic()
    output = trainer.finish()
    detected = time.monotonic() - began
    assert detected < limit
    assert trainer.process.returncode == 3, output
    assert f"(process {victim}) {said}" in output
    assert "Traceback" not in output
    assert f"resume={trainer.run}" in output
    assert_none_left(trainer.descendants)
    last = trainer.frames()[-1]
    assert assert_resumable(trainer.run) == last, "only the rollout in progress is lost"
    what = f"worker {'killed' if number == signal.SIGKILL else f'stopped, patience {patience} s'}"
    record_chaos(what, detected, "the rollout in progress", "resume, new episodes")


@pytest.mark.parametrize("stopped", [False, True])
def test_workers_do_not_outlive_a_killed_trainer(start: Callable[..., Trainer], stopped: bool) -> None:
    trainer = start()
    trainer.wait_for_rollouts(1)
    if stopped:
        os.kill(trainer.workers()[0], signal.SIGSTOP)
    os.kill(trainer.process.pid, signal.SIGKILL)
    trainer.finish()
    assert_none_left(trainer.descendants)


class Failing(Callback):
    """Remembers the workers and raises."""

    pids: tuple[int, ...] = ()

    def on_train_batch_end(self, trainer, *args) -> None:
        Failing.pids = tuple(trainer.datamodule.source.pids)
        raise ZeroDivisionError("on purpose")


def test_no_worker_outlives_an_exception(tmp_path: Path) -> None:
    words = [*WORDS, f"+callbacks.failing._target_={__name__}.Failing"]
    cfg = compose(tmp_path, words)
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        train(cfg)
    assert len(Failing.pids) == 2
    assert_none_left(set(Failing.pids))
