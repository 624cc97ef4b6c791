"""TorchRL's LSTM module, for sequences that few episodes start inside of."""

from __future__ import annotations

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.modules import LSTMModule


class ChunkLSTM(LSTMModule):
    """``LSTMModule`` made for chunks of ten steps, and for one step at a time with little ado.

    Keys, primers and meaning are its parent's; ``nn.LSTM`` has one layer here. In recurrent mode the
    parent splits, pads and packs the whole batch as soon as one episode starts inside one sequence,
    which is in every minibatch. Here every sequence runs to its end undisturbed in one call of
    ``nn.LSTM``, together with one more sequence for each episode that starts inside another; what
    the latter yield replaces what the former made of those steps.

    Sequences start from the state stored at their first step, episodes inside them from zero. The
    states after the steps, which the parent fills in with zeros, are left out.
    """

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Sequences ``[B, T]`` in recurrent mode, steps ``[...]`` otherwise."""
        inputs, h, c, is_init = (tensordict.get(key) for key in self.in_keys)
        if not self.recurrent_mode:
            return self._step(tensordict, inputs, h, c, is_init)
        # nn.LSTM has layers first: [1, B, units].
        state = [each[:, 0].transpose(0, 1).contiguous() for each in (h, c)]
        begins = is_init.squeeze(-1).clone()
        begins[:, 0] = False
        if not begins.any():
            return tensordict.set(self.out_keys[0], self.lstm(inputs, tuple(state))[0])

        batch, steps = begins.shape
        row, first = begins.nonzero(as_tuple=True)
        # Each added sequence: its episode's steps, then whatever fills it up to T and is not read.
        frames = row.unsqueeze(1) * steps + (
            first.unsqueeze(1) + torch.arange(steps, device=row.device)
        ).clamp(max=steps - 1)
        added = inputs.flatten(0, 1).index_select(0, frames.flatten()).unflatten(0, frames.shape)
        zeros = state[0].new_zeros(1, len(row), state[0].shape[-1])
        output, _ = self.lstm(
            torch.cat([inputs, added]), (torch.cat([state[0], zeros], 1), torch.cat([state[1], zeros], 1))
        )
        # The steps to replace, and for each its place in the added sequences.
        replaced = (begins.cumsum(1) > 0).flatten().nonzero().squeeze(1)
        sequence = begins.flatten().cumsum(0)[replaced] - 1
        place = sequence * steps + replaced % steps - first[sequence]
        output, added = output.split([batch, len(row)])
        output = output.flatten(0, 1).index_copy(0, replaced, added.flatten(0, 1).index_select(0, place))
        return tensordict.set(self.out_keys[0], output.unflatten(0, (batch, steps)))

    def _step(
        self, tensordict: TensorDictBase, inputs: Tensor, h: Tensor, c: Tensor, is_init: Tensor
    ) -> TensorDictBase:
        """One step: inputs ``[..., features]``, states ``[..., 1, units]``, zero where ``is_init``."""
        batch = inputs.shape[:-1]
        # Filled, not multiplied by zero: that would hand a NaN on to the next episode.
        starts = is_init.unsqueeze(-1)
        state = tuple(each.masked_fill(starts, 0.0).reshape(1, -1, each.shape[-1]) for each in (h, c))
        output, after = self.lstm(inputs.reshape(-1, 1, inputs.shape[-1]), state)
        tensordict.set(self.out_keys[0], output.reshape(*batch, -1))
        for key, each in zip(self.out_keys[1:], after, strict=True):
            tensordict.set(key, each.reshape(*batch, 1, -1))
        return tensordict
