"""Batch-norm statistics of a subnet, measured anew: those of the supernet belong to no subnet.

    mean, variance    of each channel over all values of all batches; the variance is unbiased

All norms are measured in one pass. Within it each normalises by the statistics of its batch, as in
training, so what reaches the deeper ones does not depend on the old statistics.

Source    Yu and Huang, "Universally Slimmable Networks", ICCV 2019, arXiv:1903.05134, section 3.3
          (statistics measured after training); Cai et al., "Once-for-All", ICLR 2020.
Differs   The variance is over all batches together, not the mean of each batch's own.
Left out  Norms that were not to be measured: give a model without them.
Read      By itself. Give training data: neither the search split nor the test set.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reference import walk


def recalibrated(model: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    """A copy whose running means and variances are those of these batches; nothing else differs.

    Raises:
        ValueError: no batch norm with running statistics, no batches, or a norm that they do not
            reach or that saw fewer than two values of a channel.
    """
    found = copy.deepcopy(model)
    norms = {
        name: each
        for name, each in found.named_modules()
        if isinstance(each, _BatchNorm) and each.running_mean is not None
    }
    if not norms or not batches:
        raise ValueError(f"{len(norms)} batch norms and {len(batches)} batches: need one of each")
    for name, sums in _sums(found, norms, batches).items():
        if sums.count < 2:
            raise ValueError(f"{name!r} saw {sums.count} values of a channel; two at least")
        norms[name].running_mean.copy_(sums.mean)
        norms[name].running_var.copy_(sums.squares / (sums.count - 1))
    return found


class _Sums:
    """Counts, means and sums of squared distances from the mean, batch by batch (Chan et al.)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].detach().double().movedim(1, -1).flatten(0, -2)
        new, mean = len(values), values.mean(0)
        apart = mean - self.mean
        total = self.count + new
        inside = (values - mean).square().sum(0)
        self.squares = self.squares + inside + apart.square() * self.count * new / total
        self.mean = self.mean + apart * new / total
        self.count = total


@torch.no_grad()
def _sums(
    model: nn.Module, norms: dict[str, _BatchNorm], batches: Sequence[Tensor]
) -> dict[str, _Sums]:
    """Runs the model, its norms as in training. It keeps its buffers."""
    sums = {name: _Sums() for name in norms}
    handles = [norm.register_forward_pre_hook(sums[name]) for name, norm in norms.items()]
    before = {name: each.clone() for name, each in model.named_buffers()}
    try:
        with walk.evaluating(model):
            for norm in norms.values():
                norm.training = True
            for batch in batches:
                model(batch)
    finally:
        for handle in handles:
            handle.remove()
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
    return sums
