"""How much of a model is zero: of what is pruned by rule, and of everything."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from labkit.footprint.tensors import StoredTensor, tensors


@dataclass(frozen=True)
class Sparsity:
    zeros: int
    parameters: int
    prunable_zeros: int
    prunable: int  # weights of linear and convolutional layers

    @property
    def of_prunable(self) -> float:
        return self.prunable_zeros / self.prunable if self.prunable else 0.0

    @property
    def of_all(self) -> float:
        return self.zeros / self.parameters if self.parameters else 0.0


def sparsity(model: nn.Module, state: Mapping[str, Tensor]) -> Sparsity:
    """Zeros in a state dict of the model.

    Embeddings are not prunable, nor is an output layer that shares its weight with one. Buffers
    do not count.

    Args:
        model: says what each tensor is for; it may be on `meta`.
        state: the values, under any of the names that a shared tensor has.

    Raises:
        ValueError: the state lacks a parameter, or has it in another shape or on `meta`.
    """
    parameters = [tensor for tensor in tensors(model) if tensor.kind != "buffer"]
    zeros = {tensor: _zeros(tensor, state) for tensor in parameters}
    prunable = [tensor for tensor in parameters if tensor.prunable]
    return Sparsity(
        sum(zeros.values()),
        sum(tensor.elements for tensor in parameters),
        sum(zeros[tensor] for tensor in prunable),
        sum(tensor.elements for tensor in prunable),
    )


def _zeros(tensor: StoredTensor, state: Mapping[str, Tensor]) -> int:
    values = next((state[name] for name in tensor.uses if name in state), None)
    if values is None:
        raise ValueError(f"the state has no {' or '.join(tensor.uses)}")
    if values.is_meta or values.shape != tensor.shape:
        raise ValueError(
            f"{tensor.name} has the shape {tuple(values.shape)} on {values.device}; expected "
            f"values of the shape {tensor.shape}"
        )
    return int((values == 0).sum())
