"""The action distribution: one categorical per actuator, one log-probability per action."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical, Independent


class MultiCategorical(Independent):
    """Independent categoricals over the bins of each actuator (Table 10).

    The actuators are event dimensions: ``log_prob`` and ``entropy`` are sums over them, one scalar
    per frame. A plain ``Categorical`` would give one per actuator, and PPO would silently clip the
    importance ratio of each actuator by itself.

    Args:
        logits: ``[..., actuators, bins]``.
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__(Categorical(logits=logits, validate_args=False), 1, validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Bins, int64 ``[*sample_shape, ..., actuators]``, from torch's global generator."""
        # The largest of the log-probabilities, each less the logarithm of an exponential variate, is
        # drawn with those probabilities (Gumbel); several times faster than multinomial for few bins.
        log_probs = self.base_dist.logits
        noise = torch.rand((*sample_shape, *log_probs.shape), device=log_probs.device).log_().neg_().log_()
        return (log_probs - noise).argmax(-1)

    def entropy(self) -> Tensor:
        """Sum of the actuators' entropies in nats, ``[...]``."""
        # The logits are normalised already; Categorical takes another softmax, slow for a few bins.
        log_probs = self.base_dist.logits
        return -(log_probs.exp() * log_probs).sum((-2, -1))

    @property
    def deterministic_sample(self) -> Tensor:
        """The likeliest bin of each actuator, int64 ``[..., actuators]``."""
        return self.base_dist.logits.argmax(-1)

    @property
    def mode(self) -> Tensor:
        """Same as :attr:`deterministic_sample`."""
        return self.deterministic_sample
