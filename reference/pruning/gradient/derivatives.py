"""Gradients of a loss with respect to the weights that may be pruned, and scores that can be used.

    g = mean over batches of dL/dw

The model runs in the mode that it is in: a network that is scored before training needs the batch's
own statistics in its norms. Its buffers, gradients and the state of the random numbers are after it
what they were before.

Left out  Gradients of single samples in one pass (torch.func.vmap): every batch is one sample.
Read      weights.py says which weights these are; hessian.py has second derivatives.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from reference.pruning.weights import prunable_weights

LossOf = Callable[[nn.Module, Any], Tensor]  # (model, batch) -> a scalar, mean over the batch
Named = dict[str, Tensor]  # by the name of the parameter, in its shape


def scored_weights(model: nn.Module, spared: Collection[str] = ()) -> dict[str, nn.Parameter]:
    """The prunable weights, at least one.

    Raises:
        ValueError: the model has none.
    """
    found = prunable_weights(model, spared)
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no weight to score: no convolution and no linear layer "
            "that is not spared or tied to an embedding"
        )
    return found


def gradients(
    model: nn.Module, weights: Mapping[str, Tensor], batches: Sequence[Any], loss_of: LossOf
) -> Named:
    """dL/dw of the mean loss over the batches.

    Raises:
        ValueError: as `mean_of`.
    """
    return mean_of(model, weights, batches, loss_of, lambda _, gradient: gradient)


def mean_of(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    batches: Sequence[Any],
    loss_of: LossOf,
    function: Callable[[str, Tensor], Tensor],
) -> Named:
    """The mean over batches of `function(name, gradient of that batch)`, for each weight.

    Raises:
        ValueError: no batch, a loss that is no scalar, a weight that the loss does not depend on,
            or a gradient that is not finite; the weight is named.
    """
    found: Named = {}
    with undisturbed(model, weights):
        for batch in some(batches):
            for name, gradient in batch_gradients(model, weights, batch, loss_of).items():
                term = function(name, gradient) / len(batches)
                found[name] = found[name] + term if name in found else term
    return found


def stacked_gradients(
    model: nn.Module, weights: Mapping[str, Tensor], batches: Sequence[Any], loss_of: LossOf
) -> Named:
    """The gradient of every batch by itself, on a new first axis.

    Raises:
        ValueError: as `mean_of`.
    """
    with undisturbed(model, weights):
        found = [batch_gradients(model, weights, batch, loss_of) for batch in some(batches)]
    return {name: torch.stack([each[name] for each in found]) for name in weights}


def telling(scores: Named) -> Named:
    """The scores, if there is anything to choose by.

    Raises:
        ValueError: some are not finite, or all are zero.
    """
    for name, each in scores.items():
        if not torch.isfinite(each).all():
            places = int((~torch.isfinite(each)).sum())
            raise ValueError(f"the scores of {name!r} are not finite in {places} places")
    if not any(each.any() for each in scores.values()):
        raise ValueError(
            f"all scores of {len(scores)} weights are zero, from {next(iter(scores))!r} on: the "
            "loss must depend on them, and have a gradient that is not zero"
        )
    return scores


@contextmanager
def undisturbed(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Gradients of these weights can be had inside; after it the model is what it was."""
    trained = [(each, each.requires_grad) for each in weights.values()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        for each, _ in trained:
            each.requires_grad_()
        # Of the attention kernels only this one can be differentiated twice.
        with torch.random.fork_rng(), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        for each, before in trained:
            each.requires_grad_(before)
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer.copy_(before)


def batch_gradients(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    batch: Any,
    loss_of: LossOf,
    create_graph: bool = False,
) -> Named:
    """dL/dw of one batch, where gradients can be had: inside `undisturbed`.

    Raises:
        ValueError: as `mean_of`.
    """
    loss = loss_of(model, batch)
    if loss.numel() != 1:
        raise ValueError(f"a loss must be one number, got shape {tuple(loss.shape)}")
    if not loss.requires_grad:
        raise ValueError("the loss depends on no weight: it was computed without gradients")
    found = torch.autograd.grad(
        loss.sum(), list(weights.values()), create_graph=create_graph, allow_unused=True
    )
    for name, each in zip(weights, found, strict=True):
        if each is None:
            raise ValueError(f"the loss does not depend on {name!r}; spare its layer")
        if not torch.isfinite(each).all():
            places = int((~torch.isfinite(each)).sum())
            raise ValueError(f"the gradient of {name!r} is not finite in {places} places")
    return dict(zip(weights, found, strict=True))


def some(batches: Sequence[Any]) -> Sequence[Any]:
    """The batches. Raises ValueError without any."""
    if not len(batches):
        raise ValueError("scores need at least one batch, got none")
    return batches
