"""The rendering benchmark: every contender draws, and what it reports is there."""

import math

import pytest

from benchmarks.rendering import CONTENDERS, measure_drawing, measure_inference


@pytest.mark.parametrize("name", [name for name in CONTENDERS if not name.startswith("filament_")])
def test_contenders_draw(name: str) -> None:
    assert measure_drawing(name, seconds=0.2) > 1.0


def test_inference_is_timed_call_by_call() -> None:
    for times in measure_inference(calls=3).values():
        assert len(times) == 3
        assert all(math.isfinite(each) and each > 0 for each in times)
