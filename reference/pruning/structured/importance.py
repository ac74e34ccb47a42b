"""How much a channel is worth, from the weights alone: one score for each unit of each group.

    filter norm       |W_i|_1 or |W_i|_2 of all filters that make the unit
    group norm        |.|_2 of everything that the unit owns: filters, columns, norms, biases
    distances         sum_j |W_i - W_j|_2: a filter near all others can be replaced by them (FPGM)
    norm scales       |gamma_i|, mean over the norms on the unit; trained with |gamma| as a penalty
    random            the control that every criterion has to beat

Norms say something within a layer; between layers they follow size and depth. `normalised` divides
by what is usual in a group, which a comparison over all groups needs.

Source    Li et al., ICLR 2017, arXiv:1608.08710 (L1); He et al., "Filter Pruning via Geometric
          Median", CVPR 2019, arXiv:1811.00250 (distances); Liu et al., "Learning Efficient
          Convolutional Networks through Network Slimming", ICCV 2017, arXiv:1708.06519 (gamma);
          Fang et al., CVPR 2023, arXiv:2301.12900 (whole groups); Molchanov et al., ICLR 2017,
          arXiv:1611.06440 (normalisation by layer).
Differs   A unit that several layers make has the norm of all its filters together; Li et al. take
          those of the projected shortcut alone.
Read      groups.py first. importance_taylor.py and importance_variance.py look at data.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.pruning.structured.groups import Graph, Group, Member, slices, tensor_of

Scores = dict[str, Tensor]  # by group, (units,), higher is more worth keeping
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)


def filter_norms(model: nn.Module, graph: Graph, order: Literal[1, 2] = 1) -> Scores:
    """The L1 or L2 norm of the filters that make each unit."""
    return {
        name: torch.linalg.vector_norm(_filters(model, group), order, dim=1)
        for name, group in graph.groups.items()
    }


@torch.no_grad()
def group_norms(model: nn.Module, graph: Graph) -> Scores:
    """The L2 norm of all parameters of each unit; running statistics are none."""
    found = {}
    for name, group in graph.groups.items():
        owned = [
            slices(model, each)
            for each in group.members
            if isinstance(tensor_of(model, each.tensor), nn.Parameter)
        ]
        found[name] = torch.linalg.vector_norm(torch.cat(owned, dim=1), dim=1)
    return found


def filter_distances(model: nn.Module, graph: Graph) -> Scores:
    """The sum of distances from each unit's filters to those of all other units of its group."""
    found = {}
    for name, group in graph.groups.items():
        filters = _filters(model, group)
        # Differences, not products: equal filters are at distance 0, not at a rounding error.
        mode = "donot_use_mm_for_euclid_dist"
        found[name] = torch.cdist(filters, filters, compute_mode=mode).sum(1)
    return found


@torch.no_grad()
def norm_scales(model: nn.Module, graph: Graph) -> Scores:
    """|gamma|, mean over the norms that each unit passes.

    Raises:
        ValueError: a group that no norm with a scale follows; it is named.
    """
    found = {}
    for name, group in graph.groups.items():
        scales = norm_members(model, group, "weight")
        if not scales:
            raise ValueError(f"no norm has a scale for the channels of {name!r}; score its filters")
        rows = torch.cat([slices(model, each) for each in scales], dim=1)
        found[name] = rows.abs().mean(1)
    return found


def slimming_penalty(model: nn.Module) -> Float[Tensor, ""]:
    """sum |gamma| over all batch norms, to be added to the loss times a small factor.

    Raises:
        ValueError: the model has no batch norm with a scale.
    """
    scales = [
        module.weight.abs().sum()
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.weight is not None
    ]
    if not scales:
        raise ValueError(f"{type(model).__name__} has no batch norm with a scale to be made sparse")
    return torch.stack(scales).sum()


def random_scores(graph: Graph, generator: torch.Generator) -> Scores:
    return {
        name: torch.rand(group.size, generator=generator) for name, group in graph.groups.items()
    }


def normalised(scores: Scores, by: Literal["mean", "norm", "max"]) -> Scores:
    """Each group's scores divided by their mean, L2 norm or maximum; zeros stay zeros."""
    size = {"mean": torch.mean, "norm": torch.linalg.vector_norm, "max": torch.amax}[by]
    return {name: each / size(each) if each.any() else each for name, each in scores.items()}


def norm_members(model: nn.Module, group: Group, child: str) -> list[Member]:
    """The `weight` (gamma) or `bias` (beta) of the norms in a group."""
    return [each for each in group.members if _belongs(model, each, child, NORMS)]


def bias_members(model: nn.Module, group: Group) -> list[Member]:
    """The biases of the layers that make a group."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    return [each for each in group.members if _belongs(model, each, "bias", kinds)]


def _belongs(
    model: nn.Module, member: Member, child: str, kinds: tuple[type[nn.Module], ...]
) -> bool:
    parent, _, name = member.tensor.rpartition(".")
    return name == child and isinstance(model.get_submodule(parent), kinds)


@torch.no_grad()
def _filters(model: nn.Module, group: Group) -> Float[Tensor, "units values"]:
    return torch.cat([slices(model, each) for each in group.makers], dim=1)
