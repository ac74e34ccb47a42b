"""Densely guided distillation: every larger model of the chain teaches, and some are left out.

    A_1 <- T        A_2 <- T, A_1        S <- T, A_1, ..., A_n
    L = mean over k in K of L_k          L_k what one teacher alone would make of the batch
    K: each teacher with probability 1 - drop; where that leaves none, one of all

What an assistant got wrong is corrected by the models above it, where a chain hands it down. By
symmetry E L is the mean over all teachers, whatever is dropped; dropping varies whom the student
follows, batch by batch. With one teacher it is chain.py.

Source    Son et al., "Densely Guided Knowledge Distillation using Multiple Teacher Assistants",
          ICCV 2021, arXiv:2009.08825, section 3.
Differs   A mean instead of a sum, so that the learning rate means the same at every stage.
Left out  Weights of teachers; answers of teachers kept from step to step.
Read      chain.py first.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reference.distillation.loop import Epoch, Objective
from reference.distillation.outputs import Batch, Outputs, observe
from reference.distillation.progressive.chain import (
    EarlyStop,
    Learnt,
    Stage,
    check_chain,
    train_stage_,
)


class Committee(nn.Module):
    """Several teachers as one, whose logits are stacked on a first axis."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, *args: Tensor, **named: Tensor) -> Tensor:
        """(teachers, *logits)."""
        inputs = named or args[0]
        return torch.stack([observe(member, inputs).logits for member in self.members])


class DenseGuidance(nn.Module):
    """The objective of a stage; what `one` trains is trained.

    Raises:
        ValueError: `drop` is not at least 0 and below 1.
    """

    def __init__(self, one: Objective, drop: float = 0.0) -> None:
        super().__init__()
        if not 0 <= drop < 1:
            raise ValueError(f"drop must be at least 0 and below 1, got {drop}")
        self.one, self.drop = one, drop

    def forward(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: the teacher is no committee.
        """
        if teacher is None or teacher.logits.ndim != student.logits.ndim + 1:
            raise ValueError("dense guidance needs a committee, whose logits have an axis more")
        kept = kept_teachers(len(teacher.logits), self.drop).nonzero().flatten()
        losses = [
            self.one(student, Outputs(teacher.logits[k]), batch, progress) for k in kept.tolist()
        ]
        return torch.stack(losses).mean()


def kept_teachers(teachers: int, drop: float) -> Bool[Tensor, " teachers"]:
    """Who teaches a batch, at least one. Draws are torch's: `distill_` seeds them."""
    if drop == 0 or teachers == 1:  # without a draw, so that one teacher is plain distillation
        return torch.ones(teachers, dtype=torch.bool)
    kept = torch.rand(teachers) >= drop
    if not kept.any():
        kept[torch.randint(teachers, ())] = True
    return kept


def dense_chain_(
    teacher: nn.Module,
    stages: Sequence[Stage],
    epoch: Epoch,
    drop: float = 0.0,
    stop: EarlyStop | None = None,
) -> tuple[Learnt, ...]:
    """Train the student of every stage in place, taught by the teacher and all before it.

    Each stage's objective is for one teacher.

    Raises:
        ValueError: no stages, a model that occurs twice, or as `DenseGuidance` and `distill_`.
    """
    check_chain(teacher, stages)
    above, learnt = [teacher], []
    for stage in stages:
        dense = replace(stage, objective=DenseGuidance(stage.objective, drop))
        learnt.append(train_stage_(Committee(above), dense, epoch, stop))
        above.append(stage.student)
    return tuple(learnt)
