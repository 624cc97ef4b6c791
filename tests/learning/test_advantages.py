"""Standardised advantages against TorchRL's own, and over the parts of several ranks."""

import torch
from torchrl._utils import _standardize

from dactyl_tl.learning import advantages
from dactyl_tl.learning.advantages import standardized
from dactyl_tl.learning.rollout import Minibatch
from tests.synchronising import no_synchronisation


def epochs(*orders: torch.Tensor, parts: int) -> list[list[Minibatch]]:
    return [[Minibatch(part, 0) for part in order.tensor_split(parts)] for order in orders]


def test_one_process_gets_what_the_loss_of_torchrl_would_compute():
    raw = 3.0 + 7.0 * torch.randn(11, 10, 1)
    passes = epochs(torch.randperm(11), torch.randperm(11), parts=3)
    with no_synchronisation():
        result = standardized(raw, passes)
    for epoch, parts in zip(passes, result, strict=True):
        for each, part in zip(epoch, parts, strict=True):
            torch.testing.assert_close(part, _standardize(raw[each.chunks]), atol=1e-6, rtol=1e-6)
            assert part.dtype == torch.float32


def test_advantages_that_are_all_the_same_stay_finite():
    for size in (1, 4):
        same = torch.full((size, 1, 1), 5.0)
        (part,) = standardized(same, epochs(torch.arange(size), parts=1))[0]
        assert (part == 0).all()


def test_the_parts_of_two_ranks_are_standardised_as_one(monkeypatch):
    raw = torch.randn(6, 10, 1) * torch.linspace(1, 5, 6).reshape(6, 1, 1)
    mine, theirs = raw[:2], raw[2:]
    passes = epochs(torch.arange(2), parts=1)
    summary = torch.stack([advantages._summary(theirs.double())])
    monkeypatch.setattr(advantages, "of_all_ranks", lambda value: torch.stack([value, summary]))
    torch.testing.assert_close(standardized(mine, passes)[0][0], _standardize(raw)[:2], atol=1e-6, rtol=1e-6)
