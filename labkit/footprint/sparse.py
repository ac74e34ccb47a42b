"""Ways to store a tensor without its zeros, in bytes, and what no way can go below.

With v bits per value, density d and n values, bits per value are

    bitmap            d v + 1                a row's mask is rounded up to bytes
    CSR               d (v + i)              and a pointer per row, and one more
    relative index    (d + f) (v + k)        f fillers per place, k bits to the next entry
    2:4               v / 2 + 1              2 bits to say which of four, twice
    entropy bound     d v + H(d)             positions drawn independently

Values and indices are one run of bits each, rounded up to a byte. A density stands for
round(density * n) values that are kept.

Source    Han et al., Deep Compression, 2016, arXiv:1510.00149, section 2, and EIE, 2016,
          arXiv:1602.01528, section III (relative index, with 4 bits); Mishra et al., Accelerating
          Sparse Deep Neural Networks, 2021, arXiv:2104.08378 (2:4).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from labkit.footprint.storage import Parts, whole_bytes
from labkit.footprint.tensors import StoredTensor


@dataclass(frozen=True)
class Bitmap:
    """The values that are kept, and one bit per place."""

    density: float
    value_bits: int

    def parts(self, tensor: StoredTensor) -> Parts:
        return Parts(
            codes=whole_bytes(kept(self.density, tensor.elements) * self.value_bits),
            positions=tensor.outputs * whole_bytes(tensor.inputs),
        )


@dataclass(frozen=True)
class Csr:
    """Compressed sparse rows: a column index per value, and where each row begins and ends.

    `parts` raises ValueError where an index cannot name every column, or a pointer every value.
    """

    density: float
    value_bits: int
    index_bits: int
    pointer_bits: int = 32

    def parts(self, tensor: StoredTensor) -> Parts:
        count = kept(self.density, tensor.elements)
        if tensor.inputs > 2**self.index_bits:
            raise ValueError(
                f"{tensor.name} has {tensor.inputs} columns; indices of {self.index_bits} bits "
                f"reach {2**self.index_bits}"
            )
        if count >= 2**self.pointer_bits:
            raise ValueError(
                f"{tensor.name} keeps {count} values; pointers of {self.pointer_bits} bits "
                f"reach {2**self.pointer_bits - 1}"
            )
        pointers = (tensor.outputs + 1) * self.pointer_bits
        return Parts(
            codes=whole_bytes(count * self.value_bits),
            positions=whole_bytes(count * self.index_bits) + whole_bytes(pointers),
        )


@dataclass(frozen=True)
class RelativeIndex:
    """The values that are kept, each with the number of zeros before it.

    A longer run of zeros is bridged by fillers: zeros that are stored like values. How many there
    are depends on where the zeros lie: `fillers_of` a mask, or `fillers_at_random`.
    """

    density: float
    filler_density: float  # fillers over places
    value_bits: int
    index_bits: int = 4

    def parts(self, tensor: StoredTensor) -> Parts:
        count = kept(self.density, tensor.elements) + kept(self.filler_density, tensor.elements)
        return Parts(
            codes=whole_bytes(count * self.value_bits),
            positions=whole_bytes(count * self.index_bits),
        )


@dataclass(frozen=True)
class TwoOfFour:
    """Two of every four neighbours in a row, which sparse tensor cores read.

    `parts` raises ValueError where fours do not divide a row.
    """

    value_bits: int

    def parts(self, tensor: StoredTensor) -> Parts:
        if tensor.inputs % 4:
            raise ValueError(f"{tensor.name} has {tensor.inputs} columns; expected fours")
        return Parts(
            codes=tensor.outputs * whole_bytes(tensor.inputs // 2 * self.value_bits),
            positions=tensor.outputs * whole_bytes(tensor.inputs),
        )


def fillers_of(kept: Bool[Tensor, "..."], index_bits: int = 4) -> int:
    """Fillers that a relative index needs, row after row; zeros after the last value need none."""
    places = kept.flatten().nonzero().flatten()
    zeros = torch.diff(places, prepend=places.new_tensor([-1])) - 1
    return int((zeros // 2**index_bits).sum())


def fillers_at_random(density: float, index_bits: int = 4) -> float:
    """Expected fillers over places, in a long row where each place is kept independently.

    A filler is due whenever another 2**index_bits zeros precede a value, which has the
    probability (1 - density) ** 2**index_bits.
    """
    run = (1 - density) ** 2**index_bits
    return density * run / (1 - run) if density else 0.0


def entropy_bound(density: float, value_bits: int) -> float:
    """Bits per place that no code goes below on average, values taken as incompressible."""
    shares = (density, 1 - density)
    return density * value_bits - sum(share * math.log2(share) for share in shares if share)


def kept(density: float, elements: int) -> int:
    return round(density * elements)
