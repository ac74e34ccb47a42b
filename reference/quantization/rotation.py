"""A Llama whose hidden state is rotated everywhere: the same logits, without outlier channels.

The hidden state is written by the embedding and by each block's two output layers, and read through
an RMS norm by all others. A norm without weight commutes with a rotation, so its weight first moves
into the layers that read it.

    reads       W diag(g) Q           q, k, v, gate, up, head;  g is the norm's weight, then 1
    writes      Q' W                  o, down, and each row of the embedding

Source    Ashkboos et al., "QuaRot", NeurIPS 2024, arXiv:2404.00456, section 4, stage 1a; Ashkboos
          et al., "SliceGPT", ICLR 2024, arXiv:2401.15024, section 3 (computational invariance).
Differs   Products are taken in float64 and rounded once.
Left out  The rotations inside attention and before `down`, which cost time when the model runs.
Read      hadamard.py first.
"""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
MLP = ("mlp.gate_proj", "mlp.up_proj")
WRITERS = ("self_attn.o_proj", "mlp.down_proj")


@torch.no_grad()
def rotate_llama(model: nn.Module, rotation: Float[Tensor, "hidden hidden"]) -> nn.Module:
    """A copy of a causal Llama (or Mistral) of Hugging Face's layout, rotated.

    An embedding that the head shares is given to each: the norm before the head is folded into it.

    Raises:
        ValueError: the rotation is not orthogonal, or not of the hidden size.
    """
    rotated = copy.deepcopy(model)
    body, rotation = rotated.model, rotation.double()
    _check(rotation, body.embed_tokens.embedding_dim)
    rotated.lm_head = copy.deepcopy(rotated.lm_head)
    rotated.lm_head.weight = nn.Parameter(rotated.lm_head.weight.clone())
    rotated.config.tie_word_embeddings = False
    _set_(body.embed_tokens, body.embed_tokens.weight.double() @ rotation)
    for block in body.layers:
        _read_(block, block.input_layernorm, ATTENTION, rotation)
        _read_(block, block.post_attention_layernorm, MLP, rotation)
        for name in WRITERS:
            writer = block.get_submodule(name)
            _set_(writer, rotation.T @ writer.weight.double())
            if writer.bias is not None:
                writer.bias.copy_(writer.bias.double() @ rotation)
    _read_(rotated, body.norm, ("lm_head",), rotation)
    return rotated


def _read_(parent: nn.Module, norm: nn.Module, names: tuple[str, ...], rotation: Tensor) -> None:
    for name in names:
        reader = parent.get_submodule(name)
        _set_(reader, (reader.weight.double() * norm.weight.double()) @ rotation)
    norm.weight.fill_(1)


def _set_(layer: nn.Module, weight: Tensor) -> None:
    layer.weight.copy_(weight)


def _check(rotation: Tensor, hidden: int) -> None:
    if rotation.shape != (hidden, hidden):
        raise ValueError(f"a rotation of shape {tuple(rotation.shape)} for {hidden} features")
    identity = torch.eye(hidden, dtype=rotation.dtype)
    furthest = (rotation @ rotation.T - identity).abs().max().item()
    if furthest > 1e-6:  # float32's rounding over a few thousand products
        raise ValueError(f"the rotation is not orthogonal: Q Q' is {furthest:g} away from I")
