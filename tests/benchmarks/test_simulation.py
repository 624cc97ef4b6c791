"""The simulation benchmark: its arithmetic by hand, its processes for real but briefly."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.process import Contender, ContenderFailed, cpu_seconds, descendants, peak_memory_mib
from benchmarks.report import spread, table
from benchmarks.simulation import Entry, entries, main, verdicts

ROOT = Path(__file__).resolve().parents[2]

BUSY = """
import time
from benchmarks.process import Count, serve
done = 0
def advance():
    global done
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass
    done += 10
    return Count(done, 2 * done, 0.5)
print("noise of a library on standard output")
serve(advance, {"timestep": 0.008})
"""


def sample(delivered, cpu, executed=None):
    return {
        "delivered": delivered,
        "executed": delivered if executed is None else executed,
        "cpu": cpu,
        "wall": 2 * cpu,
        "held": 0.9,
        "peak_memory_mib": 100.0,
    }


def entry(title, timestep, *samples):
    return Entry(title, (), facts={"timestep": timestep}, samples=list(samples))


def test_spread_is_median_and_half_the_middle_range():
    assert spread([3.0]) == (3.0, 0.0)
    assert spread([1.0, 5.0]) == (3.0, 2.0)
    assert spread([1.0, 2.0, 3.0, 4.0]) == (2.5, 1.25)


def test_table_lines_up():
    assert table(("name", "n"), [["a", "10"], ["long name", "7"]]).splitlines() == [
        "| name      |  n |",
        "|-----------|---:|",
        "| a         | 10 |",
        "| long name |  7 |",
    ]
    with pytest.raises(ValueError, match="1 cells, the table 2"):
        table(("name", "n"), [["a"]])


def test_rates_and_verdicts():
    ours = entry("environment", 0.008, sample(2000, 2.0, 3000), sample(4000, 2.0), sample(3000, 2.0))
    peer = entry("EnvPool", 0.002, sample(1000, 1.0))
    assert ours.rate() == 1500
    assert ours.rate("executed") == 1500
    assert ours.rate(clock="wall") == 750
    assert ours.row()[:3] == ["environment", "1,500", "500"]
    assert verdicts({"environment": ours, "envpool": peer}) == [
        "environment / EnvPool: 1.50 in physics steps (met: 1.3), 6.00 in simulated time"
    ]
    slower = entry("environment", 0.008, sample(800, 1.0))
    raw = entry("raw", 0.008, sample(1000, 1.0))
    (line,) = verdicts({"environment": slower, "raw": raw})
    assert "0.80 in physics steps (missed: 0.85)" in line


def test_a_contender_is_measured_in_its_own_process():
    contender = Contender([sys.executable, "-c", BUSY], ROOT)
    try:
        assert contender.facts == {"timestep": 0.008}
        measured = contender.sample(0.4)
        assert measured["executed"] == 2 * measured["delivered"] > 0
        assert measured["wall"] >= 0.4
        burnt = 0.02 * measured["delivered"] / 10  # by advance(), on however busy a machine
        assert 0.7 * burnt - 0.03 < measured["cpu"] <= measured["wall"] + 0.05
        assert 5 < measured["peak_memory_mib"] < 500
        idle = time.process_time()
        assert cpu_seconds(os.getpid()) >= idle - 0.05
        assert len(descendants(os.getpid())) >= 2
        assert peak_memory_mib(os.getpid()) > measured["peak_memory_mib"]
    finally:
        contender.close()


def test_a_contender_that_fails_says_why():
    with pytest.raises(ContenderFailed, match="no such model"):
        Contender([sys.executable, "-c", "raise SystemExit('no such model')"], ROOT)


def test_every_own_contender_has_a_name_that_its_process_knows():
    own = {e.command[2] for e in entries(8, 2).values() if not e.peer}
    assert own == {"raw", "environment", "inprocess", "multiprocess"}


def test_command_measures_prints_and_writes(tmp_path, capsys):
    output = tmp_path / "results" / "speed.json"
    brief = ["--simulations", "4", "--repetitions", "1", "--seconds", "0.3"]
    files = ["--peers", str(tmp_path / "absent"), "--output", str(output)]
    main([*brief, *files, "--only", "raw", "environment", "envpool"])
    printed = capsys.readouterr().out
    assert "environment / raw:" in printed
    assert "EnvPool: not measured: no " in printed
    written = json.loads(output.read_text(encoding="utf-8"))
    assert written["machine"]["versions"]["mujoco"] in printed
    (measured,) = written["contenders"]["environment"]["samples"]
    assert measured["executed"] >= measured["delivered"] > 0
    assert measured["delivered"] % (4 * 10) == 0


def test_unknown_contender_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "isaac"])
    assert "choose from raw, environment" in capsys.readouterr().err
