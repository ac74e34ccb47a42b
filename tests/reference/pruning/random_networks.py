"""Networks drawn at random, in which channels are coupled in every way that has a rule.

A network is a list of names of blocks, so that Hypothesis can shrink it to the block that fails.
Weights and the statistics of norms are drawn too: a norm as PyTorch makes it would hide a mistake.
"""

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 4
INPUTS = 3


class Joined(nn.Module):
    """Two paths and what brings them together."""

    def __init__(self, one: nn.Module, other: nn.Module, join: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        self.one, self.other, self.join = one, other, join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.one(x), self.other(x))


class Does(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Excite(nn.Module):
    """Squeeze and excitation (Hu et al. 2018), with the view that most implementations have."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(channels, 3), nn.Linear(3, channels)

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        gates = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3)).view(b, c)))))
        return x * gates.view(b, c, 1, 1)


class Scale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Twice(nn.Module):
    """One convolution called twice: its inputs are its own outputs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shared = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shared(F.relu(self.shared(x))))


class ChannelLayerNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).contiguous()


def conv(channels: int, out: int, kernel: int = 3, **options: int) -> nn.Sequential:
    layer = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False, **options)
    return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def iadd(one: Tensor, other: Tensor) -> Tensor:
    one = one.clone()
    one += other
    return one


def glu(x: Tensor) -> Tensor:
    value, gate = x.chunk(2, dim=1)
    return value * torch.sigmoid(gate)


def swapped(x: Tensor) -> Tensor:
    first, second = x.split(x.shape[1] // 2, dim=1)
    return torch.cat([second, first], 1)


def shuffled(x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


def even(channels: int, rest: Callable[[int], nn.Module]) -> nn.Module:
    """A block that needs an even number of channels."""
    wide = channels + channels % 2
    return nn.Sequential(conv(channels, wide, 1), rest(wide))


def grouped(channels: int) -> nn.Module:
    groups = 3 if channels % 3 == 0 else 2
    wide = channels + -channels % groups
    options = nn.Conv2d(wide, 2 * groups, 3, padding=1, groups=groups)
    return nn.Sequential(conv(channels, wide, 1), options, nn.BatchNorm2d(2 * groups), nn.ReLU())


def padded_shortcut(channels: int) -> nn.Module:
    grow = Does(lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)))
    return Joined(grow, conv(channels, channels + 3), torch.add)


Block = Callable[[int, random.Random], nn.Module]
# Where a channel of zeros comes in, these send zeros on: a gate behind the norm is a gate for all.
SILENT: dict[str, Block] = {
    "conv": lambda c, r: conv(c, r.randint(2, 6)),
    "residual": lambda c, r: Joined(nn.Identity(), conv(c, c), torch.add),
    "in-place residual": lambda c, r: Joined(nn.Identity(), conv(c, c), iadd),
    "product": lambda c, r: Joined(conv(c, 4), conv(c, 4), torch.mul),
    "projected": lambda c, r: Joined(conv(c, 5), nn.Conv2d(c, 5, 1), torch.add),
    "concat": lambda c, r: Joined(nn.Identity(), conv(c, 3), lambda a, b: torch.cat([a, b], 1)),
    "nested concat": lambda c, r: Joined(
        conv(c, 2),
        Joined(conv(c, 3), nn.Identity(), lambda a, b: torch.cat((a, b), dim=1)),
        lambda a, b: torch.cat([a, b, a], dim=1),
    ),
    "stacked": lambda c, r: Joined(
        conv(c, c), nn.Identity(), lambda a, b: torch.stack([a, b], 1).sum(1)
    ),
    "depthwise": lambda c, r: conv(c, c, groups=c),
    "depthwise, more outputs": lambda c, r: conv(c, 2 * c, groups=c),
    "grouped": lambda c, r: grouped(c),
    "excitation": lambda c, r: Excite(c),
    "spatial attention": lambda c, r: Joined(nn.Identity(), nn.Conv2d(c, 1, 1), torch.mul),
    "prelu": lambda c, r: nn.PReLU(c),
    "scale": lambda c, r: Scale(c),
    "group norm": lambda c, r: even(c, lambda wide: nn.GroupNorm(wide // 2, wide)),
    "instance norm": lambda c, r: nn.InstanceNorm2d(c, affine=True),
    "glu": lambda c, r: even(c, lambda wide: Does(glu)),
    "swap": lambda c, r: even(c, lambda wide: Does(swapped)),
    "shuffle": lambda c, r: even(c, lambda wide: Does(shuffled)),
    "pooling": lambda c, r: nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.MaxPool2d(3, 1, 1)),
    "padded shortcut": lambda c, r: padded_shortcut(c),
    "twice": lambda c, r: Twice(c),
}
BLOCKS: dict[str, Block] = SILENT | {
    "sigmoid": lambda c, r: nn.Sequential(nn.Conv2d(c, 4, 1), nn.Sigmoid(), nn.Dropout(0.3)),
    "softplus": lambda c, r: nn.Sequential(conv(c, 4), nn.Softplus()),
    "layer norm": lambda c, r: ChannelLayerNorm(c),
    "softmax": lambda c, r: nn.Softmax(dim=1),
}
HEADS: dict[str, Callable[[int], nn.Module]] = {
    "flatten": lambda c: nn.Sequential(nn.Flatten(), nn.Linear(c * SIDE * SIDE, 5)),
    "view": lambda c: nn.Sequential(
        Does(lambda x: x.view(x.size(0), -1)), nn.Linear(c * SIDE * SIDE, 6), nn.ReLU(),
        nn.Linear(6, 5),
    ),
    "mean": lambda c: nn.Sequential(Does(lambda x: x.mean(dim=(2, 3))), nn.Linear(c, 5)),
    "pooled norm": lambda c: nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(c), nn.Linear(c, 5)
    ),
    "convolution": lambda c: nn.Conv2d(c, 2, 1),
    "linear on positions": lambda c: nn.Sequential(
        Does(lambda x: x.flatten(2).transpose(1, 2)), nn.Linear(c, 5)
    ),
}  # fmt: skip


def network(blocks: list[str], head: str, seed: int = 0) -> nn.Module:
    """In float64 and eval, for images of shape (batch, 3, 4, 4)."""
    draws = random.Random(seed)
    torch.manual_seed(seed)
    parts: list[nn.Module] = [conv(INPUTS, 4)]
    channels = 4
    for name in blocks:
        parts.append(BLOCKS[name](channels, draws))
        channels = width(parts[-1], channels)
    model = nn.Sequential(*parts, HEADS[head](channels)).double().eval()
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.data.uniform_(0.5, 1.5)
    return model


def width(block: nn.Module, channels: int) -> int:
    """The channels that a block makes of so many."""
    with torch.no_grad():
        return block.eval()(torch.zeros(1, channels, SIDE, SIDE)).shape[1]


def images(count: int = 2, seed: int = 0) -> Tensor:
    random_numbers = torch.Generator().manual_seed(seed)
    return torch.randn(count, INPUTS, SIDE, SIDE, generator=random_numbers, dtype=torch.float64)
