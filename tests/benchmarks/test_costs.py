"""The cost model finds the costs that measurements were made from, and its arithmetic is the paper's."""

import pytest

from benchmarks import costs

CORE, LEARNER, REDUCE, SECOND = 2000.0, 2e-4, 5e-5, 0.9
LATENCY, BANDWIDTH = 0.003, 5e8


def lap(frames: float, collecting: float, learning: float) -> dict[str, float]:
    seconds = collecting + learning
    return {
        "frames": frames,
        "frames_per_second": frames / seconds,
        "collecting": collecting,
        "learning": learning,
    }


@pytest.fixture
def measured() -> dict:
    """What benchmarks.scaling would write of a machine that is exactly as the model says."""
    frames = 5000.0
    alone = lap(frames, frames / CORE, frames * LEARNER)
    together = lap(2 * frames, frames / CORE / SECOND, 2 * frames * LEARNER)
    ranks = lap(2 * frames, frames / CORE / SECOND, frames * (LEARNER + REDUCE))
    sizes = (1e5, 1e6, 1e7)
    return {
        "environment": {"cores": 2},
        "cases": [
            {"kind": "inprocess", "workers": 1, "ranks": 1, "laps": [alone]},
            {"kind": "multiprocess", "workers": 1, "ranks": 1, "laps": [alone] * 3},
            {"kind": "multiprocess", "workers": 2, "ranks": 1, "laps": [together]},
            {"kind": "inprocess", "workers": 1, "ranks": 2, "laps": [ranks]},
        ],
        "transfers": [
            {
                "weight_bytes": size,
                "weight_seconds": LATENCY + size / BANDWIDTH,
                "rollout_bytes": 2 * size,
                "rollout_seconds": LATENCY + 2 * size / BANDWIDTH,
            }
            for size in sizes
        ],
    }


def test_the_fit_finds_what_went_in(measured: dict) -> None:
    model = costs.fit(measured)
    assert model.core == pytest.approx(CORE)
    assert model.learner == pytest.approx(LEARNER)
    assert model.reduce == pytest.approx(REDUCE)
    assert model.second == pytest.approx(SECOND)
    for found in (model.weights, model.rollout):
        assert found.latency == pytest.approx(LATENCY)
        assert found.bandwidth == pytest.approx(BANDWIDTH)
        assert found.seconds(1e6) == pytest.approx(LATENCY + 1e6 / BANDWIDTH)


def test_the_model_predicts_what_it_was_fitted_to(measured: dict) -> None:
    rows = costs.checks(measured, costs.fit(measured))
    assert [row[-1] for row in rows] == ["1.00"] * 4


def test_a_bandwidth_that_shows_nowhere_is_not_claimed() -> None:
    assert costs.Line(0.003, 5e8).words(1e7) == "3.0 ms, and 500 MB/s"
    assert costs.Line(0.003, 5e8).words(1e5) == "3.0 ms, whatever the size up to 0.1 MB"


def test_a_latency_is_never_below_nothing() -> None:
    assert costs.line([(1.0, 0.5), (2.0, 2.0), (4.0, 6.0)]).latency == 0.0


def test_the_papers_own_rate(measured: dict) -> None:
    rows = {row[0]: row for row in costs.paper(costs.fit(measured))}
    # Two years an hour are 17,532 simulated seconds a second, 12.5 control steps each.
    assert rows["the paper's"][1:] == ["219,150", "789", "2.0"]
    cores = rows["6,144 cores simulate and act"][1]
    share = costs.ASSUMED["share of a core's speed when all 16 work"]
    assert cores == f"{6144 * CORE * share:,.0f}"
    slowest = min(float(row[1].replace(",", "")) for name, row in rows.items() if "the" not in name)
    assert rows["predicted, the slowest of these"][1] == f"{slowest:,.0f}"
