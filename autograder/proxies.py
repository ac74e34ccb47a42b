"""What a hidden test holds in place of a student's function, class or object.

Each use is a question to the student's process. Arguments go there as data, or as references to
what lives there; the answer comes back as data. Objects stay there (contracts.py says when they
may), and are asked by number.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor

from autograder import references, wire
from autograder.contracts import Contracts
from autograder.deadline import uninterrupted
from autograder.gradients import join
from autograder.references import Held, Named, Reference
from autograder.run import RaisedByStudent, StudentProcess

# What a hidden test may expect a function to raise; anything else arrives as RuntimeError.
RERAISED: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (ValueError, TypeError, NotImplementedError, IndexError, KeyError)
}
# Methods of nn.Module that answer with the object they were called on.
CHAINED = frozenset({"cpu", "double", "eval", "float", "half", "requires_grad_", "to", "train"})


class Examined:
    """A student's process as one exercise sees it, and the objects that it holds for it."""

    def __init__(self, process: StudentProcess, contracts: Contracts) -> None:
        self.process, self.contracts = process, contracts
        self.held: dict[int, Proxy] = {}
        self.calls = 0

    def name(self, name: str) -> "Proxy":
        return Proxy(self, Named(name), name)

    def call(
        self, on: Named | Held, label: str, args: tuple[Any, ...], named: Mapping[str, Any]
    ) -> Any:
        """What a call answers: an object only where the source says so, else data."""
        variables = list[Tensor]()
        needed = variables if torch.is_grad_enabled() else None
        tree, blob = wire.encode((args, dict(named)), _reference_to, needed)
        hold, tape, self.calls = label in self.contracts.objects, self.calls, self.calls + 1
        answers = count()

        def resolve(reference: Reference) -> Proxy:
            if isinstance(reference, Held) and not reference.attribute:
                if hold:
                    made = Proxy(self, reference, label.split(".")[0])
                    return self.held.setdefault(reference.number, made)
                if on.attribute in CHAINED and reference == replace(on, attribute=""):
                    return self.held[reference.number]
            raise wire.WireError("an object where data should be; return tensors or numbers")

        def joined(answer: Tensor) -> Tensor:
            back = partial(self._back, on, label, {"tape": tape, "back": next(answers)})
            return join(answer, variables, back)

        question = {"args": tree, "hold": hold, "tape": tape}
        return self._asked(on, label, question, blob, resolve, joined if variables else None)

    def _back(
        self, on: Reference, label: str, question: wire.Message, gradient: Tensor
    ) -> list[Tensor | None]:
        tree, blob = wire.encode(gradient)
        return self._asked(on, f"{label}'s backward", {**question, "args": tree}, blob)

    def read(self, on: Named | Held, label: str) -> Any:
        """An attribute: data, or a method that is called next."""

        def resolve(reference: Reference) -> Proxy:
            if reference == on:
                return Proxy(self, on, label)
            raise wire.WireError("an object where data should be; read tensors or numbers")

        return self._asked(on, label, {}, b"", resolve)

    def _asked(
        self,
        on: Reference,
        label: str,
        question: wire.Message,
        blob: bytes,
        resolve: wire.Resolve | None = None,
        joined: wire.Join | None = None,
    ) -> Any:
        try:
            with uninterrupted():
                answer = self.process.answer({**question, "on": references.to_tree(on)}, blob)
            return wire.decode(*answer, resolve, joined)
        except wire.WireError as error:
            raise RuntimeError(f"{label} raised WireError: {error}") from error
        except RaisedByStudent as raised:
            kind = RERAISED.get(raised.kind, RuntimeError)
            said = str(raised) if kind is not RuntimeError else f"{raised.kind}: {raised}"
            raise kind(f"{label} raised {said}") from raised


class Proxy:
    """Call it, read and set its attributes, take its items: all of it happens over there."""

    __slots__ = ("_examined", "_label", "_reference")
    _examined: Examined
    _label: str
    _reference: Named | Held

    def __init__(self, examined: Examined, reference: Named | Held, label: str) -> None:
        for name, value in zip(self.__slots__, (examined, label, reference), strict=True):
            object.__setattr__(self, name, value)

    def __call__(self, *args: Any, **named: Any) -> Any:
        if isinstance(self._reference, Held) and not self._reference.attribute:
            return self._dunder("__call__", *args, **named)
        return self._examined.call(self._reference, self._label, args, named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # no protocol of Python or torch is left to the student's process
            raise AttributeError(name)
        return self._examined.read(self._at(name), f"{self._label}.{name}")

    def __setattr__(self, name: str, value: object) -> None:
        self._dunder("__setattr__", name, value)

    def __len__(self) -> Any:
        return self._dunder("__len__")

    def __getitem__(self, key: object) -> Any:
        return self._dunder("__getitem__", key)

    def __setitem__(self, key: object, value: object) -> None:
        self._dunder("__setitem__", key, value)

    def __bool__(self) -> bool:
        return True

    def __instancecheck__(self, other: object) -> bool:
        if not isinstance(other, Proxy):
            return False
        return other._label == self._label and isinstance(other._reference, Held)

    def __repr__(self) -> str:
        return f"<{self._label} of the notebook>"

    def _dunder(self, name: str, *args: object, **named: object) -> Any:
        return self._examined.call(self._at(name), f"{self._label}.{name}", args, named)

    def _at(self, name: str) -> Named | Held:
        if self._reference.attribute:
            raise AttributeError(f"{self._label} has no attribute {name!r} that a test can use")
        return replace(self._reference, attribute=name)


def _reference_to(value: object) -> Reference | None:
    """What an argument travels as, if it is no data."""
    if isinstance(value, Proxy):
        return value._reference
    if isinstance(value, torch.Generator):
        return references.of_generator(value)
    if callable(value) and not isinstance(value, torch.nn.Module):
        if (library := references.of_library(value)) is not None:
            return library
        raise wire.WireError(
            f"{value!r} is defined in the hidden test and stays there; a function may be the "
            "student's own, or one of torch or labkit"
        )
    return None
