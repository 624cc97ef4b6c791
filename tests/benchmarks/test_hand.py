"""The benchmark of wire and loops, run for a moment."""

import json
import subprocess
import sys

import numpy as np


def test_round_trips_and_steps_are_counted(tmp_path):
    output = tmp_path / "out.json"
    # A process of its own: it goes ahead of other programs, where that is permitted.
    command = [sys.executable, "-m", "benchmarks.hand", "--seconds", "1.5", "--output", str(output)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(output.read_text())
    for name in ("plain", "CURVE"):
        assert f"round trip, {name}" in printed
        assert len(found[name]["round_trip_ms"]) == 300
        assert found[name]["ticks"] > 150  # 1.5 s at 200 Hz, but for what starting and ending take
        assert 0.0 < np.median(found[name]["round_trip_ms"]) < 50.0
    assert len(found["control loop, CURVE"]["late_ms"]) == 19
