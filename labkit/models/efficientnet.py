"""EfficientNet-lite: the convolutional network that was made for integers.

Inverted bottlenecks with ReLU6 in place of swish and without squeeze-and-excitation, because both
quantize badly, and with a stem and a head that do not grow with the width.

Source    Tan and Le, EfficientNet, ICML 2019, arXiv:1905.11946; the lite variant is Google's, 2020
          (tensorflow/tpu, models/official/efficientnet/lite).
Differs   Padding is computed from the image's size, so every size works, not the trained one alone.
Left out  Stochastic depth, which only training from scratch needs.
"""

import math
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.models.specs import EfficientNetLiteSpec as EfficientNetLiteSpec

CHANNELS_DIVISOR = 8


class Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int  # of the first block; the others have stride 1
    expansion: int
    channels: int


# Tan and Le 2019, table 1 (EfficientNet-B0)
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280


class EfficientNetLite(nn.Module):
    def __init__(self, spec: EfficientNetLiteSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem = SameConvNorm(spec.in_channels, STEM_CHANNELS, 3, stride=2)
        blocks = []
        channels = STEM_CHANNELS
        for index, stage in enumerate(STAGES):
            out = _rounded(stage.channels * spec.width)
            fixed = index in (0, len(STAGES) - 1)
            repeats = stage.repeats if fixed else math.ceil(stage.repeats * spec.depth)
            for position in range(repeats):
                stride = stage.stride if position == 0 else 1
                blocks.append(Bottleneck(channels, out, stage.kernel, stride, stage.expansion))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConvNorm(channels, HEAD_CHANNELS, 1)
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Linear(HEAD_CHANNELS, spec.classes)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes"]:
        features = self.blocks(F.relu6(self.stem(images)))
        pooled = F.relu6(self.head(features)).mean(dim=(2, 3))
        return self.classifier(self.dropout(pooled))


class Bottleneck(nn.Module):
    """Expand the channels, convolve each by itself, project; a shortcut where the shape stays."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = SameConvNorm(channels, wide, 1) if expansion > 1 else None
        self.depthwise = SameConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = SameConvNorm(wide, out, 1)
        self.shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x))
        out = self.project(F.relu6(self.depthwise(wide)))
        return x + out if self.shortcut else out


class SameConvNorm(nn.Module):
    """A convolution that pads like TensorFlow's SAME, and batch norm.

    The output is ceil(size / stride) wide. With stride 2 and an even size the padding is uneven,
    one more on the right and below, which `nn.Conv2d` cannot say.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        inside = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(channels, out, kernel, stride, inside, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=1e-3, momentum=0.01)  # TensorFlow's constants

    def forward(self, x: Tensor) -> Tensor:
        if self.conv.stride[0] > 1:
            vertical, horizontal = (self._padding(size) for size in x.shape[-2:])
            x = F.pad(x, (*horizontal, *vertical))
        return self.norm(self.conv(x))

    def _padding(self, size: int) -> tuple[int, int]:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


def _rounded(channels: float) -> int:
    """The nearest multiple of 8 that takes away at most a tenth."""
    nearest = int(channels + CHANNELS_DIVISOR / 2) // CHANNELS_DIVISOR * CHANNELS_DIVISOR
    nearest = max(nearest, CHANNELS_DIVISOR)
    return nearest if nearest >= 0.9 * channels else nearest + CHANNELS_DIVISOR
