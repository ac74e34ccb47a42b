"""Taylor importance of channels: what the loss would change by if a gate on the unit were closed.

    gate z on a unit, z = 1        L(z = 0) - L = -dL/dz + ...          score = mean (dL/dz)^2
    behind a layer                 dL/dz = sum over its filter and bias of g w
    behind a norm                  dL/dz = g_gamma gamma + g_beta beta

No gate is ever put in: w occurs only in what the gate would multiply, so that the derivative by the
gate is the sum of g w. A unit that several layers make has one gate over all of them, and their
derivatives add before they are squared. The mean is over batches.

Source    Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019,
          arXiv:1906.10771 (squares, gates behind batch norm, joint contributions).
Differs   The gate behind a layer multiplies its bias too; the paper's gates follow batch norm, and
          its criterion on weights leaves the bias out.
Left out  The second-order term, which the paper finds to add little.
Read      importance.py first; gradient/derivatives.py for what a loss is.
"""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from reference.pruning.gradient.derivatives import LossOf, stacked_gradients
from reference.pruning.structured.groups import Graph, Group, Member, tensor_of
from reference.pruning.structured.importance import Scores, bias_members, norm_members


def gate_scores(
    model: nn.Module,
    graph: Graph,
    batches: Sequence[Any],
    loss_of: LossOf,
    behind: Literal["layers", "norms"] = "layers",
) -> Scores:
    """mean (dL/dz)^2 for a gate on each unit. The model runs in the mode that it is in.

    Raises:
        ValueError: a group without norms where gates are behind norms, no batch, or gradients that
            do not exist or are not finite.
    """
    gated = {name: _gated(model, name, group, behind) for name, group in graph.groups.items()}
    names = {each.tensor for members in gated.values() for each in members}
    weights = {name: tensor for name, tensor in model.named_parameters() if name in names}
    gradients = stacked_gradients(model, weights, batches, loss_of)
    return {
        name: sum(_by_gate(model, each, gradients) for each in members).square().mean(0)
        for name, members in gated.items()
    }


def _by_gate(model: nn.Module, member: Member, gradients: dict[str, Tensor]) -> Tensor:
    """(batches, units): the sum of g w over what the member's units own."""
    products = gradients[member.tensor] * tensor_of(model, member.tensor).detach()
    return products.movedim(member.axis + 1, 1)[:, member.indices].flatten(2).sum(2)


def _gated(model: nn.Module, name: str, group: Group, behind: str) -> list[Member]:
    if behind == "layers":
        return [*group.makers, *bias_members(model, group)]
    found = norm_members(model, group, "weight") + norm_members(model, group, "bias")
    if not found:
        raise ValueError(f"no norm with parameters follows {name!r}; put its gates behind layers")
    return found
