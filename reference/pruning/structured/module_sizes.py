"""What modules say of their tensors: who holds which, and the sizes that they keep beside them.

Layers ask their tensors for sizes when they run, and their attributes when they are printed or
exported; both must agree. The groups of a convolution are an attribute alone.
"""

from typing import cast

from torch import Tensor, nn


def owners(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """By a tensor's id, the modules that have it, and what they call it."""
    found: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            found.setdefault(id(tensor), []).append((module, name))
    return found


def say_sizes_(module: nn.Module) -> None:
    """Say the sizes of its tensors in a module's own words."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        rows, columns = module.weight.shape[:2]
        if 1 < module.groups == module.in_channels:  # depthwise: as many outputs for each input
            module.groups = rows // (module.out_channels // module.groups)
        module.out_channels, module.in_channels = rows, columns * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = module.weight.shape
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(module.weight)
    elif isinstance(module, nn.GroupNorm) and module.affine:
        size = module.num_channels // module.num_groups
        module.num_channels = len(module.weight)
        module.num_groups = module.num_channels // size
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        vectors = (module.running_mean, module.weight)
        module.num_features = next(
            (len(cast(Tensor, each)) for each in vectors if each is not None), module.num_features
        )
