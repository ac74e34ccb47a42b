"""Second derivatives: the Hessian of a loss, or what it makes of some vectors.

    H v = d(g . v)/dw         one more backward pass for a v, and never a matrix

Weights are flat here, all of them in one vector in order.

Source    Pearlmutter, "Fast Exact Multiplication by the Hessian", Neural Computation 1994.
Differs   Differentiates twice in place of his forward pass; the product is the same.
Left out  Forward mode.
Read      derivatives.py first.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.pruning.gradient.derivatives import (
    LossOf,
    Named,
    batch_gradients,
    some,
    undisturbed,
)


def hessian_products(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    batches: Sequence[Any],
    loss_of: LossOf,
    vectors: Float[Tensor, "vectors n"],
) -> Float[Tensor, "vectors n"]:
    """H v for each row v, both flat over all the weights in order.

    Raises:
        ValueError: as `mean_of`, or a product that is not finite.
    """
    found = torch.zeros_like(vectors)
    with undisturbed(model, weights):
        for batch in some(batches):
            first = batch_gradients(model, weights, batch, loss_of, create_graph=True)
            for row, vector in enumerate(vectors):
                found[row] += _product(first, weights, unflat(vector, weights)) / len(batches)
    if not torch.isfinite(found).all():
        raise ValueError("a product with the Hessian is not finite")
    return found


def hessian(
    model: nn.Module, weights: Mapping[str, Tensor], batches: Sequence[Any], loss_of: LossOf
) -> Float[Tensor, "n n"]:
    """The whole matrix over all the weights, for small networks: n products, n^2 numbers.

    Raises:
        ValueError: as `hessian_products`.
    """
    like = flat(weights)
    units = torch.eye(len(like), dtype=like.dtype, device=like.device)
    return hessian_products(model, weights, batches, loss_of, units)


def flat(values: Mapping[str, Tensor]) -> Float[Tensor, " n"]:
    return torch.cat([each.detach().flatten() for each in values.values()])


def unflat(vector: Float[Tensor, " n"], like: Mapping[str, Tensor]) -> Named:
    parts = vector.split([each.numel() for each in like.values()])
    return {
        name: part.reshape(each.shape).to(each.dtype)
        for (name, each), part in zip(like.items(), parts, strict=True)
    }


def _product(first: Named, weights: Mapping[str, Tensor], vector: Named) -> Tensor:
    bent = [name for name, each in first.items() if each.requires_grad]  # not linear in all weights
    if not bent:
        return torch.zeros_like(flat(weights))
    second = torch.autograd.grad(
        [first[name] for name in bent],
        list(weights.values()),
        grad_outputs=[vector[name] for name in bent],
        retain_graph=True,
        materialize_grads=True,
        allow_unused=True,
    )
    return flat(dict(zip(weights, second, strict=True)))
