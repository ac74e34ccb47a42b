"""The model with every layer in the width that was chosen for it.

Source    HAWQ-V3, ICML 2021, arXiv:2011.10680 (weights of each layer in its own width).
Left out  Activations; weight_only.pack_weights stores one width at a time.
Read      options.py first.
"""

import copy
from collections.abc import Mapping

from torch import nn

from reference.quantization.mixed.options import Option, Options


def round_mixed(model: nn.Module, options: Options, bits: Mapping[str, int]) -> nn.Module:
    """A copy in floats. Layers that `bits` does not name stay as they are.

    Raises:
        ValueError: a layer or a width that is not among the options.
    """
    rounded = copy.deepcopy(model)
    for name, option in chosen(options, bits).items():
        rounded.get_submodule(name).weight.data = option.weight.clone()
    return rounded


def chosen(options: Options, bits: Mapping[str, int]) -> dict[str, Option]:
    """The option of each layer; errors as in `round_mixed`."""
    found = {}
    for name, width in bits.items():
        matching = [each for each in options.get(name, ()) if each.bits == width]
        if not matching:
            raise ValueError(f"layer {name!r} has no option of {width} bits")
        found[name] = matching[0]
    return found
