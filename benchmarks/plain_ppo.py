"""The PPO update of ``dactyl_tl.learning`` written plainly in PyTorch, with ``nn.LSTM`` and nothing else.

It is the yardstick of ``benchmarks.learner`` and the oracle of a test: from the same weights, rollout
and order of minibatches, both must arrive at the same weights. Only recurrent networks are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = tuple[Tensor, Tensor]


@dataclass
class Rollout:
    """Tensors of a rollout of N simulations and T steps.

    Attributes:
        policy: inputs of the policy ``[N, T, P]``.
        value: inputs of the value network ``[N, T, V]``.
        next_value: inputs of the value network after each step ``[N, T, V]``.
        action: ``[N, T, actuators]``.
        log_prob: ``[N, T]``.
        reward: ``[N, T]``.
        start: first step of an episode ``[N, T]``.
        done, terminated: ``[N, T]``.
        chunk_state: policy state before each chunk, two of ``[N, T / chunk, units]``.
    """

    policy: Tensor
    value: Tensor
    next_value: Tensor
    action: Tensor
    log_prob: Tensor
    reward: Tensor
    start: Tensor
    done: Tensor
    terminated: Tensor
    chunk_state: State


class Statistics:
    """Running mean and variance, float64."""

    def __init__(self, size: int) -> None:
        self.count, self.mean, self.m2 = 0, torch.zeros(size).double(), torch.zeros(size).double()

    def update(self, data: Tensor) -> None:
        data = data.flatten(0, -2).double()
        count, mean = len(data), data.mean(0)
        total, delta = self.count + count, mean - self.mean
        self.mean = self.mean + delta * count / total
        self.m2 = self.m2 + (data - mean).square().sum(0) + delta.square() * self.count * count / total
        self.count = total

    def scale(self) -> tuple[Tensor, Tensor]:
        variance = self.m2 / self.count if self.count else torch.ones_like(self.m2)
        return self.mean.float(), (variance + 1e-8).sqrt().float()


class Network(nn.Module):
    """Normalise, dense, LSTM, linear."""

    def __init__(self, inputs: int, dense: int, units: int, outputs: int) -> None:
        super().__init__()
        self.statistics = Statistics(inputs)
        self.dense = nn.Linear(inputs, dense)
        self.lstm = nn.LSTM(dense, units, batch_first=True)
        self.head = nn.Linear(units, outputs)

    def encode(self, inputs: Tensor) -> Tensor:
        mean, std = self.statistics.scale()
        return F.relu(self.dense(((inputs - mean) / std).clamp(-5, 5)))

    def step(self, encoded: Tensor, state: State, start: Tensor) -> tuple[Tensor, State]:
        """One step ``[N, dense]``; the state is forgotten where an episode starts."""
        keep = (~start).float().unsqueeze(-1)
        output, (h, c) = self.lstm(encoded.unsqueeze(1), ((state[0] * keep)[None], (state[1] * keep)[None]))
        return self.head(output[:, 0]), (h[0], c[0])

    def forward(self, inputs: Tensor, state: State, start: Tensor) -> Tensor:
        """Sequences ``[B, T, inputs]``; runs without an episode's start in any sequence go in one call."""
        encoded = self.encode(inputs)
        cuts = [0, *(t for t in range(1, inputs.shape[1]) if bool(start[:, t].any())), inputs.shape[1]]
        outputs = []
        for first, last in pairwise(cuts):
            keep = (~start[:, first]).float().unsqueeze(-1)
            memory = ((state[0] * keep)[None], (state[1] * keep)[None])
            output, (h, c) = self.lstm(encoded[:, first:last], memory)
            state = (h[0], c[0])
            outputs.append(output)
        return self.head(torch.cat(outputs, 1))


