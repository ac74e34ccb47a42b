"""Cutting one layer: kept rows and columns as new parameters, and the layer's own sizes with them.

    linear layer          weight (out, in), bias (out)
    GPT-2's Conv1D        weight (in, out), bias (out)
    convolution           weight (out, in, h, w), bias (out)
    norms and tables      the width on the last axis

Every function changes the module that it is given, and no tensor: other holders of the old
parameters, the original model among them, keep what they had.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

Kept = Int[Tensor, "_"]  # positions in ascending order


def sizes(layer: nn.Module) -> tuple[int, int]:
    """(outputs, inputs) of a linear layer in either layout."""
    rows, columns = of_outputs(layer).shape
    return rows, columns


def of_outputs(layer: nn.Module) -> Float[Tensor, "outputs inputs"]:
    """The weight with a row for each output, in either layout."""
    return layer.weight.T if isinstance(layer, Conv1D) else layer.weight


def cut_outputs_(layer: nn.Module, kept: Kept) -> None:
    select_(layer, "weight", 1 if isinstance(layer, Conv1D) else 0, kept)
    select_(layer, "bias", 0, kept)
    _say_(layer, ("out_features", "out_channels", "nf"), len(kept))


def cut_inputs_(layer: nn.Module, kept: Kept) -> None:
    select_(layer, "weight", 0 if isinstance(layer, Conv1D) else 1, kept)
    _say_(layer, ("in_features", "nx"), len(kept))


def cut_norm_(norm: nn.Module, kept: Kept) -> None:
    """Statistics are over the kept features from now on."""
    select_(norm, "weight", 0, kept)
    select_(norm, "bias", 0, kept)
    if isinstance(norm, nn.LayerNorm):
        norm.normalized_shape = (len(kept),)


def cut_table_(table: nn.Embedding, kept: Kept) -> None:
    select_(table, "weight", 1, kept)
    table.embedding_dim = len(kept)


def resize_(layer: nn.Module, outputs: int, inputs: int) -> None:
    """Other sizes with weights at zero: a place for weights that are loaded."""
    shape = (inputs, outputs) if isinstance(layer, Conv1D) else (outputs, inputs)
    layer.weight = nn.Parameter(layer.weight.new_zeros(shape))
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.new_zeros(outputs))
    _say_(layer, ("out_features", "nf"), outputs)
    _say_(layer, ("in_features", "nx"), inputs)


def select_(module: nn.Module, name: str, axis: int, kept: Kept) -> None:
    old = getattr(module, name, None)
    if old is not None:
        chosen = old.detach().index_select(axis, kept.to(old.device))
        setattr(module, name, nn.Parameter(chosen, requires_grad=old.requires_grad))


def ties(model: nn.Module) -> list[list[str]]:
    """The names of each parameter that has several."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [each for each in names.values() if len(each) > 1]


def tie_(model: nn.Module, names: list[list[str]]) -> None:
    """Make each list of names one parameter again: the first's.

    Raises:
        ValueError: two of them no longer hold the same values.
    """
    for first, *others in names:
        for other in others:
            if not torch.equal(model.get_parameter(first), model.get_parameter(other)):
                raise ValueError(f"{first} and {other} were tied and were cut differently")
            parent, _, child = other.rpartition(".")
            setattr(model.get_submodule(parent), child, model.get_parameter(first))


def _say_(layer: nn.Module, names: tuple[str, ...], size: int) -> None:
    for name in names:
        if hasattr(layer, name):
            setattr(layer, name, size)
