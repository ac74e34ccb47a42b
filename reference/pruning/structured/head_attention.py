"""What heads look at: their attention probabilities, and two scores that need nothing else.

    confidence    E_q max_k a_hqk               1 for a head that always picks one token
    focus         -E_q H(a_hq)                  H the entropy in nats; 0 for such a head

Both are means over the tokens that stand, and neither asks what the network makes of the head: on
its own each says how sharp a head is, not how useful.

Source    Voita et al., "Analyzing Multi-Head Self-Attention: Specialized Heads Do the Heavy
          Lifting, the Rest Can Be Pruned", 2019, arXiv:1905.09418, section 4 (confidence);
          Clark et al., "What Does BERT Look At?", 2019, arXiv:1906.04341 (entropy).
Differs   Voita leaves the end-of-sentence token out; here only padding is.
Read      heads.py has the scores that ask the loss.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference import walk
from reference.pruning.structured.architecture import Block, architecture, block_widths
from reference.pruning.structured.tokens import rows, standing

Probabilities = Float[Tensor, "batch heads queries keys"]


def confidence(model: nn.Module, batches: Sequence[walk.Batch]) -> dict[str, Tensor]:
    """The mean largest probability of each head, by the name of its block: (heads,).

    Raises:
        ValueError: no batches, or attention that does not show its probabilities.
    """
    return _means(model, batches, lambda seen: seen.amax(-1))


def focus(model: nn.Module, batches: Sequence[walk.Batch]) -> dict[str, Tensor]:
    """The negative mean entropy of each head in nats, by the name of its block: (heads,).

    Raises:
        ValueError: no batches, or attention that does not show its probabilities.
    """
    return _means(model, batches, lambda seen: torch.xlogy(seen, seen).sum(-1))


def probabilities(model: nn.Module, batch: walk.Batch) -> dict[str, Probabilities]:
    """What each block's heads look at, by the name of the block. The model runs in eval.

    Raises:
        ValueError: attention that does not show its probabilities.
    """
    blocks = architecture(model).blocks
    seen: dict[str, Any] = {}
    with _watching(model, blocks, seen), walk.evaluating(model), torch.no_grad():
        walk.answer(model, batch)
    return {
        block.name: _shown(seen[block.name])
        if isinstance(seen[block.name], tuple)
        else _computed(model, block, seen, standing(batch))
        for block in blocks
    }


def _means(
    model: nn.Module, batches: Sequence[walk.Batch], of: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    if not batches:
        raise ValueError("attention is looked at on at least one batch, got none")
    found: dict[str, list[Tensor]] = {}
    for batch in batches:
        for name, seen in probabilities(model, batch).items():
            found.setdefault(name, []).append(rows(of(seen).transpose(1, 2), batch))
    return {name: torch.cat(each).mean(0) for name, each in found.items()}


@contextmanager
def _watching(model: nn.Module, blocks: Sequence[Block], seen: dict[str, Any]) -> Iterator[None]:
    def keep(name: str, _: nn.Module, arguments: Any, output: Any) -> None:
        seen[name] = output

    names = {block.attention: block.name for block in blocks}
    names |= {part: part for block in blocks for part in (block.query, block.key)}
    handles = [
        model.get_submodule(part).register_forward_hook(partial(keep, name))
        for part, name in names.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _shown(output: tuple[Any, ...]) -> Probabilities:
    if output[1] is None:
        raise ValueError(
            "this attention does not show its probabilities; "
            "expected a model with attn_implementation='eager'"
        )
    return output[1]


def _computed(
    model: nn.Module, block: Block, seen: dict[str, Tensor], stands: Tensor | None
) -> Probabilities:
    """softmax(q k' / sqrt d), for modules that keep theirs to themselves."""
    heads = block_widths(model, block).heads
    query, key = (
        seen[name].unflatten(-1, (heads, -1)).transpose(1, 2) for name in (block.query, block.key)
    )
    products = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if stands is not None:
        lowest = torch.finfo(products.dtype).min
        products = products.masked_fill(~stands[:, None, None, :], lowest)
    return products.softmax(-1)
