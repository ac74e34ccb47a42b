"""A small classification that trains in milliseconds."""

import torch
from torch import nn

from reference.distillation.outputs import Batch

FEATURES, CLASSES, ROWS = 6, 3, 32


def net(hidden: int = 8, seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, CLASSES)
        )


def batches(seed: int = 0, rows: int = ROWS) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, FEATURES, generator=generator)
    labels = inputs[:, :CLASSES].argmax(1)
    return [Batch(inputs[i : i + 8], labels[i : i + 8]) for i in range(0, rows, 8)]


def epoch(generator: torch.Generator) -> list[Batch]:
    found = batches()
    return [found[i] for i in torch.randperm(len(found), generator=generator).tolist()]