class PlainPPO:
    """Two networks, one Adam, one method."""

    def __init__(
        self,
        policy: Network,
        value: Network,
        *,
        bins: int,
        minibatches: int,
        chunk: int = 10,
        gamma: float = 0.998,
        gae_lambda: float = 0.95,
        clip: float = 0.2,
        entropy_coefficient: float = 0.01,
        learning_rate: float = 3e-4,
        max_gradient_norm: float = 1.0,
    ) -> None:
        self.policy, self.value, self.bins, self.chunk, self.minibatches = (
            policy,
            value,
            bins,
            chunk,
            minibatches,
        )
        self.gamma, self.gae_lambda, self.clip = gamma, gae_lambda, clip
        self.entropy_coefficient, self.max_gradient_norm = entropy_coefficient, max_gradient_norm
        self.targets = Statistics(1)
        self.carried: State | None = None
        parameters = [*policy.parameters(), *value.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=learning_rate, eps=1e-5, fused=True)

    @torch.no_grad()
    def evaluate(self, rollout: Rollout) -> tuple[Tensor, Tensor, State]:
        """Values and next values ``[N, T]`` in units of reward, and the state before each chunk."""
        n, steps = rollout.reward.shape
        units = self.value.lstm.hidden_size
        state = self.carried or (torch.zeros(n, units), torch.zeros(n, units))
        encoded = self.value.encode(rollout.value)
        no_start = torch.zeros(n, dtype=torch.bool)
        values, starts = [], []
        following = torch.zeros(n, steps)
        for t in range(steps):
            if t % self.chunk == 0:
                starts.append(state)
            value, state = self.value.step(encoded[:, t], state, rollout.start[:, t])
            values.append(value[:, 0])
            last = rollout.done[:, t] if t < steps - 1 else torch.ones(n, dtype=torch.bool)
            rows = last & ~rollout.terminated[:, t]
            if rows.any():
                ended = self.value.encode(rollout.next_value[rows, t])
                memory = (state[0][rows], state[1][rows])
                following[rows, t] = self.value.step(ended, memory, no_start[rows])[0][:, 0]
        self.carried = state
        mean, std = self.targets.scale()
        value = torch.stack(values, 1) * std + mean
        bootstrapped = rollout.done.clone()
        bootstrapped[:, -1] = True
        following = torch.where(rollout.terminated, 0.0, following * std + mean)
        following[:, :-1] = torch.where(bootstrapped[:, :-1], following[:, :-1], value[:, 1:])
        h, c = (torch.stack(each, 1) for each in zip(*starts, strict=True))
        return value, following, (h, c)

    def update(self, rollout: Rollout, epochs: list[Tensor]) -> None:
        """One pass for each order of the chunks in ``epochs``."""
        n, steps = rollout.reward.shape
        value, following, value_states = self.evaluate(rollout)
        error = rollout.reward + self.gamma * following * ~rollout.terminated - value
        advantage, running = torch.empty_like(error), torch.zeros(n)
        for t in reversed(range(steps)):
            running = error[:, t] + self.gamma * self.gae_lambda * running * ~rollout.done[:, t]
            advantage[:, t] = running
        target = advantage + value
        self.targets.update(target.unsqueeze(-1))
        mean, std = self.targets.scale()
        target = (target - mean) / std

        def cut(data: Tensor) -> Tensor:
            return data.reshape(-1, self.chunk, *data.shape[2:])

        observed, privileged, action = cut(rollout.policy), cut(rollout.value), cut(rollout.action)
        log_prob, advantage, target = cut(rollout.log_prob), cut(advantage), cut(target)
        start = cut(rollout.start)
        states = [each.flatten(0, 1) for each in (*rollout.chunk_state, *value_states)]
        for order in epochs:
            for index in order.tensor_split(self.minibatches):
                h, c, value_h, value_c = (each[index] for each in states)
                logits = self.policy(observed[index], (h, c), start[index]).unflatten(-1, (-1, self.bins))
                log_probs = logits.log_softmax(-1)
                taken = log_probs.gather(-1, action[index].unsqueeze(-1)).squeeze(-1).sum(-1)
                ratio = (taken - log_prob[index]).exp()
                gain = advantage[index]
                gain = (gain - gain.mean()) / gain.std().clamp(min=1e-6)
                clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
                objective = torch.minimum(ratio * gain, clipped * gain).mean()
                entropy = -(log_probs.exp() * log_probs).sum((-2, -1)).mean()
                predicted = self.value(privileged[index], (value_h, value_c), start[index]).squeeze(-1)
                value_loss = F.mse_loss(predicted, target[index])
                loss = value_loss - objective - self.entropy_coefficient * entropy
                self.optimizer.zero_grad()
                loss.backward()
                for network in (self.policy, self.value):
                    nn.utils.clip_grad_norm_(network.parameters(), self.max_gradient_norm)
                self.optimizer.step()
        self.policy.statistics.update(rollout.policy)
        self.value.statistics.update(rollout.value)
