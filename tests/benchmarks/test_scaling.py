"""What the scaling benchmark makes of a run's metrics."""

from benchmarks.scaling import CASES, Case, _efficiencies, weight_update
from dactyl_tl.models import NetworkConfig, build_actor


def test_two_are_compared_with_one_of_their_kind_where_there_are_cores(monkeypatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    one = {"frames": 1000.0, "frames_per_second": 500.0, "collecting": 1.0}
    two = {"frames": 2000.0, "frames_per_second": 900.0, "collecting": 1.25}
    rows = _efficiencies(
        {
            Case("multiprocess"): [one],
            Case("multiprocess", 2): [two],
            Case("ray"): [one],
            Case("ray", 2): [two],
            Case("inprocess"): [one],
            Case("inprocess", 1, 2): [two],
        }
    )
    table = {name: rest for name, *rest in rows}
    assert table["multiprocess, 2: collecting"] == ["1.60", "0.80", "0.85"]
    assert table["multiprocess, 2: training"] == ["1.80", "0.90", "-"]
    assert table["DDP, 2 ranks of inprocess, 1 each: training"] == ["1.80", "0.90", "0.85"]
    assert table["ray, 2: training"][-1] == "none: 3 busy, 2 cores"


def test_every_way_to_collect_is_measured_with_one_and_with_two() -> None:
    for kind in ("multiprocess", "asynchronous", "ray"):
        assert {case.workers for case in CASES if case.kind == kind} == {1, 2}
    assert {case.ranks for case in CASES if case.kind == "inprocess"} == {1, 2}


def test_a_weight_update_has_the_weights_size() -> None:
    network = NetworkConfig(dense=16, lstm=8)
    tensors = [*build_actor(network).parameters(), *build_actor(network).buffers()]
    found = weight_update(network, 2)
    assert found["bytes"] == sum(each.numel() * each.element_size() for each in tensors)
    assert found["seconds"] > 0
