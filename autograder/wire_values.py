"""Values on the wire: a JSON tree, and the tensors that it names.

What `decode` makes is of exact, plain types, so whatever a student's class does with its
operators stays in the student's process. It costs the reader no more than a small multiple of
what came: depth, integers, keys, tensors and models are bounded, and a tensor is named once.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autograder import references, wire_models, wire_tensors
from autograder.references import Reference
from autograder.wire_tensors import WireError
from labkit.models import FAMILIES, spec_to_dict

MAX_DEPTH = 32
MAX_INT_BITS = 512
MAX_MIXED_KEYS = 1024  # of a dict whose keys are not all strings: the hashes of ints can be chosen

Refer = Callable[[object], Reference | None]  # what stands for a value; None: the value itself
Resolve = Callable[[Reference], Any]
Join = Callable[[Tensor], Tensor]


def encode(
    value: object, refer: Refer = lambda _: None, variables: list[Tensor] | None = None
) -> tuple[Any, bytes]:
    """A value as a JSON tree and the tensors that it refers to.

    Args:
        refer: says what is sent as a reference instead of a value.
        variables: if given, tensors that need a gradient cross as such, and are appended to it.

    Raises:
        WireError: a type that has no form on the wire, or a number that is not finite.
    """
    encoder = _Encoder(refer, variables)
    return encoder.tree(value, 0), wire_tensors.pack(encoder.tensors)


def decode(tree: Any, blob: bytes, resolve: Resolve | None = None, join: Join | None = None) -> Any:
    """The inverse of `encode`; every number and every tensor is finite, every type a plain one.

    Args:
        resolve: what a reference stands for here; without it, references are refused.
        join: makes what a variable is here of its numbers; without it, variables are refused.

    Raises:
        WireError: the tree or the blob is not what `encode` writes.
    """
    try:
        return _Decoder(wire_tensors.unpack(blob), resolve, join).value(tree, 0)
    except WireError:
        raise
    except Exception as error:  # whatever a forged frame provokes is the sender's fault
        raise WireError(f"a value that cannot be read: {str(error)[:500]}") from error


class _Encoder:
    def __init__(self, refer: Refer, variables: list[Tensor] | None) -> None:
        self.refer, self.variables = refer, variables
        self.tensors: list[Tensor] = []

    def tree(self, value: object, depth: int) -> Any:
        _check_depth(depth)
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int | float | np.generic):
            return _number(value)
        if (reference := self.refer(value)) is not None:
            return {"reference": references.to_tree(reference)}
        if isinstance(value, list | tuple | dict | range | slice):
            return self.container(value, depth + 1)
        if isinstance(value, Tensor | np.ndarray | bytes):
            return self.numbers(value)
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if type(value) in FAMILIES.values():
            return {"spec": spec_to_dict(value)}  # type: ignore[arg-type]
        if isinstance(value, nn.Module):
            return wire_models.encode_model(value, self.store)
        raise WireError(
            f"a {type(value).__name__} cannot be returned to the grader; return None, numbers, "
            "strings, lists, tuples, dicts, tensors, arrays or a labkit model"
        )

    def container(
        self, value: list[Any] | tuple[Any, ...] | dict[Any, Any] | range | slice, depth: int
    ) -> Any:
        if isinstance(value, dict):
            return self.mapping(value, depth)
        if isinstance(value, range | slice):
            parts = [value.start, value.stop, value.step]
            return {type(value).__name__: [self.tree(part, depth) for part in parts]}
        names = {list: "list", torch.Size: "size"}
        kind = next((name for type_, name in names.items() if isinstance(value, type_)), "tuple")
        return {kind: [self.tree(item, depth) for item in value]}

    def mapping(self, value: dict[Any, Any], depth: int) -> Any:
        if all(isinstance(key, str) for key in value):
            return {"dict": {key: self.tree(item, depth) for key, item in value.items()}}
        pairs = [[self.tree(_key(k), depth), self.tree(v, depth)] for k, v in value.items()]
        return {"mapping": pairs}

    def numbers(self, value: Tensor | np.ndarray[Any, Any] | bytes) -> Any:
        if isinstance(value, Tensor):
            if self.variables is None or not value.requires_grad:
                return {"tensor": self.store(value)}
            self.variables.append(value)
            return {"variable": self.store(value)}
        if isinstance(value, bytes):
            return {"bytes": self.store(torch.tensor(list(value), dtype=torch.uint8))}
        if value.dtype.kind not in "biuf":
            raise WireError(f"an array of {value.dtype} cannot cross; use booleans or numbers")
        return {"array": self.store(torch.from_numpy(np.asarray(value, order="C")))}

    def store(self, tensor: Tensor) -> str:
        wire_tensors.check(tensor)
        self.tensors.append(tensor.detach().cpu().contiguous().clone())
        return str(len(self.tensors) - 1)


class _Decoder:
    def __init__(
        self, tensors: dict[str, Tensor], resolve: Resolve | None, join: Join | None
    ) -> None:
        self.tensors, self.resolve, self.join = tensors, resolve, join

    def value(self, tree: Any, depth: int) -> Any:
        _check_depth(depth)
        if tree is None or isinstance(tree, bool | str):
            return tree
        if isinstance(tree, int | float):
            return _number(tree)
        if not isinstance(tree, dict):
            raise WireError(f"a {type(tree).__name__} where a value should stand")
        if set(tree) == {"model", "state"}:
            return wire_models.decode_model(tree, self.take)
        if len(tree) != 1:
            raise WireError(f"a value with the fields {sorted(tree)[:8]}")
        ((kind, content),) = tree.items()
        return self.container(kind, content, depth + 1)

    def container(self, kind: str, content: Any, depth: int) -> Any:
        if kind in ("list", "tuple", "size", "range", "slice"):
            return self.sequence(kind, [self.value(item, depth) for item in content])
        if kind == "dict":
            return {key: self.value(item, depth) for key, item in content.items()}
        if kind == "mapping" and len(content) <= MAX_MIXED_KEYS:
            return {_key(self.value(k, depth)): self.value(v, depth) for k, v in content}
        if kind in ("tensor", "array", "bytes"):
            return self.numbers(kind, self.take(content))
        if kind == "variable" and self.join is not None:
            return self.join(self.take(content))
        if kind == "dtype":
            return _dtype(content)
        if kind == "spec":
            return wire_models.decode_spec(content)
        if kind == "reference" and self.resolve is not None:
            return self.resolve(references.from_tree(content))
        raise WireError(f"a value of the kind {kind[:40]!r}")

    def sequence(self, kind: str, items: list[Any]) -> Any:
        if kind in ("range", "slice"):
            if len(items) != 3:
                raise WireError(f"a {kind} of {len(items)} parts")
            return range(*items) if kind == "range" else slice(*items)
        make: dict[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "size": torch.Size}
        return make[kind](items) if kind in make else items

    def numbers(self, kind: str, tensor: Tensor) -> Any:
        if kind == "bytes":
            return tensor.numpy().tobytes()
        return tensor if kind == "tensor" else tensor.numpy()

    def take(self, key: Any) -> Tensor:
        """Each tensor once: many places for one tensor would make much out of little."""
        if key not in self.tensors:
            raise WireError(f"the tensor {str(key)[:40]!r}, which did not come or was used before")
        return self.tensors.pop(key)


def _number(value: float | np.generic) -> Any:
    number = value.item() if isinstance(value, np.generic) else value
    if isinstance(number, bool):
        return number
    if isinstance(number, int):
        if abs(number) >> MAX_INT_BITS:
            raise WireError(f"an integer of more than {MAX_INT_BITS} bits")
        return int(number)
    if not isinstance(number, float):
        raise WireError(f"a {type(value).__name__} cannot cross; use real numbers")
    if not math.isfinite(number):
        raise WireError(f"the number {float(number)} is not finite")
    return float(number)


def _dtype(name: Any) -> torch.dtype:
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise WireError(f"the dtype {str(name)[:40]!r}")
    return found


def _key(key: object) -> object:
    if key is None or isinstance(key, bool | int | float | str):
        return key
    if isinstance(key, tuple):
        return tuple(_key(part) for part in key)
    raise WireError(
        f"a dict key is a {type(key).__name__}; keys may be strings, numbers, None, and tuples"
    )


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise WireError(f"a value nested more than {MAX_DEPTH} deep")
