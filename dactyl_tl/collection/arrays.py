"""TensorDicts as flat dictionaries of NumPy arrays, which other machines take without a copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensordict import TensorDictBase


def arrays_of(tensors: TensorDictBase) -> dict[Any, np.ndarray]:
    """Every tensor by its key; views of the same memory where it is the host's."""
    return {key: value.detach().cpu().numpy() for key, value in tensors.items(True, True)}


def copy_arrays(arrays: Mapping[Any, np.ndarray], into: TensorDictBase) -> None:
    """Write arrays into the tensors of the same keys and shapes, which lie in the host's memory.

    Raises:
        KeyError: ``into`` has no tensor of a key.
    """
    for key, array in arrays.items():
        np.copyto(into[key].numpy(), array)
