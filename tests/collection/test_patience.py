"""Who counts as lost: not the slow, not those that wait with reason."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dactyl_tl.collection.patience import Patience
from tests.processes import wait

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")

STARTED = "import time\nprint(flush=True)\n"
PROGRAMS = {"stuck": f"{STARTED}while True: time.sleep(60)", "slow": f"{STARTED}while True: pass"}


@pytest.fixture
def processes() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """One that is stuck, one that is slow, one that is stopped, one that has no rollout to make."""
    programs = PROGRAMS | {"stopped": PROGRAMS["slow"], "done": PROGRAMS["stuck"]}
    started = {
        name: subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        for name, program in programs.items()
    }
    for process in started.values():
        assert process.stdout is not None
        process.stdout.readline()
    started["stopped"].send_signal(signal.SIGSTOP)
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


def test_only_who_gives_no_sign_of_life_is_lost(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    names = list(processes)
    patience = Patience([process.pid for process in processes.values()], 1.0)
    with patience.waiting(lambda: [index for index, name in enumerate(names) if name != "done"]):
        wait(lambda: len(patience.lost) == 2, 20.0)
        time.sleep(1.5)  # in which no other may be lost
    codes = {name: process.poll() for name, process in processes.items()}
    assert codes == {"stuck": -signal.SIGKILL, "stopped": -signal.SIGKILL, "slow": None, "done": None}
    assert patience.lost == {
        names.index("stuck"): "gave no sign of life for 1 s; it was stuck",
        names.index("stopped"): "gave no sign of life for 1 s; it was stopped",
    }
