"""What a model takes when it is stored in a given way: bytes exactly, sparsity, MACs and BOPS.

Only shapes are asked for, so a model on the device `meta` will do, and nothing is fetched:

    model = pretrained.load("llama2_7b", device="meta")
    ledger = footprint.account(model, footprint.where(footprint.in_block, W4_G128, FP16))
    ledger.ratio_to_fp16, ledger.bits_per_weight

A ledger counts tensors. What a file adds to them (a header with names, a configuration) is
measured on the file. docs/footprint.md shows well-known models so.
"""

from labkit.footprint.exported import PackQuantized, SparseBitmask
from labkit.footprint.ledger import (
    Ledger,
    Line,
    Rule,
    account,
    always,
    as_it_is,
    in_block,
    is_embedding,
    is_matrix,
    where,
)
from labkit.footprint.operations import Operations, Precision, operations
from labkit.footprint.sparse import (
    Bitmap,
    Csr,
    RelativeIndex,
    TwoOfFour,
    entropy_bound,
    fillers_at_random,
    fillers_of,
)
from labkit.footprint.sparsity import Sparsity, sparsity
from labkit.footprint.storage import (
    FP16,
    FP32,
    INT8_CHANNEL,
    W4_G128,
    Codebook,
    Dense,
    Grouped,
    Parts,
    Storage,
)
from labkit.footprint.tensors import Kind, StoredTensor, tensors

__all__ = [
    "FP16", "FP32", "INT8_CHANNEL", "W4_G128", "Bitmap", "Codebook", "Csr", "Dense", "Grouped",
    "Kind", "Ledger", "Line", "Operations", "PackQuantized", "Parts", "Precision",
    "RelativeIndex", "Rule", "SparseBitmask", "Sparsity", "Storage", "StoredTensor", "TwoOfFour",
    "account", "always", "as_it_is", "entropy_bound", "fillers_at_random", "fillers_of",
    "in_block", "is_embedding", "is_matrix", "operations", "sparsity", "tensors", "where",
]  # fmt: skip
