"""Two processes that train together: one set of weights, one set of statistics, all of the data."""

import pytest
import torch
import torch.multiprocessing

from benchmarks.learner import synthetic_rollout
from dactyl_tl.contract import policy_keys
from dactyl_tl.models import VALUE_STATE, NetworkConfig
from tests.learning.runs import fit, make_module

SMALL = NetworkConfig(dense=24, lstm=16)


def rollout_of(rank: int, number: int):
    return synthetic_rollout(4, 20, 16, 0.05, seed=10 * number + rank)


def train_rank(rank: int, port: int, folder: str) -> None:
    """One of two ranks under Lightning's DDP strategy, on rollouts of its own."""
    import os

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2", NODE_RANK="0")
    os.environ.update(LOCAL_RANK=str(rank), RANK=str(rank))
    torch.set_num_threads(1)
    module = make_module(SMALL, epochs=2, minibatches=2, learning_rate=1e-3)
    data = [rollout_of(rank, number) for number in range(2)]
    trainer = fit(module, data, 2, strategy="ddp", devices=2, use_distributed_sampler=False)
    trainer.save_checkpoint(f"{folder}/run.ckpt")
    torch.save(
        {"state": module.state_dict(), "carried": module._critic_states.to_dict()}, f"{folder}/{rank}.pt"
    )


@pytest.mark.timeout(120)
def test_two_ranks_agree_and_see_all_data(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(train_rank, args=(port, str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]

    for name, tensor in ranks[0]["state"].items():
        assert torch.equal(tensor, ranks[1]["state"][name]), name
    assert ranks[0]["state"]["frames"] == 2 * 2 * 4 * 20
    everything = torch.cat(
        [
            torch.cat([rollout_of(rank, number)[key] for key in policy_keys()], -1).flatten(0, 1)
            for rank in range(2)
            for number in range(2)
        ]
    )
    mean = ranks[0]["state"]["loss.actor_network.module.encoder.module.normalizer.mean"]
    torch.testing.assert_close(mean, everything.double().mean(0))

    saved = torch.load(tmp_path / "run.ckpt", weights_only=True)["critic_states"]
    for key in VALUE_STATE:
        assert not torch.equal(ranks[0]["carried"][key], ranks[1]["carried"][key])
        assert torch.equal(saved[key], torch.stack([rank["carried"][key] for rank in ranks]))
