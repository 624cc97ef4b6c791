"""The policy and value networks as tensordict modules (Figure 12)."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from tensordict.nn import (
    InteractionType,
    ProbabilisticTensorDictModule,
    ProbabilisticTensorDictSequential,
    TensorDictModule,
    TensorDictModuleBase,
    TensorDictSequential,
)
from torch import Tensor, nn

from dactyl_tl.contract import (
    NUM_ACTUATORS,
    NUM_BINS,
    OBSERVATION_SIZES,
    policy_keys,
    privileged_keys,
)
from dactyl_tl.models.config import NetworkConfig
from dactyl_tl.models.distributions import MultiCategorical
from dactyl_tl.models.normalization import ObservationNormalizer, ValueNormalizer
from dactyl_tl.models.recurrence import ChunkLSTM

POLICY_STATE = ("policy_state_h", "policy_state_c")
"""Keys of the policy's recurrent state, float32 ``[..., 1, lstm]`` each."""

VALUE_STATE = ("value_state_h", "value_state_c")
"""Keys of the value network's recurrent state, float32 ``[..., 1, lstm]`` each."""

IS_INIT = "is_init"
"""Key, bool ``[..., 1]``: the observation is the first of an episode, the state before it zero."""

POLICY_HEAD_GAIN = 0.01
"""Small enough that the first policy is uniform to within a thousandth of its entropy."""


class Encoder(nn.Module):
    """Concatenate the inputs, normalise them, one dense ReLU layer."""

    def __init__(self, input_size: int, config: NetworkConfig) -> None:
        super().__init__()
        self.normalizer = ObservationNormalizer(input_size, config.clip)
        self.dense = _dense(input_size, config.dense)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.dense(self.normalizer(torch.cat(inputs, -1))).relu()


class PolicyHead(nn.Linear):
    """Linear layer to the logits ``[..., actuators, bins]``."""

    def __init__(self, features: int) -> None:
        super().__init__(features, NUM_ACTUATORS * NUM_BINS)
        nn.init.orthogonal_(self.weight, POLICY_HEAD_GAIN)
        nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        return _in_float32(super().forward, features).unflatten(-1, (NUM_ACTUATORS, NUM_BINS))


class ValueHead(nn.Linear):
    """Linear layer to the value in units of reward, ``[..., 1]``.

    The layer itself predicts the standardised value; the running statistics of the value targets
    turn it into units of reward (App. D.1).
    """

    def __init__(self, features: int) -> None:
        super().__init__(features, 1)
        nn.init.orthogonal_(self.weight)
        nn.init.zeros_(self.bias)
        self.normalizer = ValueNormalizer()

    def forward(self, features: Tensor) -> Tensor:
        return self.normalizer.denormalize(_in_float32(super().forward, features))


class Actor(ProbabilisticTensorDictSequential):
    """The policy: ``("policy", ...)`` observations to ``action`` and ``action_log_prob``.

    ``action`` is int64 ``[..., actuators]``, ``action_log_prob`` one float per frame. A recurrent
    policy also reads the state :data:`POLICY_STATE` and :data:`IS_INIT`, and writes the state after
    the step under ``("next", ...)``. It takes one step at a time, ``[N]``; within
    ``torchrl.modules.set_recurrent_mode(True)``, ``[B, T]`` are sequences that start from the state
    stored at their first step.

    Attributes:
        config: the network's sizes.
        state_keys: keys of the recurrent state; none for a feed-forward policy.
    """

    def __init__(self, config: NetworkConfig) -> None:
        head = TensorDictModule(PolicyHead(config.lstm), in_keys=["_policy"], out_keys=["logits"])
        sample = ProbabilisticTensorDictModule(
            in_keys=["logits"],
            out_keys=["action"],
            distribution_class=MultiCategorical,
            default_interaction_type=InteractionType.RANDOM,
            return_log_prob=True,
            log_prob_key="action_log_prob",
        )
        torso = _torso(config.policy, policy_keys(), POLICY_STATE, "_policy", config)
        super().__init__(OrderedDict(**torso, head=head, sample=sample))
        self.config = config
        self.state_keys: tuple[str, ...] = POLICY_STATE if config.policy == "lstm" else ()
        # The hidden layers stay out of what collectors store and send.
        self.select_out_keys("action", "action_log_prob", *(("next", key) for key in self.state_keys))

    @property
    def normalizer(self) -> ObservationNormalizer:
        """Running statistics of the policy's inputs, concatenated in contract order."""
        return self.module.encoder.module.normalizer


