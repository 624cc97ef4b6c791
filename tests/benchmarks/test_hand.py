"""The benchmark of wire and loops, run for a moment."""

import json

import numpy as np

from benchmarks import hand


def test_round_trips_and_steps_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["hand", "--seconds", "1.5", "--output", str(tmp_path / "out.json")])
    monkeypatch.setattr(hand, "go_ahead", lambda: None)  # the other tests go on beside this one
    hand.main()
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())
    for name in ("plain", "CURVE"):
        assert f"round trip, {name}" in printed
        assert len(found[name]["round_trip_ms"]) == 300
        assert found[name]["ticks"] > 150  # 1.5 s at 200 Hz, but for what starting and ending take
        assert 0.0 < np.median(found[name]["round_trip_ms"]) < 50.0
    assert len(found["control loop, CURVE"]["late_ms"]) == 19
