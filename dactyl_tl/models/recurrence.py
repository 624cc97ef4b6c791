"""TorchRL's LSTM module, for sequences that few episodes start inside of, and the choice of its backend."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.modules import LSTMModule

from dactyl_tl.models.config import BACKENDS


class ChunkLSTM(LSTMModule):
    """``LSTMModule`` made for chunks of ten steps, and for one step at a time with little ado.

    Keys, primers and meaning are its parent's; ``nn.LSTM`` has one layer here. In recurrent mode the
    parent's padded backend splits, pads and packs the whole batch as soon as one episode starts inside
    one sequence, which is in every minibatch, and waits for the device to learn where. Here every
    sequence runs to its end undisturbed in one call of ``nn.LSTM``, together with one more sequence for
    each episode that starts inside another; what the latter yield replaces what the former made of those
    steps. Inside :func:`inner_starts` nothing of this waits for the device. The other backends are the
    parent's own, and reset the state as they go.

    Sequences start from the state stored at their first step, episodes inside them from zero. The
    states after the steps, which the parent fills in with zeros, are left out.
    """

    known_inner_starts: int | None = None
    """Set by :func:`inner_starts`."""

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Sequences ``[B, T]`` in recurrent mode, steps ``[...]`` otherwise."""
        inputs, h, c, is_init = (tensordict.get(key) for key in self.in_keys)
        if not self.recurrent_mode:
            return self._step(tensordict, inputs, h, c, is_init)
        if self.recurrent_backend == "pad":
            output = self._sequences(inputs, h, c, is_init)
        else:
            output = self._with_resets(tensordict, h, c)
        return tensordict.set(self.out_keys[0], output)

    def _sequences(self, inputs: Tensor, h: Tensor, c: Tensor, is_init: Tensor) -> Tensor:
        """The output ``[B, T, units]`` of inputs ``[B, T, features]``, in one call of ``nn.LSTM``."""
        # nn.LSTM has layers first: [1, B, units].
        state = [each[:, 0].transpose(0, 1).contiguous() for each in (h, c)]
        begins = is_init.squeeze(-1).clone()
        begins[:, 0] = False
        number = ChunkLSTM.known_inner_starts
        if number is None:
            number = int(begins.sum())
        if not number:
            return self.lstm(inputs, tuple(state))[0]

        batch, steps = begins.shape
        first = _positions(begins.flatten(), number)
        # Each added sequence: its episode's steps, then whatever fills it up to T and is not read.
        ahead = torch.arange(steps, device=first.device)
        column = first.unsqueeze(1) % steps + ahead
        frames = first.unsqueeze(1) - first.unsqueeze(1) % steps + column.clamp(max=steps - 1)
        added = inputs.flatten(0, 1).index_select(0, frames.flatten()).unflatten(0, frames.shape)
        zeros = state[0].new_zeros(1, number, state[0].shape[-1])
        output, _ = self.lstm(
            torch.cat([inputs, added]), (torch.cat([state[0], zeros], 1), torch.cat([state[1], zeros], 1))
        )
        # Of more sequences than there are episodes, the last belong to none, for want of that number.
        # A step of an added sequence belongs to its episode until the row ends or the next one begins.
        # The others stay where they are, so that the number of steps that move is known beforehand.
        episode = begins.flatten().cumsum(0)
        own = torch.arange(1, number + 1, device=first.device).unsqueeze(1)
        belongs = (column < steps) & (episode[frames] == own)
        place = batch * steps + torch.arange(number * steps, device=first.device).view_as(frames)
        target = torch.where(belongs, frames, place).flatten()
        output = output.flatten(0, 1)
        output = output.index_copy(0, target, output[batch * steps :])
        return output[: batch * steps].unflatten(0, (batch, steps))

    def _with_resets(self, tensordict: TensorDictBase, h: Tensor, c: Tensor) -> Tensor:
        """The output ``[B, T, units]`` by the parent's backend, which reads a state at every start."""
        data = tensordict.select(*self.in_keys)
        for key, each in zip(self.in_keys[1:3], (h, c), strict=True):
            resets = torch.zeros_like(each)
            resets[:, 0] = each[:, 0]
            data.set(key, resets)
        return super().forward(data).get(self.out_keys[0])

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


@contextmanager
def inner_starts(number: int) -> Iterator[None]:
    """Say how many episodes start inside the sequences ``[B, T]`` that are run within, first steps aside.

    Then no :class:`ChunkLSTM` has to ask the device. Too large a number costs time, too small a one
    gives wrong results.
    """
    before = ChunkLSTM.known_inner_starts
    ChunkLSTM.known_inner_starts = number
    try:
        yield
    finally:
        ChunkLSTM.known_inner_starts = before


def check_backend(backend: str, device: torch.device | None = None) -> None:
    """Refuse an LSTM backend that this machine cannot run.

    Args:
        backend: setting of :class:`~dactyl_tl.models.NetworkConfig`.
        device: of the learner, once it is known.

    Raises:
        ValueError: with the reason and the backends that can be chosen.
    """
    reasons = {name: reason for name in BACKENDS if (reason := _missing(name, device))}
    if backend in reasons:
        usable = ", ".join(name for name in BACKENDS if name not in reasons)
        raise ValueError(f"network.backend is {backend!r}, {reasons[backend]}; choose from {usable}")


def _missing(backend: str, device: torch.device | None) -> str | None:
    """What ``backend`` lacks here, in words; None if nothing."""
    if backend == "scan" and importlib.util.find_spec("hoptorch") is None:
        return "which needs the package hoptorch"
    if backend == "triton":
        if not torch.cuda.is_available():
            return "which needs an NVIDIA GPU"
        if importlib.util.find_spec("triton") is None:
            return "which needs the package triton"
        if device is not None and device.type != "cuda":
            return f"which does not run on {device}"
    return None


def _positions(marks: Tensor, number: int) -> Tensor:
    """Where bool ``marks`` ``[M]`` is set, int64 ``[number]``, then zeros: ``nonzero`` of a known size."""
    size = len(marks)
    # Marks go to their places in order, everything else to one more place, which is dropped.
    place = torch.where(marks, marks.cumsum(0) - 1, number)
    index = torch.arange(size, device=marks.device)
    return index.new_zeros(number + 1).scatter_(0, place, index)[:number]
