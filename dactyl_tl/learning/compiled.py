"""The loss and its gradients as ``torch.compile`` translates them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torch.torch_version import TorchVersion

from dactyl_tl.models import NetworkConfig

OLDEST = "2.13"
"""Version of torch: 2.11 compiles the places of episodes that start inside chunks wrongly."""

Losses = Callable[[TensorDictBase], dict[str, Tensor]]


def compiled(losses: Losses, device: torch.device) -> Losses:
    """``losses`` compiled, for sequences of few different shapes; the first call of each takes a minute.

    On a GPU the kernels are recorded as CUDA graphs, whose outputs the next call overwrites: they are
    handed out as copies.
    """
    on_gpu = device.type == "cuda"
    translated = torch.compile(losses, dynamic=False, mode="reduce-overhead" if on_gpu else "default")

    def run(minibatch: TensorDictBase) -> dict[str, Tensor]:
        if on_gpu:
            torch.compiler.cudagraph_mark_step_begin()
        # nn.LSTM is left whole, as one call of the library that makes it.
        with torch._dynamo.config.patch(allow_rnn=True):
            result = translated(minibatch)
        return {name: value.clone() for name, value in result.items()} if on_gpu else result

    return run


def check_compilable(network: NetworkConfig) -> None:
    """Refuse what compiles to wrong gradients.

    Raises:
        ValueError: torch is too old, or an LSTM runs by another backend than ``nn.LSTM``.
    """
    if "lstm" in (network.policy, network.value) and network.backend not in ("auto", "pad"):
        raise ValueError(
            f"ppo.compile is true, which network.backend={network.backend} cannot do: its gradients come "
            "out wrong; set network.backend=pad or ppo.compile=false"
        )
    version = TorchVersion(torch.__version__)
    if version < OLDEST:
        raise ValueError(
            f"ppo.compile is true, which torch {version} cannot do: its gradients come out wrong; "
            f"install torch {OLDEST} or set ppo.compile=false"
        )


def roomy(number: int) -> int:
    """A power of two of at least ``number`` and 16, so that few different sizes have to be compiled."""
    return max(16, 1 << (number - 1).bit_length()) if number else 16
