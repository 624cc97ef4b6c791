from __future__ import annotations

import dataclasses
import io
import math

import pytest
import torch

from dactyl_tl.collection.board import KNOBS, Board
from dactyl_tl.collection.collectors import pack, unpack
from dactyl_tl.collection.simulations import make_simulations
from dactyl_tl.collection.sources import SOURCES
from dactyl_tl.collection.worker import (
    SIMULATION,
    STATES,
    STEPS,
    generator_devices,
    generator_states,
    recurrent_environment,
    recurrent_keys,
    set_generator_states,
)
from dactyl_tl.errors import CollectionError
from dactyl_tl.models import POLICY_STATE
from tests.collection.small import CHUNK, ENVS, LENGTH, actor, as_rollout, plan, running


def test_same_seed_same_rollouts_other_seed_others() -> None:
    rollouts = []
    for seed in (5, 5, 6):
        with running("inprocess", plan(seed=seed), actor()) as source:
            source.collect()
            rollouts.append(source.collect().clone())
    assert (rollouts[0][STEPS] == rollouts[1][STEPS]).all()
    assert not (rollouts[0][STEPS, "action"] == rollouts[2][STEPS, "action"]).all()


def test_processes_collect_what_one_process_would() -> None:
    actions = []
    for kind in ("inprocess", "multiprocess"):
        with running(kind, plan(), actor()) as source:
            actions.append([source.collect()[STEPS, "action"].clone() for _ in range(2)])
            assert len(set(source.pids)) == (0 if kind == "inprocess" else 2)
    assert all(torch.equal(*pair) for pair in zip(*actions, strict=True))


def test_workers_differ_from_each_other() -> None:
    with running("inprocess", plan(workers=3), actor()) as source:
        parts = source.collect()[STEPS, "action"].split(ENVS)
    assert not torch.equal(parts[0], parts[1])
    assert not torch.equal(parts[1], parts[2])


def test_collecting_leaves_the_global_generator_alone() -> None:
    with running("inprocess", plan(workers=1), actor()) as source:
        before = torch.get_rng_state()
        source.collect()
        assert torch.equal(before, torch.get_rng_state())


def test_snapshots_continue_exactly_also_elsewhere() -> None:
    policy = actor()
    with running("inprocess", plan(), policy) as source:
        source.collect()
        snapshots = source.snapshots()
        expected = source.collect().clone()
        source.restore(snapshots)
        assert (source.collect()[STEPS] == expected[STEPS]).all()
    with running("inprocess", plan(seed=999), policy) as other:
        other.restore([pack(unpack(each)) for each in snapshots])
        assert torch.equal(other.collect()[STEPS, "action"], expected[STEPS, "action"])


def test_snapshots_hold_nothing_but_tensors() -> None:
    with running("inprocess", plan(workers=1), actor()) as source:
        state = torch.load(io.BytesIO(source.snapshots()[0]), weights_only=True)
    leaves = [value for part in ("environment", "carrier") for value in flatten(state[part])]
    assert leaves
    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves)


def flatten(tree: object) -> list[object]:
    return [leaf for v in tree.values() for leaf in flatten(v)] if isinstance(tree, dict) else [tree]


def test_a_feedforward_policy_has_no_states() -> None:
    policy = actor("feedforward")
    assert recurrent_keys(policy) == []
    with running("inprocess", plan(policy="feedforward"), policy) as source:
        rollout = as_rollout(source.collect())
    assert rollout.shape == (2 * ENVS, LENGTH)
    assert not set(POLICY_STATE) & set(rollout.keys())


def test_simulations_are_numbered_through_all_workers() -> None:
    with running("inprocess", plan(workers=3), actor()) as source:
        rollout = as_rollout(source.collect())
    assert rollout[SIMULATION].shape == rollout.shape
    assert torch.equal(rollout[SIMULATION][:, 0], torch.arange(3 * ENVS))
    assert (rollout[SIMULATION] == rollout[SIMULATION][:, :1]).all()


