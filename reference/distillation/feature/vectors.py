"""What the relational losses share: directions, and rows that are compared.

A zero vector has no direction: it is left zero, and no gradient passes. Divided by a length that is
only kept above 1e-12, as libraries do, it would have a gradient of 1e12.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.linalg import vector_norm


def unit(vectors: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows width"]:
    """Every vector at length 1, or zero."""
    length = vector_norm(vectors, dim=-1, keepdim=True)
    zero = length == 0
    return (vectors / length.masked_fill(zero, 1)).masked_fill(zero, 0)


def flat(student: Tensor, teacher: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Both with one vector per row; their widths may differ.

    Raises:
        ValueError: the numbers of rows differ, or are too few.
    """
    if student.shape[0] != teacher.shape[0]:
        counts = f"{student.shape[0]} and {teacher.shape[0]}"
        raise ValueError(f"student and teacher must have the same rows, got {counts}")
    if student.shape[0] < rows:
        raise ValueError(f"a relation needs at least {rows} rows, got {student.shape[0]}")
    return student.flatten(1), teacher.flatten(1)


def off_diagonal(square: Float[Tensor, "*_ rows rows"]) -> Bool[Tensor, "rows rows"]:
    return ~torch.eye(square.shape[-1], dtype=torch.bool, device=square.device)
