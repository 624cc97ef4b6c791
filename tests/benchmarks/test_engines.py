"""The comparison of engines, with tiny sizes: every case is measured or says why not."""

import json

import pytest
import torch

from benchmarks.engines import main

TINY = {
    "worlds": 4, "iteration": 4, "seconds": 0.1, "repetitions": 1, "steps": 10, "epochs": 1, "minibatch": 20,
    "dense": 16, "lstm": 8,
}  # fmt: skip


@pytest.mark.timeout(300)
def test_command_measures_every_engine_present(tmp_path, capsys):
    output = tmp_path / "engines.json"
    sizes = [word for name, value in TINY.items() for word in (f"--{name}", str(value))]
    main([*sizes, "--engines", "native-cpu", "warp-cpu", "warp-cuda", "--output", str(output)])
    printed = capsys.readouterr().out
    cases = json.loads(output.read_text())["cases"]
    assert {(case["engine"], case["device"]) for case in cases} == {
        ("native", "cpu"),
        ("warp", "cpu"),
        ("warp", "cuda"),
    }
    for case in cases:
        if case["device"] == "cuda" and not torch.cuda.is_available():
            assert case["absent"] == "there is no GPU"
        elif case["trained"]:
            (parts,) = case["parts"]
            assert case["transitions"] == 40
            assert all(parts[name] > 0 for name in ("simulation", "inference", "optimisation"))
        else:
            assert all(rate > 0 for rate in case["rates"])
            assert case["host_mib"] > 100
    assert ("MuJoCo Warp, GPU: not measured: there is no GPU" in printed) != torch.cuda.is_available()
    assert "4 simulations: MuJoCo" in printed
