"""Runs of the real command, for benchmarks that look at all of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dactyl_tl.metrics import read_metrics
from dactyl_tl.policies import METRICS

ROOT = Path(__file__).resolve().parents[1]


def metrics_of(words: Sequence[str]) -> list[dict[str, float]]:
    """The metrics of every rollout of ``python train.py <words>``, which keeps nothing else.

    Raises:
        SystemExit: it failed; with what it said.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        done = subprocess.run(
            [
                *(sys.executable, "train.py", *words),
                *("logger=csv", "callbacks.checkpoints.minutes=60", f"hydra.run.dir={run}"),
            ],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"train.py {' '.join(words)} failed:\n{done.stderr}")
        return read_metrics(run / METRICS)
