"""A teacher that is the average of its student: EMA and Mean Teacher.

    theta'_t = m theta'_(t-1) + (1 - m) theta_t                 m the decay
    L        = CE(q, y) + w(t) |softmax(z) - softmax(z')|^2 / C
    w(t)     = w exp(-5 (1 - t / t_w)^2) up to t_w, then w      t_w the end of the ramp

Averaged weights are a better model than the last ones, and at no price, so they can teach. Rows
without a label (IGNORED) are taught too: Mean Teacher is for data of which few have one.

From theta'_0 = theta_0 the average keeps m^t of weights that have learnt nothing. `debiased` takes
m_t = m (1 - m^t) / (1 - m^(t+1)) instead, which is 0 at step 0, m in the end, and makes the average
sum_i m^(t-i) theta_i / sum_i m^(t-i) at every step.

Source    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017,
          arXiv:1703.01780, section 2; the correction: Kingma and Ba, "Adam", ICLR 2015,
          arXiv:1412.6980, section 3.
Differs   The teacher answers in eval, the paper's with dropout and noise of its own. The paper
          begins with a lower decay instead of a correction. Statistics of batch norms are averaged
          with the weights.
Left out  Inputs with a distortion for each of the two.
Read      ../loop.py first.
"""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reference.distillation.loop import Epoch, LoopConfig, distill_
from reference.distillation.outputs import IGNORED, Batch, Outputs


def debiased(decay: float, step: int) -> float:
    """m_t: the decay at a step, counted from 0, with which initial weights have no part.

    Raises:
        ValueError: not 0 <= decay < 1, or a step below 0.
    """
    _check_decay(decay)
    if step < 0:
        raise ValueError(f"steps are counted from 0, got {step}")
    return decay * (1 - decay**step) / (1 - decay ** (step + 1))


@torch.no_grad()
def average_(average: nn.Module, model: nn.Module, decay: float) -> None:
    """One step of the recursion, in place; what is no float (counters) is copied.

    Raises:
        ValueError: not 0 <= decay < 1, or models that differ in shape.
    """
    _check_decay(decay)
    for (name, old), (_, new) in zip(_tensors(average), _tensors(model), strict=True):
        if old.shape != new.shape:
            raise ValueError(f"{name!r} is {tuple(old.shape)}, and {tuple(new.shape)} in the model")
        if old.is_floating_point():
            old.lerp_(new, 1 - decay)  # exact where both are equal, and with a decay of 0
        else:
            old.copy_(new)


def _tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Each once, though it may be tied to several names."""
    return [*model.named_parameters(), *model.named_buffers()]


def _check_decay(decay: float) -> None:
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be at least 0 and below 1, got {decay}")


@dataclass(frozen=True)
class MeanTeacher:
    """An objective: labels where there are any, and the teacher everywhere.

    Raises:
        ValueError: a weight below 0, or a ramp that is not within 0 and 1.
    """

    weight: float  # w, of consistency
    ramp: float = 0.3  # t_w, as progress; 0 for none

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must be at least 0, got {self.weight}")
        if not 0 <= self.ramp <= 1:
            raise ValueError(f"ramp must be within 0 and 1, got {self.ramp}")

    def weight_at(self, progress: float) -> float:
        if progress >= self.ramp:
            return self.weight
        return self.weight * math.exp(-5 * (1 - progress / self.ramp) ** 2)

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: there is no teacher.
        """
        if teacher is None:
            raise ValueError("consistency needs a teacher, got none")
        said, taught = student.logits.softmax(-1), teacher.logits.softmax(-1)
        consistency = F.mse_loss(said, taught)
        labelled = batch.labels != IGNORED
        if not labelled.any():
            return self.weight_at(progress) * consistency
        hard = F.cross_entropy(student.logits[labelled], batch.labels[labelled])
        return hard + self.weight_at(progress) * consistency


@dataclass(frozen=True)
class Averaged:
    average: nn.Module  # in eval; the better of the two, as a rule
    losses: list[float]


def train_with_average_(
    student: nn.Module,
    objective: MeanTeacher,
    epoch: Epoch,
    config: LoopConfig,
    decay: float,
) -> Averaged:
    """Train the student in place, taught by its own average, which is returned.

    Raises:
        ValueError: not 0 <= decay < 1, or as `distill_`.
    """
    _check_decay(decay)
    average = copy.deepcopy(student).requires_grad_(False).eval()

    def after_step(step: int) -> None:
        average_(average, student, debiased(decay, step))

    losses = distill_(student, average, objective, epoch, config, after_step=after_step)
    return Averaged(average, losses)
