"""Batches of arrays as bytes, and back: what the processes that run models are asked and answer.

They know no student's types, so they need less than the wire does, and no torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

Batch = Mapping[str, NDArray[Any]]


def pack(batches: Sequence[Batch]) -> bytes:
    return save(
        {
            f"{number}/{name}": np.ascontiguousarray(values)
            for number, batch in enumerate(batches)
            for name, values in batch.items()
        }
    )


def unpack(blob: bytes) -> list[dict[str, NDArray[Any]]]:
    """The inverse of `pack`.

    Raises:
        ValueError: the bytes are none that `pack` writes.
    """
    try:
        found = load(blob)
    except Exception as error:  # safetensors and numpy raise several types
        raise ValueError(f"these bytes hold no arrays: {error}") from error
    batches: dict[int, dict[str, NDArray[Any]]] = {}
    for key, values in found.items():
        number, _, name = key.partition("/")
        if not number.isdecimal() or int(number) >= len(found):
            raise ValueError(f"an array is called {key[:60]!r}; expected NUMBER/NAME")
        batches.setdefault(int(number), {})[name] = values
    if sorted(batches) != list(range(len(batches))):
        raise ValueError(f"{len(batches)} batches are not numbered from 0 on")
    return [batches[number] for number in range(len(batches))]