def test_consecutive_rollouts_are_consecutive_steps() -> None:
    with running("inprocess", plan(workers=1), actor()) as source:
        first, second = (as_rollout(source.collect()) for _ in range(2))
    joined = torch.cat((first, second), 1)
    ended = joined["next", "done"][:, :-1, 0]
    same = joined["next", "privileged", "joint_angles"][:, :-1] == joined["privileged", "joint_angles"][:, 1:]
    assert same[~ended].all()
    assert torch.equal(joined["is_init"][:, 1:, 0], ended)
    assert ended.any()


@pytest.mark.parametrize("kind", ["inprocess", "asynchronous"])
def test_knobs_reach_the_simulations(kind: str) -> None:
    with running(kind, plan(), actor()) as source:
        assert source.board.knobs == {}
        before = as_rollout(source.collect())["goal_distance"].max()
        source.board.turn("goal_angle", 1e-3)
        for _ in range(6):
            rollout = as_rollout(source.collect())
        fresh = rollout["is_init"][..., 0]
        assert fresh.any()
        assert rollout["goal_distance"][fresh].max() < 1e-3 < before


def test_a_missing_knob_is_named() -> None:
    with pytest.raises(KeyError, match=f"unknown knob 'gravity'; choose from {', '.join(KNOBS)}"):
        Board(actor()).turn("gravity", 1.0)


def test_the_board_keeps_version_and_knobs() -> None:
    policy = actor()
    board, other = Board(policy), Board(policy)
    board.turn("randomization_scale", 0.25)
    board.post(policy)
    board.post(policy)
    other.load_state_dict(board.state_dict())
    assert (other.version, other.knobs) == (2, {"randomization_scale": 0.25})
    assert math.isclose(other.knobs["randomization_scale"], 0.25)


def test_nothing_but_memory_and_starts_is_added_to_the_environment() -> None:
    env = make_simulations({"_target_": "tests.toy.ToyEnv", "num_envs": 2}, [0], 0)
    wrapped = recurrent_environment(env, actor())
    added = set(wrapped.observation_spec.keys()) - set(env.observation_spec.keys())
    assert added == {"is_init", *POLICY_STATE}


def test_a_worker_that_ends_before_it_begins_is_a_clear_error() -> None:
    words = plan(workers=1, _target_="tests.collection.test_collectors.hopeless")
    with pytest.raises(CollectionError, match="the workers could not start: no hope"):
        running("multiprocess", words, actor()).__enter__()


def hopeless(num_envs: int, seed: int) -> None:
    raise RuntimeError("no hope\nmore lines")


def test_only_the_states_that_chunks_start_from_are_kept() -> None:
    with running("inprocess", plan(), actor()) as source:
        collected = source.collect()
    chunks = LENGTH // CHUNK
    for key in POLICY_STATE:
        assert collected[STATES, key].shape == (2 * ENVS, chunks, 1, 8)
        assert key not in collected[STEPS].keys()


def test_other_processes_collect_on_the_cpu_only() -> None:
    with pytest.raises(ValueError, match="collect on the CPU, not on cuda"):
        SOURCES["multiprocess"](dataclasses.replace(plan(), device="cuda"), actor())


def test_generators_of_a_device_are_its_own_and_the_cpus() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    assert generator_devices(cpu) == [cpu]
    assert generator_devices(gpu) == [cpu, gpu]
    states = generator_states(cpu)
    torch.rand(3)
    set_generator_states(cpu, states)
    assert torch.equal(torch.get_rng_state(), states[0])


@pytest.mark.gpu
def test_snapshots_continue_exactly_on_a_gpu() -> None:
    policy, on_gpu = actor().cuda(), dataclasses.replace(plan(), device="cuda")
    with running("inprocess", on_gpu, policy) as source:
        assert source.collect().device is None or source.collect().device.type == "cuda"
        snapshots = source.snapshots()
        assert "device_generator" in unpack(snapshots[0])
        expected = source.collect().clone()
        source.restore(snapshots)
        assert torch.equal(source.collect()[STEPS, "action"], expected[STEPS, "action"])
