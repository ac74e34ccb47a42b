"""What stands on the wire for something that stays in the student's process, or is made there.

A reference is a name or a number, so it carries no code. The grader sends all kinds; of the
student's process it accepts numbers of objects alone, and only where the source says that an
answer is an object (proxies.py).
"""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import torch

from autograder.wire_tensors import WireError

LIBRARIES = ("torch", "labkit")
HOMES = ("torch", "torch.nn.functional")  # where built-in functions of torch are found by name
MAX_NUMBER = 2**31


@dataclass(frozen=True)
class Named:
    """What the notebook calls `name`, or an attribute of it."""

    name: str
    attribute: str = ""


@dataclass(frozen=True)
class Held:
    """The object that the student's process keeps under a number, or an attribute of it."""

    number: int
    attribute: str = ""


@dataclass(frozen=True)
class Library:
    """A function or class of torch or labkit, by its module and its qualified name."""

    module: str
    name: str


@dataclass(frozen=True)
class Drawing:
    """A `torch.Generator`: made anew there, it draws what the original would draw next."""

    device: str
    state: str  # base64 of its bytes


Reference = Named | Held | Library | Drawing
KINDS: dict[str, type[Reference]] = {k.__name__: k for k in (Named, Held, Library, Drawing)}


def to_tree(reference: Reference) -> dict[str, Any]:
    return {"kind": type(reference).__name__, **asdict(reference)}


def from_tree(tree: Mapping[str, Any]) -> Reference:
    """Raises WireError if the tree is not what `to_tree` writes."""
    fields = dict(tree)
    kind = KINDS.get(fields.pop("kind", ""))
    if kind is None or set(fields) != set(kind.__dataclass_fields__):
        raise WireError(f"a reference with the fields {sorted(tree)}")
    for name, value in fields.items():
        if type(value) is not (int if name == "number" else str):
            raise WireError(f"a reference whose {name} is a {type(value).__name__}")
    if not 0 <= fields.get("number", 0) < MAX_NUMBER:
        raise WireError(f"an object with the number {fields['number']}")
    return kind(**fields)


def of_generator(generator: torch.Generator) -> Drawing:
    state = base64.b64encode(bytes(generator.get_state().tolist())).decode()
    return Drawing(str(generator.device), state)


def to_generator(drawing: Drawing) -> torch.Generator:
    state = bytearray(base64.b64decode(drawing.state))
    generator = torch.Generator(device=drawing.device)
    generator.set_state(torch.frombuffer(state, dtype=torch.uint8))
    return generator


def of_library(value: object) -> Library | None:
    """Where a function or class of torch or labkit is found; None if it is not one of theirs."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    plain = getattr(value, "__name__", "")
    for candidate in ((module, name), *((home, plain) for home in HOMES)):
        library = Library(*map(str, candidate))
        if _is_of_library(library.module) and _found(library) is value:
            return library
    return None


def to_library(library: Library) -> Any:
    """Raises WireError if it names nothing of torch or labkit."""
    value = _found(library) if _is_of_library(library.module) else None
    if value is None:
        raise WireError(f"{library.module}.{library.name} is not a function of torch or labkit")
    return value


def _is_of_library(module: str) -> bool:
    return module.split(".")[0] in LIBRARIES


def _found(library: Library) -> Any:
    value: Any = import_module(library.module)
    for part in library.name.split("."):
        value = getattr(value, part, None)
    return value
