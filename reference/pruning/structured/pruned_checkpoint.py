"""Reading back a pruned Transformer, also where its config alone does not say what it is.

    model.save_pretrained(folder)          as ever: safetensors, and a config with `pruned_layers`
    load_pruned(folder)                    builds the class, sizes its layers, loads the weights

A network without a config, such as one built from a spec, is built by whoever knows its spec;
`resized` gives it its layers' sizes, and its state is loaded as usual.

Read      transformer_config.py says what a config can hold.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers
from torch import nn

from reference.pruning.structured.architecture import Block, LayerWidths, architecture
from reference.pruning.structured.slices import resize_, sizes
from reference.pruning.structured.transformer_config import PRUNED, say_heads_
from reference.pruning.structured.transformer_families import FAMILIES


def load_pruned(folder: Path | str) -> nn.Module:
    """The model that `save_pretrained` wrote to a folder, in eval.

    Raises:
        ValueError: its class is not known, or the sizes in its config are none.
    """
    written = json.loads((Path(folder) / "config.json").read_text())
    name = (written.get("architectures") or [None])[0]
    kind = getattr(transformers, name, None) if name in FAMILIES else None
    if kind is None:
        raise ValueError(f"{folder} holds a {name}; expected one of {', '.join(FAMILIES)}")
    widths = _read(written[PRUNED]) if PRUNED in written else None

    def init(self: Any, config: Any) -> None:
        kind.__init__(self, config)
        if widths is not None:
            resize_layers_(self, widths)

    sized = type(kind.__name__, (kind,), {"__init__": init})
    found = sized.from_pretrained(folder, use_safetensors=True)
    found.__class__ = kind
    return found


def resized(model: nn.Module, widths: Sequence[LayerWidths]) -> nn.Module:
    """A copy whose layers have these sizes, and zeros for what is resized: a place for a state.

    Raises:
        ValueError: not one entry for each layer.
    """
    found = copy.deepcopy(model)
    resize_layers_(found, widths)
    return found


def resize_layers_(model: nn.Module, widths: Sequence[LayerWidths]) -> None:
    blocks = architecture(model).blocks
    if len(blocks) != len(widths):
        raise ValueError(f"a model of {len(blocks)} layers needs as many sizes, got {len(widths)}")
    for block, each in zip(blocks, widths, strict=True):
        _resize_(model, block, each)


def _resize_(model: nn.Module, block: Block, widths: LayerWidths) -> None:
    width, _ = sizes(model.get_submodule(block.out))
    queries, shared = widths.heads * widths.head_dim, widths.kv_heads * widths.head_dim
    outputs = {block.query: queries + 2 * shared} if block.fused else {
        block.query: queries, block.key: shared, block.value: shared
    }  # fmt: skip
    outputs |= dict.fromkeys(block.inward, widths.ffn)
    for name, count in outputs.items():
        resize_(model.get_submodule(name), count, width)
    resize_(model.get_submodule(block.out), width, queries)
    resize_(model.get_submodule(block.contract), width, widths.ffn)
    attention = model.get_submodule(block.attention)
    say_heads_(attention, widths)
    if hasattr(attention, "scaling") and getattr(attention, "scale_attn_weights", True):
        by_place = getattr(attention, "scale_attn_by_inverse_layer_idx", False)
        attention.scaling = widths.head_dim**-0.5 / (attention.layer_idx + 1 if by_place else 1)


def _read(entries: Any) -> list[LayerWidths]:
    fields = set(LayerWidths.__dataclass_fields__)
    for entry in entries if isinstance(entries, list) else [entries]:
        good = isinstance(entry, Mapping) and entry.keys() == fields
        if not good or any(type(n) is not int or n < 1 for n in entry.values()):
            raise ValueError(
                f"{PRUNED} has {entry!r}; expected {', '.join(sorted(fields))} of >= 1"
            )
    return [LayerWidths(**entry) for entry in entries]
