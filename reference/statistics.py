"""What calibration keeps of a layer's inputs: sums, so that any number of tokens takes one matrix.

    G = X'X / tokens          (d_in, d_in): the output error of D = W~ - W is tr(D G D') per token
    mean |x_j|, max |x_j|     (d_in): how large each input is

Source    Frantar et al., "GPTQ", 2022, arXiv:2210.17323, section 3.1 (the layer-wise objective,
          whose Hessian is 2 G per row); Lin et al., "AWQ", MLSys 2024, arXiv:2306.00978 (mean |x|).
Differs   The Hessian's factor 2 is left out everywhere: it changes no choice.
Left out  Weighing tokens, by attention or by gradient.
Read      Used by gptq.py, awq.py, smoothquant.py and llm_int8.py.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from reference.quantization.affine import widened


class InputStatistics(NamedTuple):
    gram: Float[Tensor, "d_in d_in"]  # G
    mean_abs: Float[Tensor, " d_in"]
    max_abs: Float[Tensor, " d_in"]
    tokens: int

    def output_error(self, change: Float[Tensor, "d_out d_in"]) -> Float[Tensor, " d_out"]:
        """Mean squared error of each output over the tokens, when a weight changes by `change`."""
        change = change.to(self.gram.dtype)
        return ((change @ self.gram) * change).sum(-1).clamp(min=0)


def input_statistics(batches: Iterable[Float[Tensor, "... _"]]) -> InputStatistics:
    """The statistics of all tokens of all batches, in float32, or float64 where a batch is.

    Raises:
        ValueError: no batch, no values, values that are not finite, or rows of unequal length.
    """
    found = None
    for batch in batches:
        rows = widened(batch).flatten(0, -2) if batch.ndim > 1 else widened(batch).unsqueeze(0)
        found = _of(rows) if found is None else _both(found, _of(rows))
    if found is None:
        raise ValueError("calibration needs at least one batch, got none")
    return found


def matching(weight: Float[Tensor, "d_out d_in"], inputs: InputStatistics) -> Tensor:
    """The weight, finite and in the dtype of the statistics.

    Raises:
        ValueError: it is not a matrix with as many columns as there are inputs, or not finite.
    """
    if weight.ndim != 2 or weight.shape[1] != len(inputs.gram):
        raise ValueError(
            f"a weight of shape {tuple(weight.shape)} does not read {len(inputs.gram)} inputs"
        )
    return widened(weight).to(torch.promote_types(inputs.gram.dtype, torch.float32))


def _of(rows: Float[Tensor, "tokens d_in"]) -> InputStatistics:
    largest = torch.linalg.vector_norm(rows, torch.inf, dim=0)  # no copy of |rows| is made
    gram = (rows.T @ rows).div_(len(rows))
    if not torch.isfinite(gram).all():
        raise ValueError(f"inputs up to {largest.max():g} have squares that are not finite")
    mean = torch.linalg.vector_norm(rows, 1, dim=0) / len(rows)
    return InputStatistics(gram, mean, largest, len(rows))


def _both(old: InputStatistics, new: InputStatistics) -> InputStatistics:
    if len(old.gram) != len(new.gram):
        raise ValueError(f"one batch has {len(old.gram)} features, another {len(new.gram)}")
    tokens = old.tokens + new.tokens
    share = new.tokens / tokens
    return InputStatistics(
        torch.lerp(old.gram, new.gram.to(old.gram.dtype), share),
        torch.lerp(old.mean_abs, new.mean_abs.to(old.gram.dtype), share),
        torch.maximum(old.max_abs, new.max_abs.to(old.gram.dtype)),
        tokens,
    )
