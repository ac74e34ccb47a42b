"""Random features of two networks, and small convolutional networks to take them from."""

import torch
from torch import nn

from reference.distillation.outputs import Batch

CHANNELS, SIZE, CLASSES = 2, 8, 3


def rows(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rotation(seed: int, width: int) -> torch.Tensor:
    return torch.linalg.qr(rows(seed, width, width)).Q


def conv_net(width: int, seed: int = 0) -> nn.Sequential:
    """Two convolutions of 3x3, each with a ReLU, and a linear head on the mean of the maps."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(CHANNELS, width, 3, 1, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, 2, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, CLASSES),
        )


def images(seed: int = 0, count: int = 32) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randn(count, CHANNELS, SIZE, SIZE, generator=generator)
    labels = pictures.mean((2, 3)).mul(20).sum(1).round().long() % CLASSES
    return [Batch(pictures[i : i + 8], labels[i : i + 8]) for i in range(0, count, 8)]


def image_epoch(generator: torch.Generator) -> list[Batch]:
    found = images()
    return [found[i] for i in torch.randperm(len(found), generator=generator).tolist()]
