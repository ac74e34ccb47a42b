"""Small random networks whose batch norm is not the identity."""

import torch
from torch import nn

from labkit.models import ResNet, ResNetSpec, build


def randomise_norms_(model: nn.Module) -> nn.Module:
    """Statistics and affine maps of any sign, as training would leave them."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.5)
            module.running_var.uniform_(0.3, 2.0)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias, std=0.3)
    return model.eval()


def resnet(width: int = 8) -> ResNet:
    return randomise_norms_(build(ResNetSpec(width=width, blocks=1)))


def images(count: int = 4, size: int = 16) -> torch.Tensor:
    return torch.randn(count, 3, size, size)
