"""Proximal policy optimisation as a Lightning module (App. A.3, D.1, Table 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.core.optimizer import LightningOptimizer
from tensordict import TensorDict, TensorDictBase, unravel_key
from torch import Tensor
from torchrl.objectives.value import GAE

from dactyl_tl.contract import POLICY, PRIVILEGED, policy_keys, privileged_keys
from dactyl_tl.learning.advantages import standardized
from dactyl_tl.learning.compiled import Losses, check_compilable, compiled, roomy
from dactyl_tl.learning.config import PPOConfig
from dactyl_tl.learning.loss import PPOLoss
from dactyl_tl.learning.rollout import (
    SIMULATION,
    Minibatch,
    evaluate_in_order,
    minibatches,
    shuffled,
    unpacked,
    with_states,
    zero_states,
)
from dactyl_tl.models import IS_INIT, Actor, Critic, inner_starts
from dactyl_tl.models.description import CHECKPOINT_ENTRY, describe
from dactyl_tl.ranks import mean_of_ranks, of_all_ranks, rank, world_size

LEARNED = (POLICY, PRIVILEGED, "action", "action_log_prob", IS_INIT, "advantage", "value_target")
"""What the loss reads of a frame, besides recurrent states."""

LARGEST = ("policy/ratio_max", "policy/first_ratio")
"""Metrics of which the largest of all ranks is logged; of the others the mean."""


class PPOModule(LightningModule):
    """Update a policy and a value network from rollouts; builds no environment.

    A rollout passes through, in this order:

    1. *Values.* The value network runs once over the rollout (:func:`evaluate`), from the state it
       ended the previous rollout in, which this module carries for each simulation. Collection needs
       the policy alone. As with any stored state, the part before this rollout stems from older weights.
    2. *Advantages* by TorchRL's GAE, over episodes of the whole rollout, not over chunks; in each
       minibatch standardised over those of all ranks.
    3. *Value statistics* take in the value targets.
    4. *Updates*: ``epochs`` passes over shuffled minibatches of chunks, gradients through a chunk,
       each chunk from the policy state stored when it was collected.
    5. *Observation statistics* take in the rollout. Last, so that the update sees observations as
       the policy saw them when it acted: the first importance ratios are 1, and the new statistics
       reach collection together with the new weights.

    Everything is logged against ``frames``, environment frames over all ranks; metrics are means over the
    ranks, of the importance ratio the largest. Resuming is exact:
    parameters, statistics and counters are in the state dict, the order of minibatches follows from
    the seed and a counter, and the carried states travel in the checkpoint.

    Args:
        actor: from :func:`dactyl_tl.models.build_actor`.
        critic: from :func:`dactyl_tl.models.build_critic`.
        config: of PPO.
        keep_states: whether checkpoints hold the carried states; simulations that begin new episodes do
            not need them.
    """

    frames: Tensor
    rollouts: Tensor

    def __init__(self, actor: Actor, critic: Critic, config: PPOConfig, *, keep_states: bool = True) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config = config
        self.loss = PPOLoss(actor, critic, config)
        self.gae = GAE(gamma=config.gamma, lmbda=config.gae_lambda, value_network=None)
        self.register_buffer("frames", torch.zeros((), dtype=torch.int64))
        self.register_buffer("rollouts", torch.zeros((), dtype=torch.int64))
        self._keep_states = keep_states
        self._critic_states: TensorDictBase | None = None
        self._compiled: Losses | None = None
        if config.compile:
            check_compilable(actor.config)

    @property
    def actor(self) -> Actor:
        """The policy that is trained."""
        return self.loss.actor_network

    @property
    def critic(self) -> Critic:
        """The value network that is trained."""
        return self.loss.critic_network

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One Adam over both networks (Table 10)."""
        return torch.optim.Adam(
            self.parameters(), lr=self.config.learning_rate, eps=self.config.adam_epsilon, fused=True
        )

    def training_step(self, rollout: TensorDictBase, batch_idx: int = 0) -> None:
        """Learn from a rollout ``[N, T]``, T a multiple of ``config.chunk``.

        The rollout holds ``("policy", ...)``, ``("privileged", ...)``, ``action``,
        ``action_log_prob``, ``is_init``, the policy's recurrent state if it has one (only chunk
        starts are read) and, under ``"next"``, ``("privileged", ...)``, ``reward``, ``done`` and
        ``terminated``; optionally int64 ``simulation``, which simulation a row comes from, needed
        where rows differ from rollout to rollout, as with asynchronous collection. Or it is one as
        collected, with states for each chunk only: see :func:`~dactyl_tl.learning.rollout.unpacked`.

        Raises:
            ValueError: the rollout has the wrong shape, or fewer chunks than there are minibatches.
        """
        rollout, starts = self._checked(rollout)
        scheduled = self._set_schedules()
        chunks, starts, returns = self._prepare(rollout, starts)
        updates = self._update(chunks, starts, self._epochs(chunks))
        self._take_in_observations(rollout)
        self.frames += rollout.numel() * world_size()
        self.rollouts += 1
        self._log(returns | updates, scheduled)

    def _checked(self, rollout: TensorDictBase) -> tuple[TensorDictBase, TensorDictBase]:
        """What is read of the steps ``[N, T]``, and the policy's states before each chunk."""
        rollout, starts = unpacked(rollout, self.actor.state_keys, self.config.chunk)
        num_chunks = rollout.numel() // self.config.chunk
        if num_chunks < self.config.minibatches:
            raise ValueError(
                f"a rollout of {num_chunks} chunks cannot make ppo.minibatches={self.config.minibatches}"
            )
        next_keys = [*privileged_keys(), "reward", "done", "terminated"]
        read = rollout.select(
            *policy_keys(),
            *privileged_keys(),
            "action",
            "action_log_prob",
            IS_INIT,
            *([] if rollout.get(SIMULATION, None) is None else [SIMULATION]),
            *(unravel_key(("next", key)) for key in next_keys),
        )
        return read, starts

    def _prepare(
        self, rollout: TensorDictBase, starts: TensorDictBase
    ) -> tuple[TensorDictBase, TensorDictBase, dict[str, Tensor]]:
        """Chunks ``[B, chunk]``, the states ``[B]`` they start from, and statistics of the returns."""
        chunk = self.config.chunk
        carried, simulations = self._carried_states(rollout)
        valuation = evaluate_in_order(self.critic, rollout, carried, simulations, chunk)

        rollout = rollout.copy()
        rollout["state_value"] = valuation.value
        rollout["next", "state_value"] = valuation.next_value
        self.gae(rollout)
        advantage, target = rollout["advantage"], rollout["value_target"]
        residual = (target - valuation.value).var(correction=0)
        metrics = {
            "advantage/mean": advantage.mean(),
            "advantage/std": advantage.std(correction=0),
            "value/target_mean": target.mean(),
            "value/explained_variance": 1 - residual / target.var(correction=0).clamp(min=1e-8),
        }
        self.critic.value_normalizer.update(target)

        chunks = rollout.select(*LEARNED).reshape(-1, chunk)
        return chunks, starts.copy().update(valuation.chunk_states.flatten(0, 1)), metrics

    def _carried_states(self, rollout: TensorDictBase) -> tuple[TensorDictBase, Sequence[int]]:
        """The value network's states of all simulations so far, and which one each row is of."""
        labels = rollout.get(SIMULATION, None)
        rows = range(len(rollout)) if labels is None else labels.reshape(rollout.shape)[:, 0].tolist()
        needed = max(rows) + 1
        carried = self._critic_states
        if carried is None or len(carried) < needed:
            grown = zero_states(self.critic.state_keys, self.critic.config.lstm, needed, self.device)
            if carried is not None:
                grown[: len(carried)] = carried.to(self.device)
            carried = grown
        self._critic_states = carried = carried.to(self.device)
        return carried, rows

    def _epochs(self, chunks: TensorDictBase) -> list[list[Minibatch]]:
        """The minibatches of every pass over the rollout."""
        done = int(self.rollouts)
        orders = [
            shuffled(self.config.seed, rank(), done, epoch, len(chunks))
            for epoch in range(self.config.epochs)
        ]
        room = roomy if self.config.compile else int
        return minibatches(orders, self.config.minibatches, chunks[IS_INIT], room)

    def _update(
        self, chunks: TensorDictBase, starts: TensorDictBase, epochs: list[list[Minibatch]]
    ) -> dict[str, Tensor]:
        """All passes over the rollout; the mean of each minibatch's metrics, the divergence of the last.

        Nothing in it waits for the device, unless the divergence sets the learning rate.
        """
        optimizer, losses_of = self._optimizer(), self._losses_of()
        advantages = standardized(chunks["advantage"], epochs)
        history: list[dict[str, Tensor]] = []
        for epoch, parts in zip(epochs, advantages, strict=True):
            earlier = len(history)
            for each, advantage in zip(epoch, parts, strict=True):
                minibatch = with_states(chunks[each.chunks], starts[each.chunks])
                minibatch["advantage"] = advantage
                optimizer.zero_grad()
                with inner_starts(each.inner_starts):
                    losses = losses_of(minibatch)
                self.manual_backward(losses.pop("loss"))
                norms = self._clip_gradients()
                optimizer.step()
                history.append(losses | norms)
            kl = torch.stack([one["policy/kl"] for one in history[earlier:]]).mean()
            self._adapt_learning_rate(kl)
        means = {name: torch.stack([each[name] for each in history]).mean() for name in history[0]}
        first = history[0]
        return means | {
            "policy/kl": kl,
            # Before any step: 1 and 0 unless the policy acted with other weights or other states.
            "policy/first_ratio": first["policy/ratio_max"],
            "policy/first_kl": first["policy/kl"],
        }

    def _losses(self, minibatch: TensorDictBase) -> dict[str, Tensor]:
        """The loss of chunks ``[B, T]`` as ``"loss"``, and what is logged of it."""
        losses = self.loss(minibatch)  # in recurrent mode, as TorchRL's losses always run
        return {
            "loss": losses["loss_objective"] + losses["loss_entropy"] + losses["loss_critic"],
            "policy/loss": losses["loss_objective"].detach(),
            "policy/entropy": losses["entropy"],
            "policy/kl": losses["kl_approx"],
            "policy/clip_fraction": losses["clip_fraction"],
            "policy/ratio_max": losses["max_ratio"],
            "value/loss": losses["loss_critic"].detach(),
        }

    def _losses_of(self) -> Losses:
        if not self.config.compile:
            return self._losses
        if self._compiled is None:
            self._compiled = compiled(self._losses, self.device)
        return self._compiled

    def _clip_gradients(self) -> dict[str, Tensor]:
        limit = self.config.max_gradient_norm
        return {
            f"{name}/gradient_norm": torch.nn.utils.clip_grad_norm_(network.parameters(), limit)
            for name, network in (("policy", self.actor), ("value", self.critic))
        }

    def _take_in_observations(self, rollout: TensorDictBase) -> None:
        for network, keys in ((self.actor, policy_keys()), (self.critic, privileged_keys())):
            network.normalizer.update(torch.cat([rollout[key] for key in keys], -1))

    def _optimizer(self) -> LightningOptimizer:
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)  # configure_optimizers returns one
        return optimizer

    def _set_schedules(self) -> dict[str, float]:
        """Put the scheduled values in force for this rollout and name them for the log."""
        frames = int(self.frames)
        entropy_coefficient = self.config.entropy_coefficient_at(frames)
        self.loss.entropy_coeff.fill_(entropy_coefficient)
        self.loss.clip_epsilon.fill_(self.config.clip)
        learning_rate = 0.0
        for group in self._optimizer().optimizer.param_groups:
            group["lr"] = learning_rate = self.config.learning_rate_at(frames, group["lr"])
        return {"learning_rate": learning_rate, "entropy_coefficient": entropy_coefficient}

    def _adapt_learning_rate(self, kl: Tensor) -> None:
        if self.config.learning_rate_schedule != "kl":
            return
        for group in self._optimizer().optimizer.param_groups:
            group["lr"] = self.config.learning_rate_after(float(mean_of_ranks(kl)), group["lr"])

    def _log(self, metrics: dict[str, Tensor], scheduled: dict[str, float]) -> None:
        # Lightning takes a metric called "step" for the x axis of its loggers.
        metrics = metrics | {"frames": self.frames, "step": self.frames}
        # Gathered and read from the device all at once, not one by one in the loggers.
        gathered = of_all_ranks(torch.stack([value.detach().double() for value in metrics.values()]))
        mean, largest = torch.stack([gathered.mean(0), gathered.amax(0)]).cpu()
        read = [
            most if name in LARGEST else one for name, one, most in zip(metrics, mean, largest, strict=True)
        ]
        values = dict(zip(metrics, read, strict=True)) | {
            name: torch.tensor(value) for name, value in scheduled.items()
        }
        self.log_dict(values, on_step=True, on_epoch=False, batch_size=1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what describes the policy, and the carried states of every rank ``[ranks, simulations]``."""
        checkpoint[CHECKPOINT_ENTRY] = describe(self.actor.config)
        if self._critic_states is None or not self._keep_states:
            return
        carried = {key: value.contiguous() for key, value in self._critic_states.items()}
        checkpoint["critic_states"] = {key: of_all_ranks(value).cpu() for key, value in carried.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take this rank's carried states back; afresh where the number of ranks has changed."""
        saved = checkpoint.get("critic_states")
        self._critic_states = None
        if saved is None or any(len(value) != world_size() for value in saved.values()):
            return
        mine = {key: value[rank()] for key, value in saved.items()}
        size = next(iter(mine.values())).shape[:1] if mine else []
        self._critic_states = TensorDict(mine, batch_size=size) if mine else None
