"""Reading back a network whose channels were removed: its state says every size that it has.

    save_file(pruned.state_dict(), path)          as ever
    with_pruned_state(model, load_file(path))     the model as it was built, before any pruning

No spec or config holds widths that differ from layer to layer, and none is needed: a layer's sizes
are those of its tensors, and what they do not say, kernels, strides and groups, is the class's.

Differs   torch-pruning 1.6 saves the whole model with pickle, or attributes beside the state.
Left out  Layers that are gone: pruned_checkpoint.py has those of Transformers.
Read      remove.py first.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from reference.pruning.structured.module_sizes import owners, say_sizes_


def with_pruned_state(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the model with the sizes, values and dtypes of a pruned one's state.

    Ties stay ties; a tied tensor may stand in the state under one of its names or all of them.

    Raises:
        ValueError: the state lacks a tensor or has one too many, one with other axes than the
            model's or larger ones, or two values for what is tied.
    """
    found = copy.deepcopy(model)
    known = found.state_dict(keep_vars=True)
    if odd := sorted(state.keys() - known.keys()):
        raise ValueError(f"{odd[0]!r} is in the state and not in {type(model).__name__}")
    names: dict[int, list[str]] = {}
    for name, tensor in known.items():
        names.setdefault(id(tensor), []).append(name)
    holders, trained = owners(found), {id(each) for each in found.parameters()}
    for key, tied in names.items():
        old, values = known[tied[0]], _value(tied, state)
        _check(tied[0], old, values)
        own = values.detach().to(old.device, copy=True)
        new = nn.Parameter(own, old.requires_grad) if key in trained else own
        for module, child in holders[key]:
            setattr(module, child, new)
    for module in found.modules():
        say_sizes_(module)
    return found


def _value(names: list[str], state: Mapping[str, Tensor]) -> Tensor:
    given = [state[name] for name in names if name in state]
    if not given:
        raise ValueError(f"the state lacks {' or '.join(map(repr, names))}")
    if not all(torch.equal(given[0], each) for each in given[1:]):
        raise ValueError(f"{' and '.join(names)} are tied, and the state has two values for them")
    return given[0]


def _check(name: str, old: Tensor, new: Tensor) -> None:
    fits = old.ndim == new.ndim and all(a >= b for a, b in zip(old.shape, new.shape, strict=True))
    if not fits or old.is_floating_point() != new.is_floating_point():
        raise ValueError(
            f"{name!r} is {old.dtype} of shape {tuple(old.shape)} before pruning, and "
            f"{new.dtype} of shape {tuple(new.shape)} in the state"
        )
