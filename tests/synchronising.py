"""Find, without a GPU, what would make one wait for the host or the host wait for it.

``with no_synchronisation(): ...`` raises at the first operation of torch whose result the host has to
see before it can go on (``.item()``, ``if tensor:``, indexing with a mask), or whose data comes from
the host (``torch.tensor`` of a list, indexing with a list or an array). On the CPU such operations
cost nothing and pass unnoticed. It cannot see which of two CPU tensors would be on a GPU: a copy by
``.to(device)`` is found only where the device is spelled ``"cpu"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class SynchronisationError(AssertionError):
    """An operation that would make a GPU and its host wait for each other; the traceback says where."""


WAITING = {
    "_linalg_check_errors",
    "_linalg_eigh",
    "_linalg_eigvals",
    "_linalg_svd",
    "_local_scalar_dense",
    "_pack_padded_sequence",
    "_unique",
    "_unique2",
    "allclose",
    "bincount",
    "equal",
    "is_nonzero",
    "linalg_eig",
    "linalg_lstsq",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
    "unique_dim_consecutive",
}
"""Operations of the dispatcher that wait for the device, whatever they are called with."""

INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
"""Those that wait for the device where an index is a mask, to learn how many elements it has."""

READING = {"__array__", "__dlpack__", "cpu", "numpy", "tolist"}
"""Methods of tensors that copy to the host."""

BUILDING = {"as_tensor", "asarray", "new_tensor", "tensor"}
"""Functions that copy Python's or numpy's data to the device."""


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Raise :class:`SynchronisationError` at the first operation that would synchronise a GPU."""
    functions = _Functions()
    with functions, _Operations(functions):
        yield


class _Functions(TorchFunctionMode):
    """Sees what Python calls, with lists and arrays still as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.fills = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in READING:
            raise SynchronisationError(f"Tensor.{name} copies to the host")
        if name == "to" and "cpu" in (*args[1:], kwargs.get("device")):
            raise SynchronisationError("Tensor.to('cpu') copies to the host")
        if name in BUILDING and not any(isinstance(each, Tensor) for each in _data(name, args, kwargs)):
            raise SynchronisationError(f"torch.{name} of Python's data copies it from the host")
        if name in ("__getitem__", "__setitem__") and _from_host(args[1]):
            raise SynchronisationError("an index that is a list or an array is copied from the host")
        # x[0] = 1.0 makes a tensor of the number, which a GPU fills in by itself.
        self.fills = name == "__setitem__" and isinstance(args[2], (bool, int, float))
        try:
            return func(*args, **kwargs)
        finally:
            self.fills = False


class _Operations(TorchDispatchMode):
    """Sees what reaches the dispatcher, also from inside torch and in the backward pass."""

    def __init__(self, functions: _Functions) -> None:
        super().__init__()
        self.functions = functions

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in WAITING:
            raise SynchronisationError(f"{func} makes the host wait for the device")
        if name in INDEXING and any(_is_mask(each) for each in args[1]):
            raise SynchronisationError(f"{func} with a mask makes the host wait for the device")
        if str(func) == "aten.repeat_interleave.Tensor" and kwargs.get("output_size") is None:
            raise SynchronisationError(f"{func} without output_size makes the host wait for the device")
        if name == "lift_fresh" and not self.functions.fills:
            raise SynchronisationError("a tensor made of the host's data is copied to the device")
        return func(*args, **kwargs)


def _data(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """What a tensor is built of; the first argument of ``new_tensor`` is the tensor it belongs to."""
    return (*args[name == "new_tensor" :][:1], kwargs.get("data"))


def _from_host(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(
        isinstance(part, (list, range)) or (isinstance(part, np.ndarray) and part.ndim) for part in parts
    )


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)
