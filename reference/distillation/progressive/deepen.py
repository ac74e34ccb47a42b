"""Net2Deeper: more layers, and the same function.

    linear       W = I, b = 0                     behind an activation with phi(phi(x)) = phi(x)
    convolution  W = I at its centre              the same; of odd size, padded to keep the image
    batch norm   gamma = sqrt(var + eps), beta = mean       of what enters it, so that it undoes
    residual     x + f(x) with the last layer of f at zero  any x that the block's end lets through

ReLU is such an activation, tanh and GELU are not. Layers around a shortcut need no such activation:
a Transformer's layer is an identity when what it writes to the stream is zero, where norms are
before the layers (ViT, GPT-2, Llama). BERT normalises behind every sum, and no weight undoes that.

Source    Chen, Goodfellow, Shlens, "Net2Net", ICLR 2016, arXiv:1511.05641, section 2.3 (identity
          layers, and batch norms that undo). A residual function that starts at zero: Goyal et al.,
          2017, arXiv:1706.02677, section 5.1; in Transformers Wu et al., "LLaMA Pro", 2024,
          arXiv:2401.02415, section 3.2.
Differs   What is inserted is tried on an example, and refused if the outputs change.
Left out  Noise on the identity: its neurons differ by what they read, so that none is needed.
Read      preserved.py first. stacking.py copies layers and changes the function.
"""

import copy
from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference import walk
from reference.distillation.progressive.preserved import refuse_change
from reference.distillation.progressive.stacking import arranged
from reference.pruning.structured.architecture import architecture


def identity_linear(features: int) -> nn.Linear:
    layer = nn.Linear(features, features)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(features))
        layer.bias.zero_()
    return layer


def identity_conv(channels: int, kernel: int = 3, bias: bool = True) -> nn.Conv2d:
    """Raises ValueError: a kernel of even size has no centre."""
    if kernel % 2 == 0:
        raise ValueError(f"a convolution needs an odd kernel to be an identity, got {kernel}")
    layer = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=bias)
    nn.init.dirac_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


@torch.no_grad()
def undoing_norm(entering: Float[Tensor, "batch channels height width"]) -> nn.BatchNorm2d:
    """A batch norm that gives back what enters: in eval always, in training this batch."""
    norm = nn.BatchNorm2d(entering.shape[1]).to(entering)
    variance, mean = torch.var_mean(entering, dim=(0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)  # the biased one, by which training divides
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean)
    return norm


def insert(
    model: nn.Module,
    container: str,
    place: int,
    modules: Sequence[nn.Module],
    example: walk.Batch,
) -> nn.Module:
    """A copy with these modules at a place of a Sequential or ModuleList; none is copied.

    Args:
        container: its name in the model, "" where it is the model.

    Raises:
        ValueError: no such container or place, or the outputs change on the example.
    """
    found = copy.deepcopy(model)
    into = found.get_submodule(container)
    if not isinstance(into, nn.Sequential | nn.ModuleList):
        raise ValueError(f"{container!r} is {type(into).__name__}; expected a list of modules")
    if not 0 <= place <= len(into):
        raise ValueError(f"{container!r} has places 0 to {len(into)}, got {place}")
    for offset, module in enumerate(modules):
        into.insert(place + offset, module)
    why = "these layers are no identity there; phi(phi(x)) = phi(x) must hold before them"
    refuse_change(model, found, example, why)
    return found


@torch.no_grad()
def silent(block: nn.Module, writers: Collection[str]) -> nn.Module:
    """A copy whose layers of these names give zero: what is left is the block's shortcut.

    Raises:
        ValueError: no names, or a module without a weight.
    """
    if not writers:
        raise ValueError("a block falls silent by the layers that write its sum; none is named")
    found = copy.deepcopy(block)
    for name in writers:
        module = found.get_submodule(name)
        if not isinstance(getattr(module, "weight", None), Tensor):
            raise ValueError(f"{name!r} is {type(module).__name__}, which has no weight to be zero")
        for parameter in module.parameters(recurse=False):
            parameter.zero_()
    return found


@torch.no_grad()
def deepen_transformer(model: nn.Module, after: Collection[int], example: walk.Batch) -> nn.Module:
    """A copy with a layer more behind each of these: its copy, writing zeros to the stream.

    Raises:
        ValueError: no such layer, or norms behind the sums, as BERT has.
    """
    depth = len(architecture(model).blocks)
    strangers = set(after) - set(range(depth))
    if strangers:
        raise ValueError(f"there is no layer {min(strangers)} in a model of {depth}")
    order = sorted([*range(depth), *set(after)])
    found = arranged(model, order)
    for block, layer, before in zip(architecture(found).blocks, order, [-1, *order], strict=False):
        if layer != before:
            continue
        for name in block.writers:
            for parameter in found.get_submodule(name).parameters():
                parameter.zero_()
    refuse_change(model, found, example, "its norms stand behind the sums, so no layer is identity")
    return found
