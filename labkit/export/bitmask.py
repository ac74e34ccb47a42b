"""The sparse-bitmask layout: the values that are not zero, and one bit per place.

Source    compressed-tensors 0.10.2, compressors/sparse_compressors/sparse_bitmask.py, which
          defines it. Version 0.19.0 has its name and no code for it any more.
"""

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
