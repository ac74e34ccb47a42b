"""What rounding a layer should cost, from how sharply the loss bends there: one look serves all
widths.

    loss(w + d) - loss(w)  ~  d' H d / 2           the gradient is near zero after training
    HAWQ-V2                Tr(H_l) / n_l |d_l|^2   H is replaced by its mean eigenvalue
    Hutchinson             Tr(H) = E v' H v        v of random signs; H v by differentiating twice
    Fisher                 sum F_i d_i^2           F_i = mean g_i^2 over samples

One probe is exact where H is diagonal; else its variance is 2 (|H|_F^2 - |diag H|^2).

Source    Dong et al., "HAWQ-V2", NeurIPS 2020, arXiv:1911.03852, sections 3.1-3.2; Hutchinson 1989
          (the estimator); Kirkpatrick et al., "Overcoming catastrophic forgetting", PNAS 2017,
          arXiv:1612.00796 (the diagonal Fisher information as a penalty).
Differs   One probe covers all layers at once: terms between layers vanish in the mean. The Fisher
          information is the empirical one, of the labels as they are.
Left out  Eigenvalues by power iteration (HAWQ-V1); the full matrix of a block (HAWQ-V3).
Read      options.py first.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference import walk
from reference.quantization.mixed.options import Options

LossOf = Callable[[nn.Module, Tensor], Tensor]  # (model, batch or index) -> a scalar


def hessian_traces(
    model: nn.Module,
    names: Sequence[str],
    batches: Sequence[Tensor],
    loss_of: LossOf,
    generator: torch.Generator,
    probes: int = 32,
) -> Float[Tensor, " layers"]:
    """Tr(H) of the mean loss over the batches, for each layer's weight.

    Raises:
        ValueError: no layers, no batches, fewer than one probe, or a trace that is not finite.
    """
    if not names or not batches or probes < 1:
        raise ValueError(f"{len(names)} layers, {len(batches)} batches, {probes} probes: need one")
    weights = [model.get_submodule(name).weight for name in names]
    total = torch.zeros(len(names), dtype=torch.float64)
    with walk.evaluating(model):
        for batch in batches:
            loss = loss_of(model, batch)
            gradients = torch.autograd.grad(loss, weights, create_graph=True)
            for _ in range(probes):
                total += _probe(gradients, weights, generator)
    return _finite(total / (len(batches) * probes), "a trace")


def fisher_information(
    model: nn.Module, names: Sequence[str], samples: Sequence[Tensor], loss_of: LossOf
) -> list[Tensor]:
    """Mean squared gradient of each weight; every sample is one call of `loss_of`.

    Raises:
        ValueError: no layers or no samples.
    """
    if not names or not samples:
        raise ValueError(f"{len(names)} layers and {len(samples)} samples: need one of each")
    weights = [model.get_submodule(name).weight for name in names]
    total = [torch.zeros_like(weight) for weight in weights]
    with walk.evaluating(model):
        for sample in samples:
            gradients = torch.autograd.grad(loss_of(model, sample), weights)
            for place, gradient in enumerate(gradients):
                total[place] += gradient.square() / len(samples)
    return total


def trace_losses(
    model: nn.Module, options: Options, traces: Float[Tensor, " layers"]
) -> Float[Tensor, "layers widths"]:
    """Tr(H) / n |d|^2 of every layer and width. A negative trace counts as none."""
    moved = torch.stack(
        [
            torch.stack([d.double().square().mean() for d in changes])
            for changes in _changes(model, options)
        ]
    )
    return moved * traces.double().clamp(min=0).unsqueeze(1)


def fisher_losses(
    model: nn.Module, options: Options, information: Sequence[Tensor]
) -> Float[Tensor, "layers widths"]:
    """sum F d^2 / 2 of every layer and width."""
    rows = zip(_changes(model, options), information, strict=True)
    return torch.stack(
        [
            torch.stack([(each * d.square()).double().sum() / 2 for d in changes])
            for changes, each in rows
        ]
    )


def _changes(model: nn.Module, options: Options) -> list[list[Tensor]]:
    return [
        [option.weight - model.get_submodule(name).weight.detach() for option in widths]
        for name, widths in options.items()
    ]


def _probe(
    gradients: Sequence[Tensor], weights: Sequence[Tensor], generator: torch.Generator
) -> Tensor:
    signs = [
        torch.randint(0, 2, weight.shape, generator=generator).to(weight.dtype) * 2 - 1
        for weight in weights
    ]
    products = torch.autograd.grad(
        gradients, weights, grad_outputs=signs, retain_graph=True, materialize_grads=True
    )
    pairs = zip(signs, products, strict=True)
    return torch.stack([(sign * product).double().sum() for sign, product in pairs])


def _finite(values: Tensor, what: str) -> Tensor:
    if not torch.isfinite(values).all():
        raise ValueError(f"{what} is not finite: {values.tolist()}")
    return values
