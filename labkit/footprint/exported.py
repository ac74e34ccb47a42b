"""What labkit.export writes for a weight in the compressed-tensors layout, to the byte.

Unlike the plain plans beside it, these formats fill whole 32-bit words and keep shapes and offsets
as 64-bit integers. tests/labkit/test_footprint_files.py compares both with files.
"""

import math
from dataclasses import dataclass

from labkit.footprint.sparse import kept
from labkit.footprint.storage import Parts, whole_bytes
from labkit.footprint.tensors import StoredTensor

INT32, INT64 = 4, 8  # bytes
CODES_PER_WORD = 8  # of 4 bits


@dataclass(frozen=True)
class PackQuantized:
    """`save_packed_int4`: a row's codes eight to an int32, scales in FP32, zero points eight to an
    int32 down a column of groups.

    `parts` raises ValueError where groups do not divide a row.
    """

    group_size: int
    symmetric: bool

    def parts(self, tensor: StoredTensor) -> Parts:
        if tensor.inputs % self.group_size:
            raise ValueError(
                f"{tensor.name} has {tensor.inputs} inputs, which do not divide into groups of "
                f"{self.group_size}"
            )
        groups = tensor.inputs // self.group_size
        zero_words = 0 if self.symmetric else math.ceil(tensor.outputs / CODES_PER_WORD) * groups
        return Parts(
            codes=INT32 * tensor.outputs * math.ceil(tensor.inputs / CODES_PER_WORD),
            scales=4 * tensor.outputs * groups,
            zero_points=INT32 * zero_words,
            layout=INT64 * len(tensor.shape),
        )


@dataclass(frozen=True)
class SparseBitmask:
    """`save_sparse_bitmask`: values, a mask along the last axis, and an offset per row.

    It writes a weight so only where that is smaller than as it is, which a rule has to ask.
    """

    density: float

    def parts(self, tensor: StoredTensor) -> Parts:
        rows = math.prod(tensor.shape[:-1])
        offsets = INT64 * rows
        return Parts(
            codes=whole_bytes(kept(self.density, tensor.elements) * tensor.dtype_bits),
            positions=rows * whole_bytes(tensor.shape[-1]) + offsets,
            layout=INT64 * len(tensor.shape),
        )
