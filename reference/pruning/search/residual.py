"""Residual networks for small images as supernets: which channels are cut together.

    stage k width     the residual stream: the stem or a projection begins it, every block adds to
                      it, the next projection or the head reads it
    block i inner     between the two convolutions of a block
    stage k depth     blocks that add to the stream without a projection; the others must stay

A network fits by the names of its parts, whatever its class: `stem`, `blocks` (a sequence whose
members have `first`, `second`, `shortcut`) and a linear `head`; stem, first, second and a shortcut
that projects have a `conv` and a `norm`.

Source    He et al., "Deep Residual Learning", CVPR 2016, arXiv:1512.03385, section 4.2 (the
          networks); Cai et al., "Once-for-All", ICLR 2020, arXiv:1908.09791 (depth of a stage).
Read      supernet.py first.
"""

from dataclasses import dataclass, field

from torch import nn

from reference.pruning.search.supernet import Depth, Slot, Supernet, Width


@dataclass
class _Stream:
    channels: int
    slots: list[Slot] = field(default_factory=list)
    skippable: list[str] = field(default_factory=list)


def residual_supernet(network: nn.Module) -> Supernet:
    """
    Raises:
        ValueError: a part is missing, or a layer is none that slices suit.
    """
    _check(network)
    streams = [_begun(network.stem, "stem")]
    inner = []
    for index, (place, block) in enumerate(network.blocks.named_children()):
        name = f"blocks.{place}"
        read = [Slot(f"{name}.first.conv.weight", 1)]
        between = [*_written(block.first, f"{name}.first"), Slot(f"{name}.second.conv.weight", 1)]
        inner.append(Width(f"block{index}.inner", block.first.conv.out_channels, tuple(between)))
        if hasattr(block.shortcut, "conv"):
            streams[-1].slots += [*read, Slot(f"{name}.shortcut.conv.weight", 1)]
            streams.append(_begun(block.shortcut, f"{name}.shortcut"))
        else:
            streams[-1].slots += read
            streams[-1].skippable.append(name)
        streams[-1].slots += _written(block.second, f"{name}.second")
    streams[-1].slots.append(Slot("head.weight", 1))
    widths = [Width(f"stage{k}.width", s.channels, tuple(s.slots)) for k, s in enumerate(streams)]
    depths = [Depth(f"stage{k}.depth", tuple(s.skippable)) for k, s in enumerate(streams)]
    return Supernet(network, (*widths, *inner), tuple(depths))


def _begun(unit: nn.Module, name: str) -> _Stream:
    return _Stream(unit.conv.out_channels, _written(unit, name))


def _written(unit: nn.Module, name: str) -> list[Slot]:
    """All that has an entry or a row for each output channel of a convolution and its norm."""
    inside = {**dict(unit.named_parameters()), **dict(unit.named_buffers())}
    return [Slot(f"{name}.{each}", 0) for each, tensor in inside.items() if tensor.ndim]


def _check(network: nn.Module) -> None:
    missing = [each for each in ("stem", "blocks", "head") if not hasattr(network, each)]
    if missing:
        raise ValueError(f"{type(network).__name__} has no {missing[0]!r}: no residual network")
    for name, block in network.blocks.named_children():
        odd = [each for each in ("first", "second", "shortcut") if not hasattr(block, each)]
        if odd:
            raise ValueError(f"block {name!r} of {type(network).__name__} has no {odd[0]!r}")
