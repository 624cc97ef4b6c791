"""Settings of PPO, their defaults (Table 10) and their limits."""

from __future__ import annotations

from dataclasses import dataclass

SCHEDULES = ("constant", "linear", "kl")


@dataclass(frozen=True)
class PPOConfig:
    """What the learner does with a rollout. Defaults are Table 10's; the paper is silent on the rest.

    Args:
        gamma: discount factor.
        gae_lambda: of generalised advantage estimation.
        clip: the importance ratio is clipped to ``1 - clip .. 1 + clip``.
        entropy_coefficient: weight of the entropy, which is summed over the actuators (20 ln 11 at
            most). The paper's 0.01 goes with batches of 800k: small runs stay uniform even at 0.003.
        entropy_coefficient_final: reached linearly after ``anneal_frames``; ``None`` keeps the first.
        entropy_target: the bonus acts only while a minibatch's mean entropy, in nats, is below this;
            ``None`` lets it act always. Each rank looks at its own part of the minibatch.
        learning_rate: of Adam, at the start.
        learning_rate_schedule: ``"constant"``; ``"linear"``: to zero after ``anneal_frames``;
            ``"kl"``: after each epoch, divided by 1.5 where the mean divergence of the new policy from
            the old one is above twice ``kl_target``, multiplied where it is below half of it.
        kl_target: nats, for the ``"kl"`` schedule.
        learning_rate_range: limits of the ``"kl"`` schedule.
        anneal_frames: environment frames that the linear schedules take; of a training whose ``frames`` are
            limited, those by default.
        adam_epsilon: added to Adam's denominator.
        chunk: frames through which gradients flow; a rollout's length is a multiple of it.
        epochs: passes over a rollout.
        minibatches: parts a pass over a rank's rollout is split into; ranks learn from theirs together.
            Table 10 makes 60 updates a step from 800k transitions, 25.6k each: two passes of thirty.
        max_gradient_norm: limit of the gradient norm of each network by itself.
        seed: of the order of the minibatches.
        compile: let ``torch.compile`` translate the loss and its gradients, on a GPU into CUDA graphs;
            takes a minute at the start, and torch 2.13.

    Raises:
        ValueError: a value is outside its limits or a choice is unknown.
    """

    gamma: float = 0.998
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy_coefficient: float = 0.01
    entropy_coefficient_final: float | None = None
    entropy_target: float | None = None
    learning_rate: float = 3e-4
    learning_rate_schedule: str = "constant"
    kl_target: float = 0.01
    learning_rate_range: tuple[float, float] = (1e-5, 1e-2)
    anneal_frames: int | None = None
    adam_epsilon: float = 1e-5
    chunk: int = 10
    epochs: int = 2
    minibatches: int = 30
    max_gradient_norm: float = 1.0
    seed: int = 0
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("gamma", "gae_lambda"):
            self._check(name, 0 <= getattr(self, name) <= 1, "between 0 and 1")
        for name in ("clip", "learning_rate", "kl_target", "adam_epsilon", "max_gradient_norm"):
            self._check(name, getattr(self, name) > 0, "above 0")
        for name in ("entropy_coefficient", "entropy_coefficient_final", "entropy_target"):
            value = getattr(self, name)
            self._check(name, value is None or value >= 0, "at least 0")
        for name in ("chunk", "epochs", "minibatches"):
            value = getattr(self, name)
            self._check(name, isinstance(value, int) and value >= 1, "a whole number of at least 1")
        if self.learning_rate_schedule not in SCHEDULES:
            raise ValueError(
                f"ppo.learning_rate_schedule is {self.learning_rate_schedule!r}; "
                f"choose from {', '.join(SCHEDULES)}"
            )
        low, high = self.learning_rate_range
        self._check("learning_rate_range", 0 < low <= high, "two rates above 0, the lower one first")
        annealed = self.entropy_coefficient_final is not None or self.learning_rate_schedule == "linear"
        frames = self.anneal_frames
        self._check("anneal_frames", frames is None or frames >= 1, "at least 1")
        if annealed:
            self._check("anneal_frames", frames is not None, "set, or frames, where a schedule is linear")

    def _check(self, name: str, valid: bool, limit: str) -> None:
        if not valid:
            raise ValueError(f"ppo.{name} is {getattr(self, name)!r}; it must be {limit}")

    def entropy_coefficient_at(self, frames: int) -> float:
        """Entropy coefficient after ``frames`` environment frames."""
        if self.entropy_coefficient_final is None:
            return self.entropy_coefficient
        share = self._annealed(frames)
        return self.entropy_coefficient + share * (self.entropy_coefficient_final - self.entropy_coefficient)

    def learning_rate_at(self, frames: int, current: float) -> float:
        """Learning rate after ``frames`` environment frames; ``current`` where divergence sets it."""
        if self.learning_rate_schedule == "kl":
            return current
        if self.learning_rate_schedule == "linear":
            return self.learning_rate * (1 - self._annealed(frames))
        return self.learning_rate

    def learning_rate_after(self, kl: float, current: float) -> float:
        """Learning rate after an epoch whose mean divergence was ``kl`` nats."""
        low, high = self.learning_rate_range
        if self.learning_rate_schedule != "kl":
            return current
        if kl > 2 * self.kl_target:
            return max(current / 1.5, low)
        if kl < self.kl_target / 2:
            return min(current * 1.5, high)
        return current

    def _annealed(self, frames: int) -> float:
        assert self.anneal_frames is not None
        return min(frames / self.anneal_frames, 1.0)
