"""What a network costs: multiply-accumulates and parameters, by layer.

    convolution      MACs = h_out w_out * d_out * d_in / groups * k_h k_w        for one example
    linear layer     MACs = places * d_out * d_in

Norms, activations and additions are not counted: they are few and are memory's business. FLOPs are
2 MACs. Removing a share p of all channels leaves about (1 - p)^2 of either, but for the first layer
and the last, whose other side stays.

Source    Li et al., ICLR 2017, arXiv:1608.08710, section 3.1 (the operations that a filter costs).
Left out  Products of activations, as in attention; time, which is to be measured.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference import walk

COUNTED = (nn.Conv1d, nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class LayerCost:
    macs: int  # for one example, over all calls
    parameters: int


@dataclass(frozen=True)
class Costs:
    layers: dict[str, LayerCost]  # convolutions and linear layers
    parameters: int  # of the whole network, norms included; shared ones once

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers.values())


def costs(model: nn.Module, example: walk.Batch) -> Costs:
    """Run the model in eval on one batch, whose first axis is the examples.

    Raises:
        ValueError: the batch is empty.
    """
    count = len(example if isinstance(example, Tensor) else next(iter(example.values())))
    if count == 0:
        raise ValueError("costs are for one example; the batch has none")
    layers = {name: each for name, each in model.named_modules() if isinstance(each, COUNTED)}
    found = {}
    with torch.random.fork_rng(devices=[]):
        made = walk.outputs(model, layers, [example])
    for name, layer in layers.items():
        places = sum(each.numel() // len(layer.weight) for each in made[name])
        sizes = [each.numel() for each in layer.parameters()]
        found[name] = LayerCost(places * layer.weight.numel() // count, sum(sizes))
    return Costs(found, sum(each.numel() for each in model.parameters()))
