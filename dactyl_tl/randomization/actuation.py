"""Imperfect actuation (App. C.2): action noise (Table 8), delay, backlash and timing."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from dactyl_tl.contract import ACTUATORS, NUM_ACTUATORS
from dactyl_tl.randomization.sampling import Interval, bernoulli, normal, uniform

ACTION_RANGE = 2.0
"""Width of an action coordinate's range [-1, 1], which Table 8 gives its percentages of."""

BACKLASH_LOG_RATES = MappingProxyType(
    {
        "WRJ1": (4.25, 4.25),
        "WRJ0": (4.25, 4.25),
        "FFJ3": (2.93, 4.25),
        "FFJ2": (4.25, 4.25),
        "FFJ1": (4.25, 1.86),
        "MFJ3": (4.25, 4.25),
        "MFJ2": (4.25, 4.25),
        "MFJ1": (1.92, 1.44),
        "RFJ3": (4.25, 4.25),
        "RFJ2": (3.35, 2.98),
        "RFJ1": (4.25, 2.07),
        "LFJ4": (4.25, 4.25),
        "LFJ3": (4.25, 4.25),
        "LFJ2": (3.87, 2.94),
        "LFJ1": (1.39, 1.41),
        "THJ4": (4.25, 2.82),
        "THJ3": (1.25, 1.53),
        "THJ2": (4.25, 4.25),
        "THJ1": (4.25, 2.86),
        "THJ0": (4.25, 2.10),
    }
)
"""Logarithm of the calibrated backlash rates (down, up), published with OpenAI's later environments."""

MINIMUM_BACKLASH_RATE = 2.0
"""Floor of a sampled rate (as above): below it the slack swallows nearly every action."""


@dataclass(frozen=True)
class ActuationRandomization:
    """What happens between the policy's action and the actuators."""

    additive_uncorrelated: float = 0.05
    """Share of the action range (Table 8); likewise the next one."""
    additive_correlated: float = 0.015
    multiplicative_uncorrelated: float = 0.015
    """Standard deviation of the factor's deviation from one (Table 8)."""
    delay_probability: float = 0.5
    """Probability that an actuator lags one control step during an episode."""
    timing_rate: Interval = (1250.0, 10000.0)
    """1/s: rate of the exponentially distributed time added to every physics step of a control step."""
    backlash_spread: float = 0.1
    """Standard deviation of the log-rates' relative deviation from :data:`BACKLASH_LOG_RATES`."""

    def sample(self, n: int, scale: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Values of one episode for ``n`` simulations.

        Returns:
            ``action_bias`` (n, 20) on the action's scale, ``action_noise`` (n, 1) scale of the
            uncorrelated noise, ``action_delay`` (n, 20) bool, ``timing_rate`` (n, 1) 1/s,
            ``timing`` (n, 1) scale of the added time, ``backlash_rates`` (n, 2, 20) 1/s (down, up).
        """
        g = generator
        log_rates = _log_rates(g.device)
        deviation = normal((n, 2, NUM_ACTUATORS), self.backlash_spread, g)
        rates = (log_rates * (1.0 + deviation)).exp().clamp(min=MINIMUM_BACKLASH_RATE)
        return {
            "action_bias": normal((n, NUM_ACTUATORS), scale * self.additive_correlated * ACTION_RANGE, g),
            "action_noise": torch.full((n, 1), scale, device=g.device),
            "action_delay": bernoulli((n, NUM_ACTUATORS), scale * self.delay_probability, g),
            "timing_rate": uniform((n, 1), self.timing_rate, g),
            "timing": torch.full((n, 1), scale, device=g.device),
            # Slack closes at once as the scale goes to zero.
            "backlash_rates": rates / max(scale, 1e-6),
        }

    def noisy(self, action: Tensor, bias: Tensor, scale: Tensor, generator: torch.Generator) -> Tensor:
        """Add Table 8's noise to ``action`` (n, 20) on [-1, 1]; ``bias`` and ``scale`` as sampled."""
        shape = (len(action), NUM_ACTUATORS)
        factor = 1.0 + scale * normal(shape, self.multiplicative_uncorrelated, generator)
        additive = scale * normal(shape, self.additive_uncorrelated * ACTION_RANGE, generator)
        return action * factor + bias + additive


@functools.cache
def _log_rates(device: torch.device) -> Tensor:
    """:data:`BACKLASH_LOG_RATES` as (2, 20)."""
    return torch.tensor([BACKLASH_LOG_RATES[name] for name in ACTUATORS], device=device).T


def backlash(action: Tensor, slack: Tensor, rates: Tensor, period: Tensor) -> tuple[Tensor, Tensor]:
    """The part of an action that is left when the tendon's slack is taken up (App. C.2).

    Args:
        action: (n, 20) signed, on [-1, 1].
        slack: (n, 20) in [-1, 1]; +-1 when the tendon is taut in that direction.
        rates: (n, 2, 20) 1/s, for a negative and a positive action.
        period: (n, 1) seconds of the control step.

    Returns:
        The action that reaches the joint, and the new slack. As printed, the paper divides by the
        slack's clipped change, which leaves all or nothing; like its released code we divide by the
        unclipped one.
    """
    rate = torch.where(action < 0, rates[:, 0], rates[:, 1])
    increment = action * rate * period
    swallowed = ((action.sign() - slack).abs() / (increment.abs() + 1e-12)).clamp(0.0, 1.0)
    return (1.0 - swallowed) * action, (slack + increment).clamp(-1.0, 1.0)


def added_time(rate: Tensor, scale: Tensor, generator: torch.Generator) -> Tensor:
    """Seconds added to each physics step of this control step: scale * Exp(rate), (n, 1)."""
    uniform_draw = torch.rand(*rate.shape, generator=generator, device=generator.device)
    return -scale * torch.log1p(-uniform_draw) / rate