class Critic(TensorDictSequential):
    """The value network: ``("privileged", ...)`` observations to ``state_value``.

    ``state_value`` is ``[..., 1]`` in units of reward. Recurrent as :class:`Actor` is, with the
    state :data:`VALUE_STATE`.

    Attributes:
        config: the network's sizes.
        state_keys: keys of the recurrent state; none for a feed-forward value network.
    """

    def __init__(self, config: NetworkConfig) -> None:
        head = TensorDictModule(ValueHead(config.lstm), in_keys=["_value"], out_keys=["state_value"])
        torso = _torso(config.value, privileged_keys(), VALUE_STATE, "_value", config)
        super().__init__(OrderedDict(**torso, head=head))
        self.config = config
        self.state_keys: tuple[str, ...] = VALUE_STATE if config.value == "lstm" else ()
        self.select_out_keys("state_value", *(("next", key) for key in self.state_keys))

    @property
    def normalizer(self) -> ObservationNormalizer:
        """Running statistics of the value network's inputs, concatenated in contract order."""
        return self.module.encoder.module.normalizer

    @property
    def value_normalizer(self) -> ValueNormalizer:
        """Running statistics of the value targets."""
        return self.module.head.module.normalizer


def build_actor(config: NetworkConfig) -> Actor:
    """The policy network. Weights come from torch's global generator: seed it first."""
    return Actor(config)


def build_critic(config: NetworkConfig) -> Critic:
    """The value network. Weights come from torch's global generator: seed it first."""
    return Critic(config)


def _torso(
    kind: str,
    in_keys: Sequence[tuple[str, str]],
    state_keys: tuple[str, str],
    out_key: str,
    config: NetworkConfig,
) -> dict[str, TensorDictModuleBase]:
    """Everything but the head: inputs to ``out_key`` ``[..., lstm]``."""
    hidden = f"{out_key}_dense"
    encoder = Encoder(sum(OBSERVATION_SIZES[name] for _, name in in_keys), config)
    memory: TensorDictModuleBase
    if kind == "lstm":
        memory = ChunkLSTM(
            lstm=_lstm(config.dense, config.lstm),
            in_keys=[hidden, *state_keys, IS_INIT],
            out_keys=[out_key, *(("next", key) for key in state_keys)],
            recurrent_backend="pad" if config.backend == "auto" else config.backend,
        )
    else:
        layer = nn.Sequential(_dense(config.dense, config.lstm), nn.ReLU())
        memory = TensorDictModule(layer, in_keys=[hidden], out_keys=[out_key])
    return {
        "encoder": TensorDictModule(encoder, in_keys=list(in_keys), out_keys=[hidden]),
        "memory": memory,
    }


def _in_float32(layer: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """The heads keep full precision under autocast: log-probabilities and values are sums of many."""
    with torch.autocast(features.device.type, enabled=False):
        return layer(features.float())


def _dense(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, math.sqrt(2))
    nn.init.zeros_(layer.bias)
    return layer


def _lstm(inputs: int, units: int) -> nn.LSTM:
    """An LSTM whose forget gates start open, so that it remembers before it is taught to."""
    lstm = nn.LSTM(inputs, units, batch_first=True)
    for name, parameter in lstm.named_parameters():
        if name.startswith("weight"):
            for gate in parameter.detach().chunk(4):
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(parameter)
        if name == "bias_ih_l0":
            # Gates in the order input, forget, cell, output.
            nn.init.ones_(parameter.detach()[units : 2 * units])
    return lstm
