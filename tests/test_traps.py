"""What goes wrong silently in collection with these libraries; each test fails if one falls in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback
from tensordict import TensorDictBase
from torchrl.modules import set_recurrent_mode

from dactyl_tl.collection.collectors import RolloutSource
from dactyl_tl.collection.datamodule import RolloutDataModule
from dactyl_tl.collection.worker import VERSION
from dactyl_tl.contract import NUM_ACTUATORS, STATES, STEPS
from dactyl_tl.learning import PPOModule
from dactyl_tl.models import POLICY_STATE, Actor
from dactyl_tl.training import train
from tests.collection.small import CHUNK, ENVS, actor, as_rollout, plan, running
from tests.compose import TOY, compose


def spoil(policy: torch.nn.Module) -> None:
    """What an optimiser does between two posts: it writes parameters in place."""
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter))


def log_prob(policy: Actor, rollout: TensorDictBase) -> torch.Tensor:
    """Log-probability of the rollout's actions under ``policy``, step by step, [N, T]."""
    with torch.no_grad(), set_recurrent_mode(True):
        chunks = rollout.reshape(-1, CHUNK)
        return policy.get_dist(chunks).log_prob(chunks["action"]).reshape(rollout.shape)


assert_close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)


class TestSharedMemory:
    """Workers given a policy object act on the trainer's memory, in the middle of an update."""

    @pytest.mark.parametrize("kind", ["inprocess", "multiprocess"])
    def test_workers_act_on_what_was_posted(self, kind: str) -> None:
        policy = actor()
        with running(kind, plan(), policy) as source:
            source.board.post(policy)
            source.collect()
            before = source.snapshots()
            untouched = source.collect()[STEPS, "action"].clone()
            source.restore(before)
            spoil(policy)
            assert torch.equal(source.collect()[STEPS, "action"], untouched)
            source.restore(before)
            source.board.post(policy)
            assert not torch.equal(source.collect()[STEPS, "action"], untouched), "weights matter"

    def test_posted_weights_and_statistics_arrive(self) -> None:
        policy = actor("feedforward")
        with running("multiprocess", plan(policy="feedforward"), policy) as source:
            for version in (1, 2):
                spoil(policy)
                policy.normalizer.mean.add_(0.1)
                source.board.post(policy)
                collected = source.collect()
                assert (collected[VERSION] == version).all()
                rollout = as_rollout(collected)
                assert_close(log_prob(policy, rollout), rollout["action_log_prob"])

    def test_asynchronous_rollouts_have_one_version_each(self) -> None:
        policy = actor("feedforward")
        posted = {0: copy.deepcopy(policy)}
        seen = set()
        with running("asynchronous", plan(policy="feedforward"), policy) as source:
            for version in range(1, 9):
                spoil(policy)
                posted[version] = copy.deepcopy(policy)
                source.board.post(policy)
                for collected in source.collect().split(ENVS):
                    (tag,) = collected[VERSION].unique().tolist()
                    seen.add(tag)
                    assert tag <= version
                    rollout = as_rollout(collected)
                    assert_close(log_prob(posted[tag], rollout), rollout["action_log_prob"])
        assert len(seen) > 2, "versions change"


@pytest.fixture(scope="module", params=["inprocess", "multiprocess"])
def source(request: pytest.FixtureRequest) -> Iterator[RolloutSource]:
    with running(request.param, plan(), actor()) as started:
        yield started


