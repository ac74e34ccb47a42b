"""The sparse-bitmask layout: the values that are not zero, and one bit per place.

Source    compressed-tensors 0.10.2, compressors/sparse_compressors/sparse_bitmask.py, which
          defines it. Version 0.19.0 has its name and no code for it any more.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor


class Bitmask(NamedTuple):
    """A tensor without its zeros. The fields have the names under which a file stores them."""

    shape: Int[Tensor, " axes"]
    compressed: Float[Tensor, " kept"]  # row by row
    bitmask: UInt8[Tensor, "... packed"]  # along the last axis, the first place in the lowest bit
    row_offsets: Int[Tensor, "..."]  # where in `compressed` each row begins, counted per column

    @property
    def size_bytes(self) -> int:
        return sum(part.nbytes for part in self)


def compress(dense: Float[Tensor, "..."]) -> Bitmask:
    kept = dense != 0
    counts = kept.sum(dim=-1)
    bits = torch.from_numpy(np.packbits(kept.numpy(), axis=-1, bitorder="little"))
    offsets = counts.cumsum(dim=0) - counts
    return Bitmask(torch.tensor(dense.shape), dense[kept], bits, offsets)


def decompress(packed: Bitmask) -> Float[Tensor, "..."]:
    shape = packed.shape.tolist()
    bits = np.unpackbits(packed.bitmask.numpy(), axis=-1, count=shape[-1], bitorder="little")
    dense = torch.zeros(shape, dtype=packed.compressed.dtype)
    dense[torch.from_numpy(bits.reshape(shape).astype(bool))] = packed.compressed
    return dense


class Masked(NamedTuple):
    state: dict[str, Tensor]
    zeros: int  # among the weights that are stored without them
    total: int  # of those weights


def masked(dense: Mapping[str, Tensor]) -> Masked:
    """A checkpoint's tensors, with every weight that this makes smaller stored without zeros."""
    state: dict[str, Tensor] = {}
    zeros = total = 0
    for name, tensor in dense.items():
        packed = compress(tensor) if name.endswith(".weight") and tensor.dim() > 1 else None
        if packed is None or packed.size_bytes >= tensor.nbytes:
            state[name] = tensor
            continue
        layer = name.removesuffix(".weight")
        state |= {f"{layer}.{field}": part for field, part in packed._asdict().items()}
        zeros, total = zeros + int((tensor == 0).sum()), total + tensor.numel()
    return Masked(state, zeros, total)


def unmasked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `masked`."""
    state = dict(stored)
    for name in [key.removesuffix(".bitmask") for key in stored if key.endswith(".bitmask")]:
        parts = {field: state.pop(f"{name}.{field}") for field in Bitmask._fields}
        state[f"{name}.weight"] = decompress(Bitmask(**parts))
    return state
