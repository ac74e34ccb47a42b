"""Gradients through a function that answers from another process.

A tensor that needs a gradient crosses as a variable. The student's process keeps what it computed
from it; where the hidden test goes backward, the gradient of the answer goes there and the
gradients of the arguments come back, as data like any other answer. First derivatives only.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Back = Callable[[Tensor], list[Tensor | None]]  # an answer's gradient to its arguments' gradients


def join(answer: Tensor, arguments: list[Tensor], back: Back) -> Tensor:
    """The answer as a function of the arguments, differentiated by `back`."""
    joined: Tensor = _Elsewhere.apply(answer, back, *arguments)
    return joined


class Tape:
    """What the student's process keeps of one call: variables that came and that went."""

    def __init__(self) -> None:
        self.arguments: list[Tensor] = []
        self.answers: list[Tensor] = []

    def variable(self, tensor: Tensor) -> Tensor:
        self.arguments.append(tensor.requires_grad_())
        return tensor

    def back(self, answer: int, gradient: Tensor) -> list[Tensor | None]:
        """The gradient of each argument; None where the answer does not depend on it."""
        found = torch.autograd.grad(
            self.answers[answer], self.arguments, gradient, retain_graph=True, allow_unused=True
        )
        return list(found)


class _Elsewhere(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, answer: Tensor, back: Back, *arguments: Tensor) -> Tensor:
        ctx.back, ctx.count = back, len(arguments)
        return answer.view_as(answer)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        found = ctx.back(gradient)
        if not isinstance(found, list) or len(found) != ctx.count:
            raise RuntimeError(f"a gradient for each of {ctx.count} arguments should have come")
        return (None, None, *found)
