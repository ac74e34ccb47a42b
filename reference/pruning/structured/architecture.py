"""Where the parts of a Transformer lie: one record for each class that is known.

A block is attention and a feed-forward network (FFN) around one residual stream:

    reads the stream     query, key, value, expand, gate         (GPT-2: query, key, value are one)
    writes the stream    out, contract
    heads                the columns of `out`: head h has h d .. (h + 1) d
    groups (GQA)         query head h reads key/value head h // (heads / kv_heads)
    neurons              the columns of `contract`: one each

Left out  Encoder-decoder models, cross-attention, mixtures of experts, parallel blocks.
Read      transformer_families.py has the names; remove_transformer.py cuts what they stand for.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from reference.pruning.structured.slices import sizes
from reference.pruning.structured.transformer_families import FAMILIES, Family, Settings


@dataclass(frozen=True)
class Block:
    """Names of modules, as `get_submodule` takes them."""

    name: str
    attention: str  # the module that knows how many heads there are
    query: str
    key: str  # the name of query again where one layer makes all three
    value: str
    out: str
    expand: str
    gate: str | None  # the third matrix of a gated FFN
    contract: str
    norms: tuple[str, str]

    @property
    def qkv(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.query, self.key, self.value)))

    @property
    def readers(self) -> tuple[str, ...]:
        return (*self.qkv, *self.inward)

    @property
    def inward(self) -> tuple[str, ...]:
        """Into the FFN's neurons."""
        return (self.expand, self.gate) if self.gate else (self.expand,)

    @property
    def writers(self) -> tuple[str, str]:
        return self.out, self.contract

    @property
    def fused(self) -> bool:
        return self.query == self.value


@dataclass(frozen=True)
class LayerWidths:
    """How wide one block is inside. Head removal keeps `head_dim`."""

    heads: int
    kv_heads: int
    head_dim: int
    ffn: int


@dataclass(frozen=True)
class Architecture:
    layers: str  # the ModuleList of the blocks
    blocks: tuple[Block, ...]
    embeddings: tuple[str, ...]  # modules that begin the stream: tables, or a patch projection
    tables: tuple[str, ...]  # bare parameters added to the stream, width on their last axis
    norms: tuple[str, ...]  # those outside of blocks
    heads: tuple[str, ...]  # linear layers that read the stream or the pooled vector
    pooler: str | None  # from the stream to a vector
    pooler_follows: bool  # the pooled vector has the stream's width by the config
    settings: Settings


_HEADS = ("classifier", "lm_head", "head")


def architecture(model: nn.Module) -> Architecture:
    """The record of a model, by the name of its class.

    Raises:
        ValueError: the class is none of FAMILIES, or the model has cross-attention.
    """
    name = type(model).__name__
    if name not in FAMILIES:
        raise ValueError(
            f"no architecture is known for {name}; expected one of {', '.join(FAMILIES)}"
        )
    if getattr(getattr(model, "config", None), "add_cross_attention", False):
        raise ValueError(f"this {name} has cross-attention, whose heads are not described")
    family = FAMILIES[name]
    modules = dict(model.named_modules())
    base = f"{family.base}." if family.base in modules and family.base else ""
    layers = _first(modules, base, family.layers)
    blocks = tuple(_block(modules, f"{layers}.{i}.", family) for i in range(len(modules[layers])))
    tables = {name for name, _ in model.named_parameters()}
    pooler = f"{base}pooler.dense"
    return Architecture(
        layers=layers,
        blocks=blocks,
        embeddings=tuple(base + each for each in family.embeddings),
        tables=tuple(base + each for each in family.tables if base + each in tables),
        norms=(base + family.norm,),
        heads=tuple(each for each in _HEADS if isinstance(modules.get(each), nn.Linear)),
        pooler=pooler if pooler in modules else None,
        pooler_follows=family.pooler_follows,
        settings=family.settings,
    )


def block_widths(model: nn.Module, block: Block) -> LayerWidths:
    """The sizes that the block's weights have now."""
    attention = model.get_submodule(block.attention)
    rows, _ = sizes(model.get_submodule(block.key))
    _, columns = sizes(model.get_submodule(block.out))
    head_dim = _head_dim(attention, columns)
    heads = columns // head_dim
    kv_heads = heads if block.fused else rows // head_dim
    return LayerWidths(heads, kv_heads, head_dim, sizes(model.get_submodule(block.contract))[1])


def stream_width(model: nn.Module) -> int:
    """The features of the residual stream."""
    return sizes(model.get_submodule(architecture(model).blocks[0].out))[0]


def all_norms(found: Architecture) -> tuple[str, ...]:
    """Every norm that reads or writes the stream, those of blocks first."""
    return (*(norm for block in found.blocks for norm in block.norms), *found.norms)


def _head_dim(attention: Any, columns: int) -> int:
    for name in ("head_dim", "attention_head_size"):
        if hasattr(attention, name):
            return int(getattr(attention, name))
    return columns // int(attention.heads)


def _block(modules: dict[str, nn.Module], name: str, family: Family) -> Block:
    return Block(
        name=name.removesuffix("."),
        attention=_first(modules, name, family.attention),
        query=_first(modules, name, family.query),
        key=_first(modules, name, family.key),
        value=_first(modules, name, family.value),
        out=_first(modules, name, family.out),
        expand=_first(modules, name, family.expand),
        gate=name + family.gate if family.gate else None,
        contract=_first(modules, name, family.contract),
        norms=(name + family.norms[0], name + family.norms[1]),
    )


def _first(modules: dict[str, nn.Module], prefix: str, names: tuple[str, ...]) -> str:
    for name in names:
        if prefix + name in modules:
            return prefix + name
    raise ValueError(f"there is no {' or '.join(prefix + name for name in names)} in this model")
