"""Logits that no network needs to have given, in float64, and the smallest network of words."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from reference.distillation.outputs import IGNORED, Batch


def logits(seed: int, *shape: int, spread: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(*shape, generator=generator, dtype=torch.float64)


def labels(seed: int, classes: int, *shape: int) -> Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed + 7000))


def batch(wanted: Tensor) -> Batch:
    return Batch(torch.zeros(len(wanted), 1), wanted)


def padded_labels(seed: int, classes: int) -> Tensor:
    """Three texts of five, three and four labels in six places."""
    wanted = labels(seed, classes, 3, 6)
    for row, count in enumerate((5, 3, 4)):
        wanted[row, count:] = IGNORED
    return wanted


def gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    point = at.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(point), point)[0]


class Words(nn.Module):
    """Enough of a language model to be tapped: what stands at a place, and what to say there."""

    def __init__(self, vocabulary: int, width: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(vocabulary, width)
            self.hidden = nn.Linear(width, width)
            self.head = nn.Linear(width, vocabulary)

    def forward(self, input_ids, attention_mask=None):
        return self.head(self.hidden(self.embedding(input_ids)))
