"""``python -m benchmarks.learner``: the PPO update against the same update in plain PyTorch.

One process runs both in turn, on the same rollouts, at Table 10's network sizes; each repetition
measures one of either, so a busy machine slows both. Two more processes run one of them each, for
their peak memory. The plain update is ``benchmarks.plain_ppo``; ``tests/learning/test_plain.py`` shows
that the two compute the same. With ``--step`` it times the step of every LSTM backend against its floors
instead (``benchmarks.step``).
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from tensordict import TensorDict, TensorDictBase
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.plain_ppo import Network, PlainPPO, Rollout
from benchmarks.report import environment, heading, spread, table, write_json
from dactyl_tl.contract import NUM_ACTUATORS, NUM_BINS, OBSERVATION_SIZES, policy_keys, privileged_keys
from dactyl_tl.learning import PPOConfig, PPOModule
from dactyl_tl.learning.rollout import shuffled
from dactyl_tl.models import POLICY_STATE, Actor, Critic, NetworkConfig, build_actor, build_critic

CHUNK = 10
COLUMNS = ("transitions per second", "plain", "PPOModule", "ratio", "ratio in CPU time")
TARGET = 0.95
"""Share of the plain update's speed that is aimed at."""


def synthetic_rollout(num_envs: int, steps: int, units: int, reset_rate: float, seed: int) -> TensorDict:
    """A rollout ``[N, T]`` of noise with episodes that end at random, half of them truncated.

    Args:
        num_envs: simulations N.
        steps: length T.
        units: of the policy's recurrent state.
        reset_rate: probability that an episode ends at a step.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (num_envs, steps)

    def noise(*size: int) -> torch.Tensor:
        return torch.randn(*shape, *size, generator=generator)

    done = torch.rand(*shape, 1, generator=generator) < reset_rate
    terminated = done & (torch.rand(*shape, 1, generator=generator) < 0.5)
    start = torch.cat([torch.zeros(num_envs, 1, 1, dtype=torch.bool), done[:, :-1]], 1)
    entries: dict[Any, torch.Tensor] = {
        **{key: noise(OBSERVATION_SIZES[key[-1]]) for key in policy_keys() + privileged_keys()},
        **{("next", *key): noise(OBSERVATION_SIZES[key[-1]]) for key in privileged_keys()},
        **{key: 0.1 * noise(1, units) for key in POLICY_STATE},
        "action": torch.randint(0, NUM_BINS, (*shape, NUM_ACTUATORS), generator=generator),
        "action_log_prob": -47.9 + 0.1 * noise(),
        "is_init": start,
        ("next", "reward"): noise(1),
        ("next", "done"): done,
        ("next", "terminated"): terminated,
    }
    rollout = TensorDict(entries, batch_size=shape)
    for key in POLICY_STATE:
        rollout[key] = rollout[key] * ~start.unsqueeze(-1)
    return rollout


def plain_rollout(rollout: TensorDictBase) -> Rollout:
    """The same rollout as the plain update takes it."""
    h, c = (rollout[key][:, ::CHUNK, 0] for key in POLICY_STATE)
    after = rollout["next"]
    return Rollout(
        policy=torch.cat([rollout[key] for key in policy_keys()], -1),
        value=torch.cat([rollout[key] for key in privileged_keys()], -1),
        next_value=torch.cat([after[key] for key in privileged_keys()], -1),
        action=rollout["action"],
        log_prob=rollout["action_log_prob"],
        reward=after["reward"][..., 0],
        start=rollout["is_init"][..., 0],
        done=after["done"][..., 0],
        terminated=after["terminated"][..., 0],
        chunk_state=(h, c),
    )


def plain_copy(module: PPOModule) -> PlainPPO:
    """The plain learner with the weights and settings of ``module``."""

    def copy(source: Actor | Critic, outputs: int) -> Network:
        encoder, head = source.module.encoder.module, source.module.head.module
        config = source.config
        network = Network(encoder.dense.in_features, config.dense, config.lstm, outputs)
        pairs: list[tuple[nn.Module, nn.Module]] = [
            (network.dense, encoder.dense),
            (network.lstm, source.module.memory.lstm),
            (network.head, head),
        ]
        for mine, theirs in pairs:
            own = mine.state_dict()
            mine.load_state_dict({name: theirs.state_dict()[name].clone() for name in own})
        return network

    config = module.config
    return PlainPPO(
        copy(module.actor, NUM_ACTUATORS * NUM_BINS),
        copy(module.critic, 1),
        bins=NUM_BINS,
        minibatches=config.minibatches,
        chunk=config.chunk,
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
        clip=config.clip,
        entropy_coefficient=config.entropy_coefficient,
        learning_rate=config.learning_rate,
        max_gradient_norm=config.max_gradient_norm,
    )


def plain_orders(module: PPOModule, num_chunks: int) -> list[torch.Tensor]:
    """The orders in which ``module`` will visit the chunks of its next rollout."""
    config = module.config
    done = int(module.rollouts)
    return [shuffled(config.seed, 0, done, epoch, num_chunks) for epoch in range(config.epochs)]


def trainer(callbacks: list[Callback], device: str = "cpu", precision: str = "32-true") -> Trainer:
    """Lightning's trainer with nothing around the updates."""
    return Trainer(
        accelerator="gpu" if device == "cuda" else device,
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        max_epochs=1,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _Stopwatch(Callback):
    """Wall-clock and CPU seconds of each training step."""

    def __init__(self) -> None:
        self.laps: list[tuple[float, float]] = []

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, index: int) -> None:
        self._start = _clocks()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        self.laps.append(_since(self._start))


