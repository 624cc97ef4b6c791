"""The helper finds each kind of synchronisation and lets pass what a GPU does by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.synchronising import SynchronisationError, no_synchronisation

X = torch.arange(12.0).reshape(3, 4)
MASK = X > 5
ROWS = torch.tensor([2, 0])
FLAG = torch.tensor(True)
TIMES = torch.tensor([1, 2, 1])


def assign(index: object, value: object) -> None:
    X.clone()[index] = value


SYNCHRONISING: dict[str, Callable[[], object]] = {
    "item": lambda: X.sum().item(),
    "float": lambda: float(X.sum()),
    "bool": lambda: bool(MASK.any()),
    "if": lambda: 1 if FLAG else 0,
    "format": lambda: f"{X[0, 0]:.2f}",
    "nonzero": lambda: MASK.nonzero(),
    "where with one argument": lambda: torch.where(MASK),
    "masked_select": lambda: X.masked_select(MASK),
    "unique": lambda: ROWS.unique(),
    "unique_consecutive": lambda: torch.unique_consecutive(ROWS),
    "equal": lambda: torch.equal(X, X),
    "allclose": lambda: torch.allclose(X, X),
    "bincount": lambda: ROWS.bincount(),
    "repeat_interleave": lambda: X.repeat_interleave(TIMES, 0),
    "reading with a mask": lambda: X[MASK],
    "reading rows with a mask": lambda: X[:, MASK[0]],
    "writing with a mask": lambda: assign(MASK, X[0, 0]),
    "filling with a mask": lambda: assign(MASK, 0.0),
    "reading with a list": lambda: X[[0, 1]],
    "reading with an array": lambda: X[np.array([0, 1])],
    "reading with lists": lambda: X[[0, 1], [1, 2]],
    "writing with a list": lambda: assign([0, 1], 0.0),
    "reading with an index on the device": lambda: X[ROWS[0]],
    "tensor of a list": lambda: torch.tensor([1.0, 2.0]),
    "tensor of an array": lambda: torch.tensor(np.ones(2)),
    "as_tensor": lambda: torch.as_tensor(np.ones(2)),
    "asarray": lambda: torch.asarray([1.0]),
    "from_numpy": lambda: torch.from_numpy(np.ones(2)),
    "Tensor": lambda: torch.Tensor([1.0, 2.0]),
    "new_tensor": lambda: X.new_tensor([1.0]),
    "numpy": lambda: X.numpy(),
    "asarray of numpy": lambda: np.asarray(X),
    "arithmetic with an array": lambda: X * np.ones(4),
    "tolist": lambda: X.tolist(),
    "cpu": lambda: X.cpu(),
    "to cpu": lambda: X.to("cpu"),
    "to cpu by name": lambda: X.to(device="cpu"),
    "svd": lambda: torch.linalg.svd(torch.eye(3)),
    "inv": lambda: torch.linalg.inv(torch.eye(3)),
}

FREE: dict[str, Callable[[], object]] = {
    "where": lambda: torch.where(MASK, X, 0.0),
    "masked_fill": lambda: X.masked_fill(MASK, 0.0),
    "reading with indices": lambda: X[ROWS],
    "reading a row": lambda: (X[0], X[:, 1:], X[..., None], X[-1, 2]),
    "writing a number": lambda: assign(0, 1.0),
    "writing a flag": lambda: assign((slice(None), 0), False),
    "writing with indices": lambda: assign(ROWS, X[ROWS]),
    "numbers in arithmetic": lambda: (X + 1.0 > 2).float().mean() * 0.5,
    "filled tensors": lambda: (torch.zeros(3), X.new_full((2,), 1.5), torch.arange(4)),
    "tensor as_tensor": lambda: torch.as_tensor(X),
    "random numbers": lambda: (torch.rand(3), torch.randperm(5), X.clone().normal_()),
    "generator": lambda: torch.rand(3, generator=torch.Generator().manual_seed(1)),
    "shapes": lambda: (len(X), X.shape[0] // 2, X.numel()),
    "repeat_interleave": lambda: X.repeat_interleave(2, 0),
    "to float": lambda: X.to(torch.float64).to(X.device, non_blocking=True),
}


@pytest.mark.parametrize("name", SYNCHRONISING)
@pytest.mark.filterwarnings("ignore")
def test_it_is_found(name: str) -> None:
    with pytest.raises(SynchronisationError), no_synchronisation():
        SYNCHRONISING[name]()


@pytest.mark.parametrize("name", FREE)
def test_it_is_free(name: str) -> None:
    with no_synchronisation():
        FREE[name]()


def test_the_backward_pass_is_watched_too() -> None:
    class Looks(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * gradient.sum().item()

    x = X.clone().requires_grad_()
    with pytest.raises(SynchronisationError), no_synchronisation():
        Looks.apply(x).sum().backward()


def test_nothing_is_left_behind() -> None:
    with pytest.raises(SynchronisationError), no_synchronisation():
        X.tolist()
    assert X.tolist()
    assert X[MASK].sum().item() == 51
