"""A weight as the matrix that multiplies its inputs: one row for each output.

Masks by row, by N:M group and by block need rows. A linear layer has them; GPT-2's Conv1D is its
transpose; a convolution is a product with patches of its input, and its row runs over all of a
patch:

    Linear    (d_out, d_in)
    Conv1D    (d_in, d_out)                 transposed
    Conv2d    (d_out, d_in / groups, k, k)  flattened to (d_out, d_in / groups * k * k)

Two orders of a convolution's row are in use. torch's, which F.unfold gives patches too, has the
positions of the kernel as neighbours. Sparse tensor cores read channels last: the neighbours are
the channels of one position, and where m divides the channels no N:M group spans two positions.

Source    Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning", 2014, arXiv:1410.0759
          (convolution as a product of matrices); Mishra et al., 2021, arXiv:2104.08378 (2:4 along
          the input channels).
Left out  Permuting channels so that N:M groups keep more (Pool & Yu, 2021).
Read      masks.py has the choices; sparse_storage.py stores such matrices.
"""

from collections.abc import Callable

from jaxtyping import Shaped
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from reference.pruning.masks import Masks, Scores
from reference.pruning.weights import LAYERS, named


def matrix(
    layer: nn.Module, tensor: Shaped[Tensor, "..."], channels_last: bool = False
) -> Shaped[Tensor, "d_out d_in"]:
    """A tensor in the shape of the layer's weight, as rows of outputs.

    Raises:
        ValueError: the layer is no convolution or linear layer.
    """
    if isinstance(layer, Conv1D):
        return tensor.T
    if not isinstance(layer, LAYERS):
        raise ValueError(f"{type(layer).__name__} multiplies by no matrix; expected {_expected()}")
    return (tensor.movedim(1, -1) if channels_last else tensor).flatten(1)


def tensor_of(
    layer: nn.Module, rows: Shaped[Tensor, "d_out d_in"], channels_last: bool = False
) -> Shaped[Tensor, "..."]:
    """What `matrix` was given, from what it gave."""
    if isinstance(layer, Conv1D):
        return rows.T.contiguous()
    if not channels_last:
        return rows.reshape(layer.weight.shape)
    shape = layer.weight.movedim(1, -1).shape
    return rows.reshape(shape).movedim(-1, 1).contiguous()


def matrix_masks(
    model: nn.Module,
    scores: Scores,
    choose: Callable[[Tensor], Tensor],
    channels_last: bool = False,
) -> Masks:
    """A mask for every scored weight, chosen by matrix.

    Args:
        choose: scores to mask, both (d_out, d_in): row_mask, n_m_mask or block_mask of masks.py,
            the rest of its arguments fixed with functools.partial.

    Raises:
        ValueError: scores name no weight of this model or have another shape, or belong to a layer
            that multiplies by no matrix.
    """
    layers = {name: layer_of(model, name) for name in named(model, scores)}
    return {
        name: tensor_of(layer, choose(matrix(layer, scores[name], channels_last)), channels_last)
        for name, layer in layers.items()
    }


def layer_of(model: nn.Module, name: str) -> nn.Module:
    """The layer that a parameter of that name belongs to."""
    return model.get_submodule(name.rpartition(".")[0])


def _expected() -> str:
    return ", ".join(each.__name__ for each in LAYERS)