class _Alternating(IterableDataset[TensorDictBase]):
    """Yields rollouts to the module, and before each runs the plain update on it."""

    def __init__(
        self, module: PPOModule, plain: PlainPPO | None, rollout: TensorDictBase, count: int
    ) -> None:
        self.module, self.plain, self.rollout, self.count = module, plain, rollout, count
        self.laps: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[TensorDictBase]:
        flat = plain_rollout(self.rollout)
        for _ in range(self.count):
            if self.plain is not None:
                orders = plain_orders(self.module, self.rollout.numel() // CHUNK)
                start = _clocks()
                self.plain.update(flat, orders)
                self.laps.append(_since(start))
            yield self.rollout


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(start: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = _clocks()
    return wall - start[0], cpu - start[1]


def fit(
    module: PPOModule,
    data: IterableDataset[TensorDictBase],
    callbacks: list[Callback],
    device: str = "cpu",
    precision: str = "32-true",
) -> None:
    """Train ``module`` on every rollout of ``data``, once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about data loaders that do not apply
        trainer(callbacks, device, precision).fit(
            module, DataLoader(data, batch_size=None, collate_fn=lambda batch: batch)
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learner", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=8, help="updates of each kind (default 8)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch threads (default 1 2)")
    parser.add_argument("--envs", type=int, default=128, help="simulations in a rollout (default 128)")
    parser.add_argument("--steps", type=int, default=40, help="steps of a rollout (default 40)")
    parser.add_argument("--minibatches", type=int, default=2, help="minibatches of an epoch (default 2)")
    parser.add_argument("--dense", type=int, default=1024, help="units of the dense layer (Table 10: 1024)")
    parser.add_argument("--lstm", type=int, default=512, help="units of the LSTM (Table 10: 512)")
    parser.add_argument("--reset-rate", type=float, default=0.01, help="episode ends per step (default 0.01)")
    parser.add_argument("--epochs", type=int, default=1, help="with --step: passes (default 1)")
    parser.add_argument("--step", action="store_true", help="time every backend against the floors")
    parser.add_argument("--profile", action="store_true", help="print where the time of a step goes")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="with --step (default cpu)")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=("32-true", "bf16-mixed"),
        default=["32-true", "bf16-mixed"],
        help="with --step (default both)",
    )
    parser.add_argument("--output", help="write the measurements to this JSON file")
    parser.add_argument("--only", choices=("plain", "module"), help=argparse.SUPPRESS)
    return parser.parse_args()


def learner(
    options: argparse.Namespace, epochs: int = 1, backend: str = "auto", compile: bool = False
) -> PPOModule:
    """A learner with fresh networks of the sizes asked for."""
    torch.manual_seed(0)
    network = NetworkConfig(options.dense, options.lstm, backend=backend)
    config = PPOConfig(chunk=CHUNK, epochs=epochs, minibatches=options.minibatches, compile=compile)
    return PPOModule(build_actor(network), build_critic(network), config)


def _learners(options: argparse.Namespace) -> tuple[PPOModule, TensorDict]:
    module = learner(options)
    return module, synthetic_rollout(options.envs, options.steps, options.lstm, options.reset_rate, seed=0)


def _measure_memory(options: argparse.Namespace) -> None:
    """In a process of its own: two updates of one kind, then the peak memory in MiB as JSON."""
    module, rollout = _learners(options)
    if options.only == "plain":
        plain, flat = plain_copy(module), plain_rollout(rollout)
        del module
        for _ in range(2):
            plain.update(flat, [torch.randperm(rollout.numel() // CHUNK)])
    else:
        fit(module, _Alternating(module, None, rollout, 2), [])
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def _peak_memory(kind: str, options: argparse.Namespace) -> float:
    names = ("envs", "steps", "minibatches", "dense", "lstm")
    sizes = [part for name in names for part in (f"--{name}", str(getattr(options, name)))]
    command = [sys.executable, "-m", "benchmarks.learner", "--only", kind, *sizes]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(output.splitlines()[-1]))


def _compare(options: argparse.Namespace, threads: int, reset_rate: float) -> dict[str, Any]:
    torch.set_num_threads(threads)
    module, _ = _learners(options)
    rollout = synthetic_rollout(options.envs, options.steps, options.lstm, reset_rate, seed=0)
    stopwatch = _Stopwatch()
    data = _Alternating(module, plain_copy(module), rollout, options.repetitions + 1)
    fit(module, data, [stopwatch])
    # The first of each warms up: memory pools, oneDNN's kernels.
    laps = {"plain": data.laps[1:], "module": stopwatch.laps[1:]}
    rates = {kind: [rollout.numel() / wall for wall, _ in each] for kind, each in laps.items()}
    pairs = list(zip(laps["plain"], laps["module"], strict=True))
    return {
        "threads": threads,
        "reset_rate": reset_rate,
        "transitions_per_second": rates,
        "cpu_seconds": {kind: [cpu for _, cpu in each] for kind, each in laps.items()},
        "ratio": [plain[0] / mine[0] for plain, mine in pairs],
        "cpu_ratio": [plain[1] / mine[1] for plain, mine in pairs],
    }


def main() -> None:
    """Measure and print."""
    options = _arguments()
    if options.only:
        _measure_memory(options)
        return
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    if options.step or options.profile:
        from benchmarks import step  # which stands on this module

        if options.step:
            step.print_step(options)
        if options.profile:
            step.print_profile(options)
        return
    facts = environment(["torch", "torchrl", "tensordict", "pytorch-lightning"])
    memory = {kind: _peak_memory(kind, options) for kind in ("plain", "module")}
    cases = [(threads, rate) for threads in options.threads for rate in (0.0, options.reset_rate)]
    results = [_compare(options, *case) for case in cases]

    print(heading(facts))
    print(
        f"\nOne epoch over {options.envs} x {options.steps} transitions in {options.minibatches} minibatches"
        f" of chunks of {CHUNK};\ndense {options.dense}, LSTM {options.lstm}, two networks;"
        f" {options.repetitions} repetitions; median ± half the interquartile range\n"
    )
    print(table(COLUMNS, [_row(each) for each in results]))
    print(
        f"\nTarget: a ratio of at least {TARGET}. Peak memory: plain {memory['plain']:.0f} MiB,"
        f" PPOModule {memory['module']:.0f} MiB."
    )
    if options.output:
        write_json(options.output, {"environment": facts, "memory_mib": memory, "results": results})


def _row(result: dict[str, Any]) -> list[str]:
    rates = [spread(result["transitions_per_second"][kind]) for kind in ("plain", "module")]
    ratios = [spread(result[name]) for name in ("ratio", "cpu_ratio")]
    return [
        f"{result['threads']} threads, {100 * result['reset_rate']:g} % of steps end an episode",
        *(f"{middle:.0f} ± {width:.0f}" for middle, width in rates),
        *(f"{middle:.2f} ± {width:.2f}" for middle, width in ratios),
    ]


if __name__ == "__main__":
    main()
