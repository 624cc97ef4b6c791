"""Lightning's DDP for ranks that end together.

Lightning's own watch kills rank 0 within five seconds of another rank's end, which can be in the middle of
the checkpoint that it is writing because of it, and rank 0's own end leaves the other ranks behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from dactyl_tl import ranks
from dactyl_tl.errors import FAILED, INTERRUPTED, ConfigurationError
from dactyl_tl.processes import die_with_parent, ending
from dactyl_tl.restoring import continuation

POLL = 0.5
"""Seconds between two looks at the other ranks."""

GRACE = 20.0
"""Seconds that rank 0 has to notice by itself that another has ended, and that others have to follow it."""

LAUNCHED_BY = "DACTYL_TL_LAUNCHED_BY"
"""Environment variable of ranks that rank 0 started: its process id."""


class RankStrategy(DDPStrategy):
    """A process for each device. No rank outlives rank 0, and none waits for ever.

    Under torchrun or Slurm, which start the processes themselves, nothing is started or ended here.

    Args:
        patience: seconds that a rank may be silent once training has begun.
        run: directory of the run, for what is said at the end.
    """

    def __init__(self, patience: float, run: Path) -> None:
        super().__init__()
        self.patience, self.run = patience, run

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)
        self._launcher.run = self.run

    def setup_distributed(self) -> None:
        """Connect the ranks; both what is on a GPU and what is in the host's memory can be sent.

        Raises:
            ConfigurationError: they do not have one run directory.
        """
        self._process_group_backend = ranks.BACKENDS.get(self.root_device.type)
        super().setup_distributed()
        ranks.introduce({process.pid: process for process in self._children})
        names = set(ranks.objects_of_all_ranks(str(self.run)))
        if len(names) > 1:  # named after the second in which each was started
            raise ConfigurationError(
                f"the ranks would write to {' and '.join(sorted(names))}; name one for all with "
                "hydra.run.dir=DIRECTORY, or add resume=auto"
            )

    def on_train_start(self) -> None:
        """From here on patience counts; the start takes as long as it takes."""
        super().on_train_start()
        ranks.limit_waiting(self.patience)

    def close(self, orderly: bool) -> None:
        """Disconnect, and end the ranks that were started here.

        Args:
            orderly: they are about to end by themselves.
        """
        ranks.part(orderly)
        for process in self._children:
            if orderly:
                _wait(process)
            process.kill()
            process.wait()

    @property
    def _children(self) -> list[subprocess.Popen[bytes]]:
        return self._launcher.procs if isinstance(self._launcher, Launcher) else []


class Launcher(_SubprocessScriptLauncher):
    """Starts the other ranks of this machine as Lightning does, and looks after them."""

    run = Path()

    def launch(
        self, function: Callable[..., Any], *args: Any, trainer: Trainer | None = None, **kwargs: Any
    ) -> Any:
        """Call ``function`` as one of the ranks."""
        environment = self.cluster_environment
        environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if environment.creates_processes_externally:
            if LAUNCHED_BY in os.environ:
                die_with_parent(int(os.environ[LAUNCHED_BY]))
            return function(*args, **kwargs)
        os.environ[LAUNCHED_BY] = str(os.getpid())
        try:
            self._call_children_scripts()
        finally:
            del os.environ[LAUNCHED_BY]
        watch = _Watch(self.procs, self.run)
        watch.start()
        try:
            return function(*args, **kwargs)
        finally:
            watch.over.set()


class _Watch(threading.Thread):
    """Ends this process where another rank has ended and the main thread does not notice.

    A connection over gloo breaks at once; a kernel of NCCL can wait for ever.
    """

    def __init__(self, children: list[subprocess.Popen[bytes]], run: Path) -> None:
        super().__init__(name="watch-ranks", daemon=True)
        self._children, self._run = children, run
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(POLL):
            codes = {process.pid: process.poll() for process in self._children}
            lost = {pid: code for pid, code in codes.items() if code not in (None, 0, *INTERRUPTED)}
            # Who still waits to be connected notices nothing, and has nothing to save.
            if lost and not self.over.wait(GRACE if ranks.introduced() else POLL):
                pid, code = lost.popitem()
                assert code is not None
                self._end(ranks.lost_rank() or f"a rank (process {pid}) ended with {ending(code)}")

    def _end(self, reason: str) -> None:
        print(
            "\n".join(filter(None, [f"error: {reason}", continuation(self._run)])),
            file=sys.stderr,
            flush=True,
        )
        for process in self._children:
            process.kill()
        os._exit(FAILED)


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        print(f"process {process.pid} does not end; it is killed", file=sys.stderr)
