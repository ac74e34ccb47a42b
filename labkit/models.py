"""The networks of the course. A model is its spec (data) and its state (tensors), nothing else.

That is what lets a model cross from the student's process into the grader's: no pickle, no
code, only a record that `build` turns into a network that we wrote.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

STAGES = 3


@dataclass(frozen=True)
class ResNetSpec:
    """A residual network for small images: a stem and three stages (He et al. 2016, 4.2)."""

    width: int = 32  # channels of the first stage; each later stage doubles them
    blocks: int = 2  # residual blocks per stage
    in_channels: int = 3
    classes: int = 10
    batch_norm: bool = True  # False: folded into the convolutions, which then have a bias


@dataclass(frozen=True)
class MlpSpec:
    """A perceptron with ReLU between its layers, on flattened images."""

    in_features: int = 784
    hidden: tuple[int, ...] = (512, 512)
    classes: int = 10


Spec = ResNetSpec | MlpSpec
FAMILIES: dict[str, type[ResNetSpec] | type[MlpSpec]] = {"resnet": ResNetSpec, "mlp": MlpSpec}


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


class Mlp(nn.Module):
    def __init__(self, spec: MlpSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = (spec.in_features, *spec.hidden, spec.classes)
        self.layers = nn.ModuleList(nn.Linear(d_in, d_out) for d_in, d_out in pairwise(widths))

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        x = images.flatten(1)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def build(spec: Spec) -> ResNet | Mlp:
    """A freshly initialised network for a spec."""
    return ResNet(spec) if isinstance(spec, ResNetSpec) else Mlp(spec)


def spec_to_dict(spec: Spec) -> dict[str, Any]:
    family = next(name for name, kind in FAMILIES.items() if isinstance(spec, kind))
    return {"family": family, **asdict(spec)}


def spec_from_dict(fields: Mapping[str, Any]) -> Spec:
    """The inverse of `spec_to_dict`.

    Raises:
        ValueError: an unknown family, or a field that the family does not have.
    """
    values = dict(fields)
    family = values.pop("family", None)
    if family not in FAMILIES:
        raise ValueError(f"family is {family!r}; expected one of {sorted(FAMILIES)}")
    arguments: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
    }
    try:
        return FAMILIES[family](**arguments)
    except TypeError as error:
        raise ValueError(f"{family}: {error}") from error
