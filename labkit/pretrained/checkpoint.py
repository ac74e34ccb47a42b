"""Tensors of a PyTorch checkpoint in the format before 1.6, read without running any of it.

Such a file is five pickles one after the other (a magic number, the protocol, the machine, the
objects, the storages' keys) and then every storage as its length and its bytes. A pickle is a
program for a stack machine. Here its opcodes are only listed (`pickletools`) and followed for the
few that a dictionary of tensors consists of; anything else, calls above all, is refused.
"""

import io
import math
import pickletools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

MAGIC = 0x1950A86A20F9469CFC6C
DTYPES: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch LongStorage": np.dtype("<i8"),
}
GLOBALS = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", *DTYPES}
COUNT_BYTES = 8
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"}
SKIPPED = {"PROTO", "STOP"}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class CheckpointRefused(ValueError):
    """The file is not a plain dictionary of tensors, or not of this format."""


class Global(NamedTuple):
    name: str


class Storage(NamedTuple):
    key: str
    dtype: np.dtype[Any]
    elements: int


class Placed(NamedTuple):
    """Where a tensor lies in a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(raw: bytes) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name.

    Raises:
        CheckpointRefused: an opcode, a global or a layout that a dictionary of tensors has not.
    """
    file = io.BytesIO(raw)
    try:
        magic, _, _, placed, keys = (_Reader().follow(file) for _ in range(5))
    except CheckpointRefused:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointRefused(f"the opcodes lead nowhere: {error}") from error
    if magic != MAGIC:
        raise CheckpointRefused(f"the file begins with {magic!r}, expected {MAGIC:#x}")
    if not isinstance(placed, dict) or not all(isinstance(p, Placed) for p in placed.values()):
        raise CheckpointRefused("the objects are not one dictionary of tensors")
    storages = {place.storage.key: place.storage for place in placed.values()}
    if set(keys) != set(storages):
        raise CheckpointRefused(f"{len(keys)} storages follow, {len(storages)} are spoken of")
    values = {key: _storage(file, storages[key]) for key in keys}
    return {name: _tensor(place, values[place.storage.key]) for name, place in placed.items()}


def _storage(file: io.BytesIO, storage: Storage) -> Tensor:
    length = file.read(COUNT_BYTES)
    raw = file.read(storage.elements * storage.dtype.itemsize)
    expected = storage.elements.to_bytes(COUNT_BYTES, "little")
    if length != expected or len(raw) != storage.elements * storage.dtype.itemsize:
        raise CheckpointRefused(f"storage {storage.key} is not {storage.elements} elements long")
    return torch.from_numpy(np.frombuffer(raw, storage.dtype).copy())


def _tensor(place: Placed, values: Tensor) -> Tensor:
    numbers = (*place.shape, *place.strides, place.offset)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise CheckpointRefused(f"{place.shape} with strides {place.strides} is not a layout")
    steps = zip(place.shape, place.strides, strict=True)
    reach = place.offset + sum((size - 1) * stride for size, stride in steps)
    if reach >= len(values) or math.prod(place.shape) > len(values):
        raise CheckpointRefused(f"a tensor of shape {place.shape} leaves its storage")
    return values.as_strided(place.shape, place.strides, place.offset).contiguous()


class _Reader:
    """The stack machine, with `Global`, `Storage` and `Placed` in place of what would be called."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def follow(self, file: io.BytesIO) -> Any:
        for name, argument in _opcodes(file):
            if name in SKIPPED:
                continue
            if name in LITERALS:
                self.stack.append(argument)
            elif name in CONSTANTS:
                self.stack.append(CONSTANTS[name])
            elif name in TUPLES:
                self.stack.append(tuple(self._pop(TUPLES[name])))
            elif name in ("BINPUT", "LONG_BINPUT"):
                self.memo[argument] = self.stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[argument])
            elif (action := getattr(self, f"_on_{name.lower()}", None)) is not None:
                action(argument)
            else:
                raise CheckpointRefused(f"opcode {name} does not occur in a dictionary of tensors")
        (result,) = self.stack
        return result

    def _pop(self, count: int) -> list[Any]:
        start = len(self.stack) - count
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _since_mark(self) -> list[Any]:
        return self._pop(len(self.stack) - self.marks.pop())

    def _on_mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def _on_tuple(self, _: None) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _on_empty_dict(self, _: None) -> None:
        self.stack.append({})

    def _on_empty_list(self, _: None) -> None:
        self.stack.append([])

    def _on_appends(self, _: None) -> None:
        items = self._since_mark()
        self.stack[-1].extend(items)

    def _on_setitem(self, _: None) -> None:
        key, value = self._pop(2)
        self.stack[-1][key] = value

    def _on_setitems(self, _: None) -> None:
        items = self._since_mark()
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def _on_build(self, _: None) -> None:
        self.stack.pop()  # the version numbers that PyTorch hangs on a state dict

    def _on_global(self, name: str) -> None:
        if name not in GLOBALS:
            raise CheckpointRefused(f"the global {name!r} is not one of {sorted(GLOBALS)}")
        self.stack.append(Global(name))

    def _on_binpersid(self, _: None) -> None:
        match self.stack.pop():
            case ("storage", Global(name=str(kind)), str(key), _, int(elements), None) if (
                kind in DTYPES
            ):
                self.stack.append(Storage(key, DTYPES[kind], elements))
            case other:
                raise CheckpointRefused(f"{other!r} does not describe a storage")

    def _on_reduce(self, _: None) -> None:
        match self._pop(2):
            case [Global(name="collections OrderedDict"), ()]:
                self.stack.append({})
            case [
                Global(name="torch._utils _rebuild_tensor_v2"),
                (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_),
            ]:
                if len(shape) != len(strides):
                    raise CheckpointRefused(f"shape {shape} has strides {strides}")
                self.stack.append(Placed(storage, offset, shape, strides))
            case [called, arguments]:
                raise CheckpointRefused(f"a call of {called!r} with {arguments!r}")


def _opcodes(file: io.BytesIO) -> Iterator[tuple[str, Any]]:
    for opcode, argument, _ in pickletools.genops(file):
        yield opcode.name, argument
