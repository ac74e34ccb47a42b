"""What a config says of a pruned Transformer, and what it cannot say.

A config has one number of heads and one FFN size for all layers. Its head size is:

    BERT, GPT-2     width / heads, always
    ViT             `head_dim` where the config has it; ViTConfig keeps keys that it does not know
    Llama           `head_dim`; but a config whose heads do not divide its width is not read

So a config of BERT or GPT-2 holds no model with fewer heads of the same size, unless the width
shrinks with them. What cannot be said is written beside it, as the list `pruned_layers` with the
sizes of each layer; the config keeps the number that it had, from which the class can be built, and
plain `from_pretrained` fails on the shapes. pruned_checkpoint.py reads both. (transformers 4 had
`pruned_heads` and `prune_heads` for some classes; 5 has neither.)

Source    The configuration and attention classes of transformers 5.23.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from reference.pruning.structured.architecture import (
    LayerWidths,
    architecture,
    block_widths,
    stream_width,
)
from reference.pruning.structured.transformer_families import Settings

PRUNED = "pruned_layers"


def layer_widths(model: nn.Module) -> tuple[LayerWidths, ...]:
    """The sizes of each layer, as its weights have them."""
    return tuple(block_widths(model, block) for block in architecture(model).blocks)


def unsaid(model: nn.Module) -> tuple[str, ...]:
    """Why plain from_pretrained cannot read this model; empty where it can."""
    widths, width = layer_widths(model), stream_width(model)
    settings = architecture(model).settings
    found = (_heads_unsaid(settings, widths, width), _ffn_unsaid(widths))
    return tuple(reason for reason in found if reason)


def describe_(model: nn.Module) -> nn.Module:
    """Put the sizes that the weights have into the config or spec, and give the model back.

    Raises:
        ValueError: the config's heads do not divide the width, so that its class cannot be built.
    """
    settings = architecture(model).settings
    widths, width = layer_widths(model), stream_width(model)
    said: dict[str, Any] = {settings.depth: len(widths), settings.width: width}
    if not _heads_unsaid(settings, widths, width):
        said |= _heads(model, settings, widths[0], width)
    if not _ffn_unsaid(widths) and widths[0].ffn != (_said(model, settings.ffn) or 4 * width):
        said[settings.ffn] = widths[0].ffn
    heads = said.get(settings.heads, _said(model, settings.heads))
    if settings.heads_divide_width and width % heads:
        raise ValueError(
            f"a width of {width} does not divide into {heads} heads, with which {_name(model)} is "
            f"read; keep a multiple of {heads}"
        )
    _say_(model, said)
    _note_(model, widths)
    return model


def say_heads_(attention: nn.Module, widths: LayerWidths) -> None:
    """The numbers that an attention module keeps, under whichever names it keeps them."""
    heads, kv_heads, head_dim = widths.heads, widths.kv_heads, widths.head_dim
    known = {
        "num_heads": heads,
        "num_attention_heads": heads,
        "heads": heads,
        "head_dim": head_dim,
        "attention_head_size": head_dim,
        "all_head_size": heads * head_dim,
        "split_size": heads * head_dim,
        "num_key_value_heads": kv_heads,
        "num_key_value_groups": heads // kv_heads,
    }
    for name, value in known.items():
        if hasattr(attention, name):
            setattr(attention, name, value)


def _heads_unsaid(settings: Settings, widths: Sequence[LayerWidths], width: int) -> str | None:
    if len({(each.heads, each.kv_heads, each.head_dim) for each in widths}) > 1:
        return f"layers have {', '.join(str(each.heads) for each in widths)} heads"
    heads, head_dim = widths[0].heads, widths[0].head_dim
    if settings.head_dim is None and heads * head_dim != width:
        return f"{heads} heads of {head_dim} do not make up a width of {width}"
    if settings.heads_divide_width and width % heads:
        return f"{heads} heads do not divide a width of {width}"
    return None


def _ffn_unsaid(widths: Sequence[LayerWidths]) -> str | None:
    if len({each.ffn for each in widths}) > 1:
        return f"layers have {', '.join(str(each.ffn) for each in widths)} neurons"
    return None


def _heads(model: nn.Module, settings: Settings, widths: LayerWidths, width: int) -> dict[str, int]:
    found = {settings.heads: widths.heads}
    if settings.kv_heads:
        found[settings.kv_heads] = widths.kv_heads
    if settings.head_dim:
        meant = _said(model, settings.head_dim) or width // widths.heads
        if meant != widths.head_dim:
            found[settings.head_dim] = widths.head_dim
    return found


def _note_(model: nn.Module, widths: Sequence[LayerWidths]) -> None:
    config = getattr(model, "config", None)
    if config is None:
        return
    if unsaid(model):
        setattr(config, PRUNED, [asdict(each) for each in widths])
    elif hasattr(config, PRUNED):
        delattr(config, PRUNED)


def _said(model: Any, name: str) -> Any:
    return getattr(model.config if hasattr(model, "config") else model.spec, name, None)


def _say_(model: Any, values: dict[str, Any]) -> None:
    if not hasattr(model, "config"):
        model.spec = replace(model.spec, **values)
        return
    for name, value in values.items():
        setattr(model.config, name, value)


def _name(model: Any) -> str:
    return type(model.config if hasattr(model, "config") else model.spec).__name__
