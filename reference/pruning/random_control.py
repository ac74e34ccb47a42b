"""Two controls: weights removed by lot, and good masks whose places are drawn again.

A criterion is worth what it gains over the lot at the same sparsity. What it gains over its own
masks shuffled within each layer is owed to its choice of weights; the rest, to how much of each
layer it took.

Source    Gale et al., "The State of Sparsity in Deep Neural Networks", 2019, arXiv:1902.09574
          (random pruning as the floor); Frankle et al., "Pruning Neural Networks at Initialization:
          Why Are We Missing the Mark?", ICLR 2021, arXiv:2009.08576 (shuffling within layers).
Read      masks.py first.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from reference.pruning.masks import Masks
from reference.pruning.weights import prunable_weights


def random_scores(
    model: nn.Module, generator: torch.Generator, spared: Collection[str] = ()
) -> dict[str, Tensor]:
    """A score drawn uniformly from [0, 1) for every prunable weight, by parameter name.

    In float64, in which two equal draws are rare; drawn where the generator is, so that a seed
    means the same on every device.

    Raises:
        ValueError: `spared` names no module of this model.
    """
    return {
        name: _drawn(each.shape, generator).to(each.device)
        for name, each in prunable_weights(model, spared).items()
    }


def shuffled_masks(masks: Mapping[str, Tensor], generator: torch.Generator) -> Masks:
    """Masks with the same counts in every layer, in places drawn by lot."""
    return {name: _shuffled(each, generator) for name, each in masks.items()}


def _drawn(shape: torch.Size, generator: torch.Generator) -> Tensor:
    device = generator.device
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=device)


def _shuffled(mask: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(mask.numel(), generator=generator, device=generator.device)
    return mask.flatten()[order.to(mask.device)].reshape(mask.shape)
