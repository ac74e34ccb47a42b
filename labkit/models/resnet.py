"""The residual network of the image labs, in the smallest form that shows every coupling."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.models.specs import ResNetSpec

STAGES = 3


class ResNet(nn.Module):
    def __init__(self, spec: ResNetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem = ConvNorm(spec.in_channels, spec.width, 3, 1, spec.batch_norm)
        blocks = []
        channels = spec.width
        for stage in range(STAGES):
            for index in range(spec.blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                out = spec.width * 2**stage
                blocks.append(Block(channels, out, stride, spec.batch_norm))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, spec.classes)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        features = self.blocks(F.relu(self.stem(images)))
        return self.head(features.mean(dim=(2, 3)))


class Block(nn.Module):
    """Two convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.first = ConvNorm(channels, out, 3, stride, batch_norm)
        self.second = ConvNorm(out, out, 3, 1, batch_norm)
        same = stride == 1 and channels == out
        self.shortcut = nn.Identity() if same else ConvNorm(channels, out, 1, stride, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ConvNorm(nn.Module):
    """A convolution and its batch norm, or the one convolution that both fold into."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=not batch_norm)
        self.norm = nn.BatchNorm2d(out) if batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))
