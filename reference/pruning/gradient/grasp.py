"""GraSP: keep the weights without which less gradient would flow.

A network before training should be able to learn: a step along the gradient lowers the loss by
|g|^2 to first order. What happens to that when weight k shrinks, w_k -> (1 - t) w_k, t at 0:

    d|g|^2 / dt = -2 w_k (Hg)_k

so w_k (Hg)_k above zero means that gradient flow is lost with the weight. Those are kept:

    s_k = w_k (Hg)_k                higher is more worth keeping, as everywhere in this package

The paper's score is S = -w (Hg), and it removes the highest; it is this one with the other sign,
and the mask is the same. It is not |w (Hg)|: weights far below zero go first, for the flow grows
without them.

Source    Wang et al., "Picking Winning Tickets Before Training by Preserving Gradient Flow", ICLR
          2020, arXiv:2002.07376. The temperature is that of the authors' code, 200: it flattens
          the softmax of a network that has not learned anything yet.
Differs   Gradient flow is that of the scored weights; biases and norms are left out of g and H.
          Several batches: mean gradient, mean Hessian.
Left out  Drawing batches with as many samples of each class: the caller's batches are taken.
Read      hessian.py first.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from reference.pruning.gradient.derivatives import LossOf, Named, gradients, scored_weights, telling
from reference.pruning.gradient.hessian import flat, hessian_products, unflat


def grasp_scores(
    model: nn.Module,
    batches: Sequence[Any],
    loss_of: LossOf,
    temperature: float = 1.0,
    spared: Collection[str] = (),
) -> Named:
    """w (Hg) of each weight.

    Args:
        temperature: what the model answers when `loss_of` calls it is divided by this. Other than 1
            it needs a model that answers with a tensor of logits.

    Raises:
        ValueError: nothing to score, no batch, gradients or products that are not finite, all
            scores zero, a temperature that is not above zero.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above zero, got {temperature}")
    weights = scored_weights(model, spared)
    with _tempered(model, temperature):
        gradient = flat(gradients(model, weights, batches, loss_of))
        product = hessian_products(model, weights, batches, loss_of, gradient.unsqueeze(0))[0]
    return telling(unflat(flat(weights) * product, weights))


@contextmanager
def _tempered(model: nn.Module, temperature: float) -> Iterator[None]:
    def divide(_: nn.Module, args: tuple[Any, ...], logits: Any) -> Tensor:
        if not isinstance(logits, Tensor):
            raise ValueError(
                f"a temperature needs logits as a tensor, the model gave {type(logits).__name__}"
            )
        return logits / temperature

    if temperature == 1:  # any answer will do
        yield
        return
    handle = model.register_forward_hook(divide)
    try:
        yield
    finally:
        handle.remove()
