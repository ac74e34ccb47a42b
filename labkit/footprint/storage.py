"""Ways to store a tensor, as records, and the bytes that each of them takes.

Codes are packed row by row (a row holds the inputs of one output), and every row begins at a whole
byte: ceil(bits * inputs / 8) bytes. Zero points are packed in the same way. Scales and dense
values lie one behind another, and their sum is rounded up to a byte once.
"""

import math
from dataclasses import astuple, dataclass
from typing import Protocol

from labkit.footprint.tensors import StoredTensor


@dataclass(frozen=True)
class Parts:
    """Bytes of a stored tensor by what they hold."""

    codes: int = 0  # the values, or what stands for them
    scales: int = 0
    zero_points: int = 0
    positions: int = 0  # of what is not zero: bitmask, indices, pointers to rows
    codebook: int = 0
    layout: int = 0  # the shape, where the format keeps it as a tensor

    @property
    def total(self) -> int:
        return sum(astuple(self))


class Storage(Protocol):
    def parts(self, tensor: StoredTensor) -> Parts: ...


@dataclass(frozen=True)
class Dense:
    """Every value by itself."""

    bits: int

    def parts(self, tensor: StoredTensor) -> Parts:
        return Parts(codes=whole_bytes(self.bits * tensor.elements))


@dataclass(frozen=True)
class Grouped:
    """Integer codes with a scale, and perhaps a zero point, for every group of neighbours in a row.

    Bits per weight are bits + (scale_bits + zero_bits) / group_size where groups divide a row; the
    last group of a row that they do not divide is shorter, and has a scale too.
    """

    bits: int
    group_size: int | None  # None: one group per row, "per channel"
    scale_bits: int  # 0: scales are left out of the account, as published ratios often do
    zero_bits: int = 0  # 0: symmetric, no zero points are stored

    def parts(self, tensor: StoredTensor) -> Parts:
        groups = 1 if self.group_size is None else math.ceil(tensor.inputs / self.group_size)
        return Parts(
            codes=tensor.outputs * whole_bytes(self.bits * tensor.inputs),
            scales=whole_bytes(self.scale_bits * groups * tensor.outputs),
            zero_points=tensor.outputs * whole_bytes(self.zero_bits * groups),
        )


@dataclass(frozen=True)
class Codebook:
    """Weight sharing: an index per value into one table per tensor (Han et al. 2016, section 3).

    The indices are one run of bits, as in the paper's equation 1, not packed row by row.
    """

    bits: int  # of an index; the table has 2 ** bits entries
    value_bits: int = 32

    def parts(self, tensor: StoredTensor) -> Parts:
        return Parts(
            codes=whole_bytes(self.bits * tensor.elements),
            codebook=whole_bytes(self.value_bits * 2**self.bits),
        )


def whole_bytes(bits: int) -> int:
    """Bits rounded up to bytes."""
    return (bits + 7) // 8


FP32, FP16 = Dense(32), Dense(16)
W4_G128 = Grouped(bits=4, group_size=128, scale_bits=16)  # what GPTQ's and Marlin's files hold
INT8_CHANNEL = Grouped(bits=8, group_size=None, scale_bits=32)
