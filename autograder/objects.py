"""The student's side of references: what their process keeps for a hidden test, by number.

It runs beside the student's code, so it protects nothing; the grader checks what it says.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from autograder import references, wire
from autograder.gradients import Tape
from autograder.references import Drawing, Held, Named, Reference
from autograder.wire_models import is_described

NOTEBOOK = "__main__"  # the module of what cells define


class Objects:
    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names  # the notebook's
        self.kept: list[Any] = []
        self.tapes: dict[int, Tape] = {}  # by the number that the grader gave the call

    def answer(self, question: wire.Message, blob: bytes) -> tuple[Any, bytes]:
        """The value of an attribute, or of a call if the question has arguments."""
        if "back" in question:
            gradient = wire.decode(question["args"], blob)
            return wire.encode(self.tapes[question["tape"]].back(question["back"], gradient))
        on = references.from_tree(question["on"])
        target = self.resolve(on)
        if "args" in question:
            return self.called(target, question, blob)
        if inspect.isroutine(target):
            return {"reference": references.to_tree(on)}, b""
        return wire.encode(target, lambda value: self.refer(value, False))

    def called(self, target: Any, question: wire.Message, blob: bytes) -> tuple[Any, bytes]:
        tape = self.tapes[question["tape"]] = Tape()
        args, named = wire.decode(question["args"], blob, self.resolve, tape.variable)
        answer, hold = target(*args, **named), bool(question.get("hold"))
        variables = tape.answers if tape.arguments else None
        return wire.encode(answer, lambda value: self.refer(value, hold), variables)

    def resolve(self, reference: Reference) -> Any:
        """What a reference stands for in the notebook.

        Raises:
            NameError: the notebook does not define the name.
        """
        if isinstance(reference, Drawing):
            return references.to_generator(reference)
        if isinstance(reference, Named | Held):
            found = self._named(reference.name) if isinstance(reference, Named) else (
                self.kept[reference.number])  # fmt: skip
            return getattr(found, reference.attribute) if reference.attribute else found
        return references.to_library(reference)

    def refer(self, value: object, hold: bool) -> Reference | None:
        """A number for what is kept already, and if `hold`, for what is no data."""
        for number, kept in enumerate(self.kept):
            if kept is value:
                return Held(number)
        if not hold or not _is_object(value):
            return None
        self.kept.append(value)
        return Held(len(self.kept) - 1)

    def _named(self, name: str) -> Any:
        if name not in self.names:
            raise NameError(f"{name} is not defined in the notebook")
        return self.names[name]


def _is_object(value: object) -> bool:
    if type(value).__module__ == NOTEBOOK:
        return True
    return not is_described(value) if isinstance(value, nn.Module) else callable(value)
