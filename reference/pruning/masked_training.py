"""Training under masks: what is removed stays removed, whatever the optimizer does.

Zeroing weights once is not enough. Their gradients are not zero, and an optimizer moves a weight by
what it remembers, too: momentum of the time before the mask, Adam's averages. So

    after backward    gradients of removed weights become 0     before they count in a clipped norm
    after each step   removed weights become 0, and so does what the optimizer keeps for them

Kept weights learn exactly as if the others did not exist: bit for bit the training of the model
whose weight is where(mask, w, 0). A weight that comes back later begins at 0, without a past.

No optimizer is handed over. Its step is caught wherever it is made, inside a training loop that
knows nothing of masks, too; that holds while the context is open, for the weights that have masks.
A loop that restores an earlier state at its end restores one of an earlier mask: train under one
mask, then choose the next.

Source    Han et al., 2015, arXiv:1506.02626, section 3 (retraining what is left); Zhu & Gupta,
          2017, arXiv:1710.01878 (masks that training cannot undo).
Differs   Both multiply by the mask in the forward pass and leave hidden values behind; here the
          model's own weights are zero, and its state dict is that of any other model. What an
          optimizer keeps goes to 0 even where it would begin at another value (Adagrad, Rprop).
Left out  Optimizers that remember a step as one vector of all weights (LBFGS): weights and
          gradients are masked, its memory is not.
Read      weights.py first. Used by gradual.py, rigl.py.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from reference.pruning.masks import Masks
from reference.pruning.weights import apply_masks_, named


class MaskedTraining:
    """The masks in force, and how many steps were taken under them."""

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        self.model = model
        self.weights = named(model, masks)
        self.steps = 0
        self._put_(masks)

    @property
    def masks(self) -> Masks:
        return {name: ~each for name, each in self._removed.items()}

    def set_masks_(self, masks: Mapping[str, Tensor]) -> None:
        """Other masks from here on. What they bring back is 0 and learns from now.

        Raises:
            ValueError: they are not for the same weights.
        """
        if masks.keys() != self.weights.keys():
            odd = sorted(masks.keys() ^ self.weights.keys())
            raise ValueError(f"training is masked for other weights: {', '.join(odd)}")
        self._put_(masks)

    def _put_(self, masks: Mapping[str, Tensor]) -> None:
        apply_masks_(self.model, masks)
        self._removed = {
            name: ~masks[name].to(weight.device, torch.bool)
            for name, weight in self.weights.items()
        }
        for name, weight in self.weights.items():
            self._mask_gradient_(name, weight)

    @torch.no_grad()
    def _mask_gradient_(self, name: str, weight: Tensor) -> None:
        if weight.grad is not None:
            weight.grad.masked_fill_(self._removed[name], 0)

    @torch.no_grad()
    def _mask_step_(self, optimizer: Optimizer) -> None:
        for name, weight in self.weights.items():
            weight.masked_fill_(self._removed[name], 0)
            for kept in optimizer.state.get(weight, {}).values():
                if isinstance(kept, Tensor) and kept.shape == weight.shape:
                    kept.masked_fill_(self._removed[name], 0)


@contextmanager
def masked_training(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    after_step: Callable[[MaskedTraining], None] | None = None,
) -> Iterator[MaskedTraining]:
    """Inside, what the masks remove is zero after every step; so it is at the end.

    Args:
        after_step: called after each step of an optimizer that holds a masked weight; it may
            change the masks.

    Raises:
        ValueError: a mask names no parameter of this model, or has another shape.
    """
    training = MaskedTraining(model, masks)

    def stepped(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        held = {id(each) for group in optimizer.param_groups for each in group["params"]}
        if held.isdisjoint(id(each) for each in training.weights.values()):
            return
        training._mask_step_(optimizer)
        training.steps += 1
        if after_step is not None:
            after_step(training)

    handles = [register_optimizer_step_post_hook(stepped)]
    for name, weight in training.weights.items():
        if weight.requires_grad:
            handles.append(weight.register_post_accumulate_grad_hook(_masking(training, name)))
    try:
        yield training
        apply_masks_(model, training.masks)  # a loop may have restored an earlier state
    finally:
        for handle in handles:
            handle.remove()


def _masking(training: MaskedTraining, name: str) -> Callable[[Tensor], None]:
    return lambda weight: training._mask_gradient_(name, weight)
