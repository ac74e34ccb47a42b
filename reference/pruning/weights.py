"""Which weights of a model are pruned, and masks put on them.

Biases and norms are few and matter much; embeddings are tables that are looked up, not multiplied.
So pruning means the weights of convolutions and linear layers, unless told otherwise.

Source    Gale et al., "The State of Sparsity in Deep Neural Networks", 2019, arXiv:1902.09574,
          section 3 (what is pruned, what is spared).
Read      masks.py first.
"""

import copy
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear, Conv1D)  # Conv1D: GPT-2's linear layer, transposed


def prunable_weights(model: nn.Module, spared: Collection[str] = ()) -> dict[str, nn.Parameter]:
    """The weights of convolutions and linear layers by parameter name, in the model's order.

    `spared` names modules that keep everything, with all that is inside them. A weight that is tied
    to an embedding is the embedding's; one shared by two layers stands under its first name.

    Raises:
        ValueError: `spared` names no module of this model.
    """
    modules = dict(model.named_modules())
    for name in spared:
        if name not in modules:
            raise ValueError(f"there is no module {name!r} to spare in {type(model).__name__}")
    taken = {id(p) for name in spared for p in modules[name].parameters()}
    tables = (each for each in modules.values() if isinstance(each, nn.Embedding))
    taken |= {id(each.weight) for each in tables}
    found: dict[str, nn.Parameter] = {}
    for name, module in modules.items():
        if isinstance(module, LAYERS) and id(module.weight) not in taken:
            taken.add(id(module.weight))
            found[f"{name}.weight" if name else "weight"] = module.weight
    return found


@torch.no_grad()
def apply_masks_(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Zero what the masks remove, in place.

    Raises:
        ValueError: a mask names no parameter of this model, or has another shape.
    """
    for name, weight in named(model, masks).items():
        weight.masked_fill_(~masks[name].to(weight.device), 0)


def masked(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the model with what the masks remove at zero."""
    found = copy.deepcopy(model)
    apply_masks_(found, masks)
    return found


def named(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
    """The parameters that masks belong to.

    Raises:
        ValueError: a mask names no parameter of this model, or has another shape.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, mask in masks.items():
        if name not in parameters:
            raise ValueError(f"there is no parameter {name!r} in {type(model).__name__}")
        if parameters[name].shape != mask.shape:
            shapes = f"{tuple(mask.shape)}, the parameter {tuple(parameters[name].shape)}"
            raise ValueError(f"the mask of {name!r} has shape {shapes}")
    return {name: parameters[name] for name in masks}
