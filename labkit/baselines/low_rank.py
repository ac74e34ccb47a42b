"""Fine-tuning as low-rank updates, so that a tuned model ships as megabytes beside its base.

Source    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, section 4.1.
Left out  Their factor alpha / rank: the learning rate does the same.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

DOWN, UP = ".down", ".up"


class LowRank(nn.Module):
    """W + B A with B zero at first, so that training begins at the base's weights."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def attach(model: nn.Module, layers: nn.Module, rank: int) -> None:
    """Freeze the model, and give each linear layer of `layers` an update that is learned."""
    model.requires_grad_(False)
    for layer in layers.modules():
        if isinstance(layer, nn.Linear):
            parametrize.register_parametrization(
                layer, "weight", LowRank(layer.out_features, layer.in_features, rank)
            )


def merge(model: nn.Module) -> dict[str, Tensor]:
    """Put the updates into the weights, and return them: what `apply` adds to the base again."""
    updates = {}
    for name, layer in list(model.named_modules()):
        if parametrize.is_parametrized(layer, "weight"):
            update = layer.parametrizations["weight"][0]
            updates[f"{name}.weight{DOWN}"] = update.down.detach().clone()
            updates[f"{name}.weight{UP}"] = update.up.detach().clone()
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return updates


@torch.no_grad()
def apply(model: nn.Module, tuned: dict[str, Tensor]) -> None:
    """Add low-rank updates to the weights that they name; other tensors replace the model's."""
    state = model.state_dict()
    for name, value in tuned.items():
        if name.endswith(DOWN):
            weight = name.removesuffix(DOWN)
            state[weight].add_(tuned[weight + UP] @ value)
        elif not name.endswith(UP):
            state[name].copy_(value)
