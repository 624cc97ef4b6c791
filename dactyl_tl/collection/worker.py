"""TorchRL's collector with what one batch of simulations needs to be stopped, moved and continued.

A worker takes weights from the board between rollouts, keeps recurrent states only where a chunk
starts, samples actions from generator states of its own, and can hand out and take back
everything that decides its future.
"""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor
from torchrl.collectors import Collector
from torchrl.envs import Compose, EnvBase, InitTracker, TransformedEnv
from torchrl.modules.utils import get_primers_from_module

from dactyl_tl.collection.board import Board
from dactyl_tl.contract import POLICY, SIMULATION, STATES, STEPS
from dactyl_tl.processes import die_with_parent

VERSION = "version"
"""Entry of what a worker collects besides those of the contract: for each chunk [N, chunks], the version of
the weights that acted."""


def recurrent_environment(env: EnvBase, policy: TensorDictModuleBase) -> EnvBase:
    """Add ``is_init`` and zero recurrent states at every reset; nothing else is transformed."""
    transforms = [InitTracker()]
    if recurrent_keys(policy):
        transforms.append(get_primers_from_module(policy, warn=False))
    return TransformedEnv(env, Compose(*transforms))


def recurrent_keys(policy: TensorDictModuleBase) -> list[str]:
    """Keys of the recurrent states that ``policy`` reads and writes, sorted."""
    keys = set()
    for module in policy.modules():
        if hasattr(module, "make_tensordict_primer"):
            keys.update(module.make_tensordict_primer().primers.keys(True, True))
    return sorted(keys)


