"""Optimal Brain Surgeon: remove a weight and let all others make up for it.

At a minimum of a quadratic loss, removing weight q costs least when the others move along one
column of the inverse Hessian:

    minimise d' H d / 2  with d_q = -w_q      d = -(w_q / [H^-1]_qq) H^-1 e_q
                                              s_q = w_q^2 / (2 [H^-1]_qq)      the cost, exactly
    after it                                  H^-1 <- H^-1 - H^-1 e_q e_q' H^-1 / [H^-1]_qq
    a set Q at once                           d = -H^-1 E_Q x      s_Q = w_Q' x / 2
                                              x = [H^-1]_QQ^-1 w_Q

The third line is the inverse of H without row and column q, by one step of elimination. Removing a
set one by one ends at the same weights as removing it at once; which set greedy steps find need not
be the best one.

All functions take rows of weights, each with an inverse of its own, and treat every row by itself.

Source    Hassibi and Stork, "Second Order Derivatives for Network Pruning: Optimal Brain Surgeon",
          NeurIPS 1992; the set at once: Kurtic et al., "The Optimal BERT Surgeon", 2022,
          arXiv:2203.07259, section 3.
Left out  Retraining between steps; the gradient's term, where training has not converged.
Read      obd.py is this with a diagonal H. obc.py, wood_fisher.py and obert.py build on this file.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Surgery(NamedTuple):
    weight: Float[Tensor, "rows n"]
    mask: Bool[Tensor, "rows n"]
    order: Int[Tensor, "rows count"]  # which weight went at each step
    costs: Float[Tensor, "rows count"]  # what each step added to the loss, as predicted


def obs_scores(
    weight: Float[Tensor, "rows n"], inverse: Float[Tensor, "rows n n"]
) -> Float[Tensor, "rows n"]:
    """w^2 / (2 [H^-1]_qq)."""
    return weight.square() / (2 * inverse.diagonal(dim1=1, dim2=2))


def obs_prune(
    weight: Float[Tensor, "rows n"],
    inverse: Float[Tensor, "rows n n"],
    count: int,
    most: Int[Tensor, " groups"] | None = None,
) -> Surgery:
    """Remove `count` weights of every row, always the one that costs least.

    Args:
        most: a row's weights are in as many groups of equal size, and each group may lose so many.

    Raises:
        ValueError: more to remove than there is, or an inverse that is not positive definite.
    """
    _checked(weight, inverse, count)
    weight, inverse = weight.clone(), inverse.clone()
    rows = torch.arange(len(weight), device=weight.device)
    free = torch.ones_like(weight, dtype=torch.bool)
    order, costs = [], []
    for _ in range(count):
        open_now = free if most is None else free & _may_lose(free, most)
        scores = obs_scores(weight, inverse).where(open_now, torch.inf)
        chosen = scores.argmin(1)
        order.append(chosen)
        costs.append(scores[rows, chosen])
        _mend_(weight, inverse, chosen)
        _eliminate_(inverse, chosen)
        free[rows, chosen] = False
    none = weight.new_empty(len(weight), 0)
    return Surgery(
        weight,
        free,
        torch.stack(order, 1) if order else none.long(),
        torch.stack(costs, 1) if costs else none,
    )


def without(
    inverse: Float[Tensor, "rows n n"], chosen: Int[Tensor, " rows"]
) -> Float[Tensor, "rows n n"]:
    """The inverse of each H without that row and column, which are zero in the result."""
    left = inverse.clone()
    _eliminate_(left, chosen)
    return left


def removed_at_once(
    weight: Float[Tensor, "rows n"],
    inverse: Float[Tensor, "rows n n"],
    mask: Bool[Tensor, "rows n"],
) -> tuple[Float[Tensor, "rows n"], Float[Tensor, " rows"]]:
    """The weights when all that the mask removes is removed at once, and what each row costs.

    Raises:
        torch.linalg.LinAlgError: an inverse that is not positive definite.
    """
    gone = ~mask
    both = gone.unsqueeze(1) & gone.unsqueeze(2)
    identity = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
    factor = torch.linalg.cholesky(inverse.where(both, identity))
    x = torch.cholesky_solve((weight * gone).unsqueeze(2), factor).squeeze(2)
    changed = weight - (inverse @ x.unsqueeze(2)).squeeze(2)
    return changed * mask, (weight * x * gone).sum(1) / 2


def _mend_(weight: Tensor, inverse: Tensor, chosen: Tensor) -> None:
    rows = torch.arange(len(weight), device=weight.device)
    column = inverse[rows, :, chosen]
    weight -= column * (weight[rows, chosen] / column[rows, chosen]).unsqueeze(1)
    weight[rows, chosen] = 0


def _eliminate_(inverse: Tensor, chosen: Tensor) -> None:
    rows = torch.arange(len(inverse), device=inverse.device)
    column = inverse[rows, :, chosen]
    pivot = column[rows, chosen].unsqueeze(1)
    inverse.baddbmm_(column.unsqueeze(2), (column / pivot).unsqueeze(1), alpha=-1)
    inverse[rows, chosen] = 0  # what rounding leaves
    inverse[rows, :, chosen] = 0


def _may_lose(free: Tensor, most: Tensor) -> Tensor:
    """True where a weight's group has lost fewer than it may."""
    groups = free.unflatten(1, (len(most), -1))
    open_groups = (~groups).sum(2, keepdim=True) < most.reshape(1, -1, 1)
    return open_groups.expand_as(groups).flatten(1)


def _checked(weight: Tensor, inverse: Tensor, count: int) -> None:
    if not 0 <= count <= weight.shape[1]:
        raise ValueError(f"cannot remove {count} of {weight.shape[1]} weights in a row")
    if not (torch.isfinite(inverse).all() and (inverse.diagonal(dim1=1, dim2=2) > 0).all()):
        raise ValueError("an inverse Hessian must be finite and positive definite; damp it")
