"""The perceptron: the network in which every technique can be followed by hand."""

from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.models.specs import MlpSpec


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