class RolloutCollector(Collector):
    """One batch of N simulations, stepped by the posted policy for ``steps`` steps a rollout.

    Yields a TensorDict [N, chunks] with :data:`STEPS`, :data:`STATES` and :data:`VERSION`.

    Args:
        create_env_fn: makes the environment of the worker's number.
        policy_factory: makes the acting networks; their weights come from ``board``.
        board: where weights and knobs are posted.
        seed: of the actions' generator.
        steps: of a rollout, a multiple of ``chunk``.
        chunk: steps between two recurrent states that are kept.
        worker_idx: number of this worker, which decides its seeds.
        slot: its place among the workers, which numbers its simulations; its number by default.
        device: where the policy acts and rollouts are kept; "cpu" or a CUDA device.
    """

    def __init__(
        self,
        create_env_fn: Callable[[int], EnvBase],
        *,
        policy_factory: Callable[[], TensorDictModuleBase],
        board: Board,
        seed: int,
        steps: int,
        chunk: int,
        worker_idx: int = 0,
        slot: int | None = None,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        self._board, self._chunks, self._chunk = board, steps // chunk, chunk
        self._slot = worker_idx if slot is None else slot
        self._device = torch.device(device)
        self._output: TensorDictBase | None = None
        self.weights_version = -1
        self._generators = [
            torch.Generator(each).manual_seed(seed + worker_idx).get_state()
            for each in generator_devices(self._device)
        ]
        with self._own_generators():
            policy = policy_factory().to(self._device)
            env = recurrent_environment(create_env_fn(worker_idx), policy)
            options["frames_per_batch"] = env.batch_size.numel() * chunk
            options["auto_register_policy_transforms"] = False  # just done, explicitly
            if self._device.type != "cpu":
                # The simulations may stay where they are; TorchRL moves what differs.
                options |= {"policy_device": self._device, "storing_device": self._device}
            super().__init__(env, policy_factory=lambda: policy, worker_idx=worker_idx, **options)
        self._states = recurrent_keys(policy)
        # Not stored: states after the first step of a chunk, and what only acting needs of the next step.
        self._dropped = [
            *self._states,
            *(("next", key) for key in self._states),
            ("next", POLICY),
            ("next", "is_init"),
            "collector",
        ]
        self._applied: dict[str, float] = {}
        self._ended = time.perf_counter()

    @contextmanager
    def _own_generators(self) -> Iterator[None]:
        """Let torch's global generators be this worker's, and give them back as they were."""
        before = generator_states(self._device)
        set_generator_states(self._device, self._generators)
        try:
            yield
        finally:
            self._generators = generator_states(self._device)
            set_generator_states(self._device, before)

    def rollout(self) -> TensorDictBase:
        """Take weights and knobs from the board, then step ``chunks`` chunks."""
        began = time.perf_counter()
        self.weights_version = self._board.read(self.policy)
        for name, value in self._board.knobs.items():
            if self._applied.get(name) != value:
                setattr(self.env.base_env, name, value)
                self._applied[name] = value
        with self._own_generators():
            for index in range(self._chunks):
                self._keep(index, super().rollout())
        self.env.base_env.check()
        assert self._output is not None
        ended = time.perf_counter()
        self._board.complete(self._slot, ended - began, began - self._ended)
        self._ended = ended
        return self._output

    def _keep(self, index: int, chunk: TensorDictBase) -> None:
        """Write chunk number ``index`` [N, T] into the output; of recurrent states only the first."""
        states = chunk.select(*self._states)[:, 0]
        steps = chunk.exclude(*self._dropped)
        traj_ids = chunk["collector", "traj_ids"][:, 0]
        if self._output is None:
            n, chunks = chunk.shape[0], self._chunks
            simulations = self._slot * n + torch.arange(n, device=self._device)
            self._output = TensorDict(
                {
                    STEPS: steps.unsqueeze(1).expand(n, chunks, chunk.shape[1]).clone(),
                    STATES: states.unsqueeze(1).expand(n, chunks).clone(),
                    VERSION: torch.zeros(n, chunks, dtype=torch.int64, device=self._device),
                    SIMULATION: simulations.unsqueeze(1).expand(n, chunks).clone(),
                    ("collector", "traj_ids"): traj_ids.unsqueeze(1).expand(n, chunks).clone(),
                },
                [n, chunks],
            )
        part = self._output[:, index]
        part[STEPS].update_(steps)
        part[STATES].update_(states)
        part[VERSION].fill_(self.weights_version)
        part["collector", "traj_ids"].copy_(traj_ids)

    def snapshot(self) -> bytes:
        """Everything that decides the worker's future, tensors only, as ``torch.save`` writes it."""
        buffer = io.BytesIO()
        state = {
            "environment": dict(self.env.base_env.state_dict()),
            "carrier": self._carrier.exclude("collector").clone().to_dict(),  # without trajectory numbers
            "generator": self._generators[0],
        }
        if len(self._generators) > 1:
            state["device_generator"] = self._generators[1]
        torch.save(state, buffer)
        return buffer.getvalue()

    def restore(self, snapshot: bytes) -> None:
        """Continue from a :meth:`snapshot` of a worker with the same configuration.

        The environment gets its state in the host's memory, wherever its simulations are.
        """
        state = torch.load(io.BytesIO(snapshot), map_location="cpu", weights_only=True)
        self.env.base_env.load_state_dict(state["environment"])
        carried = TensorDict.from_dict(state["carrier"], batch_size=self._carrier.batch_size)
        self._carrier.update(carried.to(self._carrier.device or self.env.device))
        self._generators[0] = state["generator"]
        # Absent where the run was collected on the CPU so far: actions then go on from the seed.
        if len(self._generators) > 1 and "device_generator" in state:
            self._generators[1] = state["device_generator"]


def generator_devices(device: torch.device) -> list[torch.device]:
    """Whose global generators acting on ``device`` draws from: the CPU's and, if it is another, its own."""
    cpu = torch.device("cpu")
    return [cpu] if device.type == "cpu" else [cpu, device]


def generator_states(device: torch.device) -> list[Tensor]:
    """States of :func:`generator_devices`' generators, uint8 in the host's memory."""
    devices = generator_devices(device)
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(each) for each in devices[1:])]


def set_generator_states(device: torch.device, states: list[Tensor]) -> None:
    """Inverse of :func:`generator_states`."""
    torch.set_rng_state(states[0])
    for each, state in zip(generator_devices(device)[1:], states[1:], strict=True):
        torch.cuda.set_rng_state(state, each)


def follow_parent(with_group: bool = False) -> None:
    """End this process as soon as the one that started it has ended, however it ended.

    Args:
        with_group: and whatever else is in its process group, of which it is the leader.
    """
    parent = parent_process()
    if parent is None or parent.pid is None:
        return
    # Where this process is stopped it runs no thread: it is killed, or wakes up to kill its group.
    die_with_parent(parent.pid, signal.SIGCONT if with_group else signal.SIGKILL)

    def wait() -> None:
        parent.join()
        if with_group:
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, name="follow-parent", daemon=True).start()
