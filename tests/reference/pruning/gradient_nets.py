"""Small networks in float64, whose derivatives can be checked by differences."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Batch = tuple[Tensor, Tensor]


def chain(
    widths: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU, bias: bool = False
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for d_in, d_out in pairwise(widths):
        layers += [nn.Linear(d_in, d_out, bias=bias), activation()]
    return nn.Sequential(*layers[:-1]).double()


def conv_net() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(20, 3),
    ).double()


def pictures(count: int = 2, size: int = 5) -> list[Batch]:
    return [
        (torch.randn(size, 2, 8, 8).double(), torch.randint(0, 3, (size,))) for _ in range(count)
    ]


def vectors(d_in: int, classes: int, count: int = 2, size: int = 6) -> list[Batch]:
    return [
        (torch.randn(size, d_in).double(), torch.randint(0, classes, (size,))) for _ in range(count)
    ]


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def positive_definite(n: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(n, n, generator=torch.Generator().manual_seed(seed)).double()
    return drawn @ drawn.T / n + 0.1 * torch.eye(n).double()


class Quadratic(nn.Module):
    """A linear layer's weight w, and the loss w' A w / 2 or one with its minimum at w."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(len(matrix), 1, bias=False).double()
        self.matrix = matrix
        self.minimum = torch.zeros(len(matrix)).double()

    def forward(self, _: Any = None) -> Tensor:
        change = self.layer.weight[0] - self.minimum
        return change @ self.matrix @ change / 2


def its_own(model: nn.Module, batch: Any) -> Tensor:
    return model(batch)
