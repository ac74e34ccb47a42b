"""A labkit model on the wire: its spec and its tensors, and nothing that a spec does not say.

A model that was changed beyond its spec (another layer, a hook, a parametrization) would arrive
as something else than what was sent, so it does not cross as data.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autograder.wire_tensors import WireError
from labkit.models import Spec, build, layer_count, spec_from_dict, spec_of, spec_to_dict

MAX_LAYERS = 256  # Llama-2-70B has 80
MAX_SPEC_NUMBER = 2**40
MAX_BUFFER_BYTES = 64 * 1024**2  # what a model makes for itself beside the tensors that came

State = Mapping[str, Tensor]


def is_described(model: nn.Module) -> bool:
    """Whether the spec of a model, and its tensors, are all that there is to it."""
    spec = spec_of(model)
    if spec is None or any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()):
        return False
    skeleton = _skeleton(spec)
    return all(said(skeleton) == said(model) for said in (_kinds, _shapes, _ties))


def encode_model(model: nn.Module, store: Callable[[Tensor], str]) -> dict[str, Any]:
    """Raises WireError if the model is not what its spec says."""
    spec = spec_of(model)
    if spec is None or not is_described(model):
        raise WireError(
            f"a {type(model).__name__} that is not what a spec of labkit.models builds cannot "
            "cross; return one that `labkit.models.build` made, with tensors of its own"
        )
    shared = _ties(model)
    state = {key: store(part) for key, part in model.state_dict().items() if key not in shared}
    return {"model": spec_to_dict(spec), "state": state}


def decode_model(tree: Mapping[str, Any], take: Callable[[Any], Tensor]) -> nn.Module:
    """The model, in evaluation mode. Nothing is allocated that the tensors do not back.

    Raises:
        WireError: the tensors are not those of the spec, or the spec asks for too much.
    """
    state = {key: take(index) for key, index in tree["state"].items()}
    spec = decode_spec(tree["model"])
    _check_backed(spec, state)
    skeleton = _skeleton(spec)
    wanted, found = _shapes(skeleton), {key: part.shape for key, part in state.items()}
    if found != wanted:
        raise WireError(f"a model whose tensors are not its spec's: {_difference(found, wanted)}")
    own = sum(math.prod(part.shape) * part.element_size() for part in skeleton.buffers())
    if own > MAX_BUFFER_BYTES:
        raise WireError(f"a model with {own} bytes of buffers; at most {MAX_BUFFER_BYTES}")
    # Not on meta, where buffers would have no values. Its draws are not the hidden test's.
    with torch.random.fork_rng(devices=[]):
        model = build(spec)
    shared = _ties(model)
    model.load_state_dict(dict(state), strict=False, assign=True)  # the names were compared above
    for name, first in shared.items():
        layer, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(layer), leaf, model.get_parameter(first))
    return model.eval()


def decode_spec(fields: Mapping[str, Any]) -> Spec:
    """Raises WireError if a field is not a number, a string or a list of whole numbers."""
    for name, value in fields.items():
        parts = value if isinstance(value, list | tuple) else [value]
        if not all(_is_plain(part) for part in parts) or len(parts) > MAX_LAYERS:
            raise WireError(f"a model spec whose {name} is {str(value)[:40]}")
    return spec_from_dict(fields)


def _is_plain(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, int | float) and abs(value) <= MAX_SPEC_NUMBER  # NaN is not
    )


def _check_backed(spec: Spec, state: State) -> None:
    """What is made before shapes can be compared must be no more than what the tensors show."""
    layers, largest = layer_count(spec), max(max(p.shape, default=0) for p in state.values())
    if not isinstance(layers, int) or layers > min(len(state), MAX_LAYERS):
        raise WireError(
            f"a model spec with {layers} layers for {len(state)} tensors; at most {MAX_LAYERS} "
            "layers may cross"
        )
    classes = getattr(spec, "classes", 0)  # transformers names each of them
    if classes > largest:
        raise WireError(f"a model spec with {classes} classes, but no tensor has so many rows")


def _skeleton(spec: Spec) -> nn.Module:
    with torch.device("meta"):  # a forged spec must not allocate what no tensor backs
        return build(spec)


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    """Of every tensor that crosses: what layers share does so once."""
    shared = _ties(model)
    return {key: part.shape for key, part in model.state_dict().items() if key not in shared}


def _ties(model: nn.Module) -> dict[str, str]:
    """Names of parameters that layers share, each with the name under which it stands first."""
    first: dict[int, str] = {}
    named = model.named_parameters(remove_duplicate=False)
    return {key: first[id(p)] for key, p in named if first.setdefault(id(p), key) != key}


def _kinds(model: nn.Module) -> dict[str, type]:
    return {name: type(module) for name, module in model.named_modules()}


def _difference(found: Mapping[str, torch.Size], wanted: Mapping[str, torch.Size]) -> str:
    name = next(key for key in (*wanted, *found) if found.get(key) != wanted.get(key))
    shapes = [None if part is None else tuple(part) for part in (found.get(name), wanted.get(name))]
    return f"{name} has shape {shapes[0]}, expected {shapes[1]}"
