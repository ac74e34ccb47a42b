"""Linear layers on a 4-bit grid: integer codes, and a scale for every group of inputs."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

LOWEST_CODE, HIGHEST_CODE = -8, 7


@dataclass(frozen=True)
class PackedLinear:
    """The weight of one linear layer: weight = (code - zero point) * scale, group by group.

    Any technique's result can be held so. Codes counted from 0 to 15 become ours by subtracting 8,
    from their zero points too.

    Raises:
        ValueError: codes or zero points are outside [-8, 7], or the shapes do not fit.
    """

    codes: Int[Tensor, "d_out d_in"]
    scales: Float[Tensor, "d_out groups"]
    group_size: int  # neighbouring inputs that share a scale
    zero_points: Int[Tensor, "d_out groups"] | None = None  # None: zero, a symmetric grid

    def __post_init__(self) -> None:
        d_out, d_in = self.codes.shape
        if d_in % self.group_size:
            raise ValueError(f"{d_in} inputs do not divide into groups of {self.group_size}")
        wanted = (d_out, d_in // self.group_size)
        for name, part in (("scales", self.scales), ("zero_points", self.zero_points)):
            if part is not None and part.shape != wanted:
                raise ValueError(f"{name} have the shape {tuple(part.shape)}; expected {wanted}")
        for name, part in (("codes", self.codes), ("zero_points", self.zero_points)):
            if part is not None and not ((part >= LOWEST_CODE) & (part <= HIGHEST_CODE)).all():
                raise ValueError(
                    f"{name} reach from {part.min().item()} to {part.max().item()}; expected "
                    f"{LOWEST_CODE} to {HIGHEST_CODE}; of codes from 0 to 15 subtract 8"
                )

    @property
    def symmetric(self) -> bool:
        return self.zero_points is None

    def weight(self) -> Float[Tensor, "d_out d_in"]:
        """The weight that the codes stand for, in FP32."""
        codes = self.codes.unflatten(1, (-1, self.group_size)).float()
        zeros = 0.0 if self.zero_points is None else self.zero_points.float().unsqueeze(2)
        return ((codes - zeros) * self.scales.float().unsqueeze(2)).flatten(1)


def round_to_grid(
    weight: Float[Tensor, "d_out d_in"], group_size: int = 32, symmetric: bool = True
) -> PackedLinear:
    """Round to nearest: a symmetric grid up to the largest magnitude, or a min-max grid with zero.

    Raises:
        ValueError: the inputs do not divide into groups.
    """
    if weight.shape[1] % group_size:
        raise ValueError(f"{weight.shape[1]} inputs do not divide into groups of {group_size}")
    groups = weight.detach().float().unflatten(1, (-1, group_size))
    if symmetric:
        scales = _positive(groups.abs().amax(dim=2) / HIGHEST_CODE)
        zeros = torch.zeros_like(scales)
    else:
        low, high = groups.amin(dim=2).clamp(max=0), groups.amax(dim=2).clamp(min=0)
        scales = _positive((high - low) / (HIGHEST_CODE - LOWEST_CODE))
        zeros = (LOWEST_CODE - low / scales).round().clamp(LOWEST_CODE, HIGHEST_CODE)
    codes = groups / scales.unsqueeze(2) + zeros.unsqueeze(2)
    codes = codes.round().clamp(LOWEST_CODE, HIGHEST_CODE).flatten(1).to(torch.int8)
    return PackedLinear(codes, scales, group_size, None if symmetric else zeros.to(torch.int8))


def round_linears(
    model: nn.Module, group_size: int = 32, symmetric: bool = True
) -> dict[str, PackedLinear]:
    """`round_to_grid` for every linear layer, by its name in the model.

    A layer that shares its weight with an embedding, and one whose inputs do not divide into
    groups, is left out.
    """
    return {
        name: round_to_grid(layer.weight, group_size, symmetric)
        for name, layer in linears(model).items()
        if layer.in_features % group_size == 0
    }


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers whose weight is theirs alone."""
    owners: dict[int, int] = {}
    for _, parameter in model.named_parameters(remove_duplicate=False):
        owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    layers = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    return {name: layer for name, layer in layers.items() if owners[id(layer.weight)] == 1}


def dequantised(model: nn.Module, layers: Mapping[str, PackedLinear]) -> nn.Module:
    """A copy of the model whose layers hold the weights that their codes stand for.

    Raises:
        ValueError: the model has no linear layer of that name and shape.
    """
    model = copy.deepcopy(model).eval()
    found = linears(model)
    for name, layer in layers.items():
        if name not in found or found[name].weight.shape != layer.codes.shape:
            raise ValueError(
                f"{name!r} with the shape {tuple(layer.codes.shape)} is no linear layer of this "
                f"{type(model).__name__} with a weight of its own"
            )
        found[name].weight.data = layer.weight()
    return model


def _positive(scales: Tensor) -> Tensor:
    """A group of zeros has any scale."""
    return torch.where(scales > 0, scales, 1.0)
