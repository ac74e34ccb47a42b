"""Sparse storage: a matrix without its zeros, what says where the others were, and the way back.

    bitmap            one bit for each place                        d v + 1 bits for each value
    CSR               a column for each value, a pointer per row    d (v + i)
    relative index    zeros before each value, in k bits            (d + f) (v + k)
    2:4               two of every four, and which two they were    v / 2 + 1

v bits are a value's, d the density, i an index's. A gap of 2^k zeros or more does not fit k bits:
it is bridged by fillers, zeros stored like values, one for each 2^k zeros; f is their share. The
bits of a row begin at a whole byte. A bitmap pays for every place and indices for every value, so
that CSR is the smaller below d = 1 / i, whatever v is: 6 % for 16 bits. What equals 0 is not
stored: -0 comes back as 0.

Source    Han et al., "Deep Compression", ICLR 2016, arXiv:1510.00149, section 2 (relative index);
          Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021, arXiv:2104.08378,
          section 3 (2:4: two 2-bit places for each group); PyTorch documentation,
          torch.sparse_csr_tensor (CSR).
Differs   Indices of CSR have the least whole bytes that name every column. Deep Compression counts
          gaps from value to value, here zeros in between. A group of fewer than two values of 2:4
          stores zeros, at its first free places.
Left out  Orders of 2:4 that one kernel wants (CUTLASS's tiles); Huffman coding of values and gaps.
Read      matrices.py makes rows of any layer's weight. quantization/packing.py packs the bits.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int, Integer, Shaped, UInt8
from torch import Tensor

from reference.quantization.packing import pack, unpack

GROUP = 4  # neighbours of 2:4
PLACE_BITS = 2


class Bitmap(NamedTuple):
    columns: int
    values: Shaped[Tensor, " kept"]  # row by row, as in all formats
    bits: UInt8[Tensor, "rows bytes"]  # the first place in the lowest bit


class Csr(NamedTuple):
    columns: int
    values: Shaped[Tensor, " kept"]
    indices: Integer[Tensor, " kept"]  # the column of each value
    pointers: Int[Tensor, " rows_and_one"]  # row r has the values from pointers[r] to [r + 1]


class RelativeIndex(NamedTuple):
    rows: int
    columns: int
    gap_bits: int
    values: Shaped[Tensor, " kept_and_fillers"]
    gaps: UInt8[Tensor, " bytes"]  # zeros before each value, over all rows in a line


class TwoOfFour(NamedTuple):
    values: Shaped[Tensor, "rows half"]
    places: UInt8[Tensor, "rows bytes"]  # in its group, of each value


def stored_bytes(stored: Bitmap | Csr | RelativeIndex | TwoOfFour) -> int:
    """Of values and positions. The shape is some numbers beside them, for a dense tensor too."""
    return sum(part.nbytes for part in stored if isinstance(part, Tensor))


def to_bitmap(dense: Shaped[Tensor, "rows columns"]) -> Bitmap:
    kept = dense != 0
    return Bitmap(dense.shape[1], dense[kept], pack(kept.to(torch.uint8), 1))


def from_bitmap(stored: Bitmap) -> Shaped[Tensor, "rows columns"]:
    kept = unpack(stored.bits, 1, stored.columns).bool()
    dense = stored.values.new_zeros(kept.shape)
    dense[kept] = stored.values
    return dense


def to_csr(dense: Shaped[Tensor, "rows columns"]) -> Csr:
    """
    Raises:
        ValueError: more values than a 32-bit pointer counts.
    """
    kept = dense != 0
    ends = kept.sum(1).cumsum(0)
    if ends.numel() and ends[-1] > torch.iinfo(torch.int32).max:
        raise ValueError(f"{int(ends[-1])} values; pointers of 32 bits count to 2**31 - 1")
    pointers = torch.cat([ends.new_zeros(1), ends]).to(torch.int32)
    columns = kept.nonzero()[:, 1].to(_index_dtype(dense.shape[1]))
    return Csr(dense.shape[1], dense[kept], columns, pointers)


def from_csr(stored: Csr) -> Shaped[Tensor, "rows columns"]:
    rows = len(stored.pointers) - 1
    row = torch.arange(rows, device=stored.values.device).repeat_interleave(stored.pointers.diff())
    dense = stored.values.new_zeros(rows, stored.columns)
    dense[row, stored.indices.long()] = stored.values
    return dense


def to_relative(dense: Shaped[Tensor, "rows columns"], gap_bits: int = 4) -> RelativeIndex:
    """
    Raises:
        ValueError: gap_bits are not from 1 to 8.
    """
    flat = dense.flatten()
    places = flat.nonzero().flatten()
    zeros = places.diff(prepend=places.new_tensor([-1])) - 1
    fillers, rest = zeros >> gap_bits, zeros % 2**gap_bits
    ends = (fillers + 1).cumsum(0) - 1  # where each value stands among fillers and values
    length = int(ends[-1]) + 1 if len(ends) else 0
    gaps = torch.full((length,), 2**gap_bits - 1, dtype=torch.int64, device=flat.device)
    gaps[ends] = rest
    values = flat.new_zeros(length)
    values[ends] = flat[places]
    return RelativeIndex(*dense.shape, gap_bits, values, pack(gaps, gap_bits))


def from_relative(stored: RelativeIndex) -> Shaped[Tensor, "rows columns"]:
    gaps = unpack(stored.gaps, stored.gap_bits, len(stored.values)).long()
    dense = stored.values.new_zeros(stored.rows * stored.columns)
    dense[(gaps + 1).cumsum(0) - 1] = stored.values
    return dense.reshape(stored.rows, stored.columns)


def to_two_of_four(dense: Shaped[Tensor, "rows columns"]) -> TwoOfFour:
    """
    Raises:
        ValueError: rows that fours do not divide, or a group of more than two values.
    """
    if dense.shape[1] % GROUP:
        raise ValueError(f"rows have {dense.shape[1]} columns; expected a multiple of {GROUP}")
    groups = dense.unflatten(1, (-1, GROUP))
    counts = (groups != 0).sum(2)
    if (counts > 2).any():
        row, group = (counts > 2).nonzero()[0].tolist()
        raise ValueError(
            f"row {row} has {int(counts[row, group])} values in columns {GROUP * group} to "
            f"{GROUP * group + GROUP - 1}; 2:4 has room for 2"
        )
    first = (groups == 0).to(torch.uint8).argsort(dim=2, stable=True)[..., :2]
    places = first.sort(dim=2).values
    return TwoOfFour(groups.gather(2, places).flatten(1), pack(places.flatten(1), PLACE_BITS))


def from_two_of_four(stored: TwoOfFour) -> Shaped[Tensor, "rows columns"]:
    rows, half = stored.values.shape
    places = unpack(stored.places, PLACE_BITS, half).long().unflatten(1, (-1, 2))
    groups = stored.values.new_zeros(rows, half // 2, GROUP)
    return groups.scatter_(2, places, stored.values.unflatten(1, (-1, 2))).flatten(1)


def _index_dtype(columns: int) -> torch.dtype:
    for dtype in (torch.uint8, torch.uint16):
        if columns <= torch.iinfo(dtype).max + 1:
            return dtype
    return torch.int32