class TestRecurrentStates:
    """States that stay zero, or that are not those the policy acted with, raise no error."""

    def test_chunks_start_from_the_state_the_policy_was_in(self, source: RolloutSource) -> None:
        policy = actor()
        carried = None
        for _ in range(3):
            collected = source.collect()
            rollout = as_rollout(collected)
            for index in range(collected.shape[1]):
                chunk = rollout[:, index * CHUNK : (index + 1) * CHUNK]
                begun = chunk["is_init"][:, 0, 0]
                for key in POLICY_STATE:
                    states = collected[STATES, key][:, index]
                    assert torch.equal(states, chunk[key][:, 0])
                    if carried is not None:
                        expected = carried[key].masked_fill(begun[:, None, None], 0.0)
                        assert_close(states, expected)
                        assert states[~begun].abs().sum() > 0
                carried = self.after(policy, chunk)

    @staticmethod
    def after(policy: Actor, chunk: TensorDictBase) -> dict[str, torch.Tensor]:
        """State after the chunk's last step, from the state before its first."""
        now = {key: chunk[key][:, 0] for key in POLICY_STATE}
        for step in range(chunk.shape[1]):
            inputs = chunk[:, step].select("policy", "is_init").update(now)
            with torch.no_grad():
                now = {key: policy(inputs)["next", key] for key in POLICY_STATE}
        return now

    def test_log_probs_follow_from_the_stored_states(self, source: RolloutSource) -> None:
        policy = actor()
        for _ in range(2):
            rollout = as_rollout(source.collect())
            assert_close(log_prob(policy, rollout), rollout["action_log_prob"])

    def test_memory_is_kept_at_chunk_starts_only(self, source: RolloutSource) -> None:
        collected = source.collect()
        stored = {key if isinstance(key, str) else key[-1] for key in collected[STEPS].keys(True, True)}
        assert not stored & set(POLICY_STATE)
        assert collected[STATES].batch_size == collected.batch_size
        later = as_rollout(collected).reshape(-1, CHUNK)[:, 1:]
        assert all((later[key] == 0).all() for key in POLICY_STATE)


def test_one_log_prob_for_all_actuators(source: RolloutSource) -> None:
    """A distribution that is not joint gives one per actuator, and PPO then clips each by itself."""
    rollout = as_rollout(source.collect())
    assert rollout["action"].shape == (*rollout.shape, NUM_ACTUATORS)
    assert rollout["action"].dtype == torch.int64
    assert rollout["action_log_prob"].shape == rollout.shape


class Watch(Callback):
    """Compares the weights that collected a rollout with those that learn from it."""

    def __init__(self) -> None:
        self.ages: list[float] = []
        self.ratios: list[float] = []
        self.gradients: list[float] = []

    def on_train_batch_start(self, trainer, pl_module: PPOModule, batch: TensorDictBase, *args) -> None:
        data: RolloutDataModule = trainer.datamodule
        posted = copy.deepcopy(pl_module.actor)
        data.source.board.read(posted)
        for mine, theirs in zip(pl_module.actor.parameters(), posted.parameters(), strict=True):
            assert torch.equal(mine.cpu(), theirs)
        self.ages.append(data.metrics["collection/weights_age_max"])

    def on_train_batch_end(self, trainer, pl_module: PPOModule, *args) -> None:
        self.ratios.append(float(trainer.callback_metrics.get("policy/first_ratio", float("nan"))))


@pytest.mark.parametrize("collection", ["inprocess", "multiprocess"])
def test_nothing_is_fetched_ahead(tmp_path: Path, collection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a length, Lightning collects the next rollout before it learns from this one."""
    words = ["experiment=smoke", TOY, f"collection={collection}", "collection.workers=1", "frames=256"]
    cfg = compose(tmp_path, words)
    watch = Watch()
    monkeypatch.setattr(
        "dactyl_tl.training.instantiate_all", lambda group, name: [watch] * (name == "callbacks")
    )
    train(cfg)
    assert watch.ages == [0.0] * 4
    assert watch.ratios[1:] == pytest.approx([1.0] * 3, abs=1e-4)


def test_gradients_flow_through_time_on_collected_rollouts() -> None:
    """Outside ``set_recurrent_mode(True)`` the losses are the same and no gradient passes a step."""
    policy = actor()
    with running("inprocess", plan(workers=1), policy) as started:
        rollout = as_rollout(started.collect()).reshape(-1, CHUNK)
    unbroken = rollout[~rollout["is_init"][:, 1:].flatten(1).any(1)]
    inputs = unbroken["policy", "object_position"].clone().requires_grad_()
    chunks = unbroken.clone().set(("policy", "object_position"), inputs)
    with set_recurrent_mode(True):
        dist = policy.get_dist(chunks)
    dist.log_prob(chunks["action"])[:, -1].sum().backward()
    assert inputs.grad is not None
    assert (inputs.grad[:, 0].abs().sum(-1) > 0).all(), "the first observation acts on the last decision"
