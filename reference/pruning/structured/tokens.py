"""Activations of a Transformer as rows, one for each token that stands, and none for padding."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor


def standing(batch: Any) -> Bool[Tensor, "batch tokens"] | None:
    """Where the batch says that a token stands, or None where it says nothing of padding."""
    if isinstance(batch, Mapping) and "attention_mask" in batch:
        return batch["attention_mask"].bool()
    return None


def rows(values: Float[Tensor, "batch tokens _"], batch: Any) -> Float[Tensor, "rows _"]:
    """The values at the tokens that stand, for all examples together."""
    stands = standing(batch)
    return values.flatten(0, 1) if stands is None else values[stands.to(values.device)]
