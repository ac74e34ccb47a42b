"""Whether a grown network still computes what it did: asked of the network, not of its layers.

An identity is none behind a tanh, a layer of zeros is none before a norm, and copies in grouped
convolutions may come into another group. A list of such cases
would be wrong with the next layer that somebody writes, and an example is not.

Read      widen.py and deepen.py refuse what does not pass.
"""

import torch
from torch import Tensor, nn

from reference import walk


@torch.no_grad()
def change(model: nn.Module, grown: nn.Module, example: walk.Batch) -> float:
    """The largest difference of two networks' outputs over the largest output, both in eval."""
    before, after = (_said(each, example) for each in (model, grown))
    largest = before.abs().max().clamp(min=torch.finfo(before.dtype).tiny)
    return float((after - before).abs().max() / largest)


def refuse_change(model: nn.Module, grown: nn.Module, example: walk.Batch, why: str) -> None:
    """Rounding is let pass: half of the digits of the network's numbers.

    Raises:
        ValueError: the outputs differ; `why` says what could be the reason.
    """
    found = change(model, grown, example)
    limit = torch.finfo(_said(model, example).dtype).eps ** 0.5
    if not found <= limit:
        raise ValueError(f"the grown network's outputs differ by {found:.2g} of the largest: {why}")


@torch.no_grad()
def _said(model: nn.Module, example: walk.Batch) -> Tensor:
    with walk.evaluating(model), torch.random.fork_rng(devices=[]):
        answer = walk.answer(model, example)
    return getattr(answer, "logits", answer)
