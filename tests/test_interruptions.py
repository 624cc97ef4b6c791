"""Ctrl-C, SIGTERM, killed workers and killed trainers: a checkpoint to resume from, and no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback

from dactyl_tl.metrics import read_metrics
from dactyl_tl.training import train
from tests.compose import TOY, compose

ROOT = Path(__file__).parent.parent
WORDS = ["experiment=smoke", TOY, "collection=multiprocess", "collection.workers=2", "collection.num_envs=2"]
PATIENCE = 60.0

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")


class Trainer:
    """``python train.py`` in a process group of its own, as a terminal starts it."""

    def __init__(self, run: Path, *words: str) -> None:
        self.run = run
        self.process = subprocess.Popen(
            [sys.executable, "train.py", *WORDS, "frames=null", f"hydra.run.dir={run}", *words],
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self.descendants: set[int] = set()

    def wait_for_rollouts(self, count: int) -> None:
        wait(lambda: len(read_metrics(self.run / "metrics.csv")) >= count or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()[0]
        self.descendants = descendants(self.process.pid)

    def workers(self) -> list[int]:
        return sorted(pid for pid in self.descendants if "spawn_main" in command(pid))

    def finish(self) -> str:
        return self.process.communicate(timeout=PATIENCE)[0]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Trainer]]:
    started: list[Trainer] = []

    def begin(*words: str) -> Trainer:
        started.append(Trainer(tmp_path / "run", *words))
        return started[-1]

    yield begin
    for trainer in started:
        for pid in descendants(trainer.process.pid) | trainer.descendants | {trainer.process.pid}:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        trainer.process.wait()


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    path = Path(f"/proc/{pid}/task/{pid}/children")
    if path.exists():
        for child in map(int, path.read_text().split()):
            found |= {child} | descendants(child)
    return found


def command(pid: int) -> str:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_text().replace("\0", " ") if path.exists() else ""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_none_left(pids: set[int]) -> None:
    deadline = time.monotonic() + 10.0
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, [command(pid) for pid in left]
        time.sleep(0.05)


def assert_resumable(run: Path) -> int:
    """The run goes on where it stopped; returns the frames it stopped at.

    It does so in this process, which takes the same states and starts sooner.
    """
    stopped = int(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["frames"])
    frames = stopped + 64
    words = [*WORDS, "collection.kind=inprocess", f"frames={frames}", f"resume={run}"]
    result = train(compose(run, words))
    assert result.frames == frames
    return stopped


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
    rows = read_metrics(trainer.run / "metrics.csv")
    assert assert_resumable(trainer.run) == rows[-1]["frames"], "nothing is lost"


@pytest.mark.filterwarnings("ignore:The simulations begin new episodes")  # as they must
def test_a_killed_worker_is_a_clear_error_and_loses_the_current_rollout_only(
    start: Callable[..., Trainer],
) -> None:
    trainer = start()
    trainer.wait_for_rollouts(2)
    victim = trainer.workers()[0]
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    output = trainer.finish()
    assert time.monotonic() - killed < 15.0
    assert trainer.process.returncode == 3, output
    assert f"(process {victim}) ended with signal SIGKILL" in output
    assert "Traceback" not in output
    assert f"resume={trainer.run}" in output
    assert_none_left(trainer.descendants)
    rows = read_metrics(trainer.run / "metrics.csv")
    assert assert_resumable(trainer.run) == rows[-1]["frames"], "only the rollout in progress is lost"


def test_workers_do_not_outlive_a_killed_trainer(start: Callable[..., Trainer]) -> None:
    trainer = start()
    trainer.wait_for_rollouts(1)
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
