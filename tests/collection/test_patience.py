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

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")

PROGRAMS = {"stuck": "import time\nwhile True: time.sleep(60)", "slow": "while True: pass"}


@pytest.fixture
def processes() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """One that is stuck, one that is slow, one that is stopped, one that has no rollout to make."""
    programs = PROGRAMS | {"stopped": PROGRAMS["slow"], "done": PROGRAMS["stuck"]}
    started = {name: subprocess.Popen([sys.executable, "-c", program]) for name, program in programs.items()}
    time.sleep(0.5)  # until Python has started
    started["stopped"].send_signal(signal.SIGSTOP)
    yield started
    for process in started.values():
        process.kill()
        process.wait()


def test_only_who_gives_no_sign_of_life_is_lost(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    names = list(processes)
    patience = Patience([process.pid for process in processes.values()], 1.0)
    with patience.waiting(lambda: [index for index, name in enumerate(names) if name != "done"]):
        time.sleep(2.5)
    codes = {name: process.poll() for name, process in processes.items()}
    assert codes == {"stuck": -signal.SIGKILL, "stopped": -signal.SIGKILL, "slow": None, "done": None}
    assert patience.lost == {
        names.index("stuck"): "gave no sign of life for 1 s; it was stuck",
        names.index("stopped"): "gave no sign of life for 1 s; it was stopped",
    }
