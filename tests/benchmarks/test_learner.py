"""The learner's benchmark measures both updates and reports them."""

import argparse

from benchmarks.learner import COLUMNS, _compare, _row

SIZES = argparse.Namespace(envs=8, steps=20, minibatches=2, dense=16, lstm=8, reset_rate=0.05, repetitions=2)


def test_a_comparison_has_every_repetition_of_both():
    result = _compare(SIZES, threads=1, reset_rate=0.05)
    for kind in ("plain", "module"):
        assert len(result["transitions_per_second"][kind]) == 2
        assert all(rate > 0 for rate in result["transitions_per_second"][kind])
    assert len(result["ratio"]) == len(result["cpu_ratio"]) == 2
    row = _row(result)
    assert len(row) == len(COLUMNS)
    assert row[0] == "1 threads, 5 % of steps end an episode"
