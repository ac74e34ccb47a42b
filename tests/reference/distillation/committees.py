"""Answers of several networks that are drawn, and batches to them."""

import torch
from torch import Tensor

from reference.distillation.outputs import IGNORED, Batch, Outputs


def drawn(seed: int, teachers: int = 3, rows: int = 5, classes: int = 4, spread: float = 2.0):
    """Student, committee and batch, in float64; the last row has no label."""
    generator = torch.Generator().manual_seed(seed)

    def logits(*shape: int) -> Tensor:
        return spread * torch.randn(*shape, classes, generator=generator, dtype=torch.float64)

    labels = torch.randint(classes, (rows,), generator=generator)
    labels[-1] = IGNORED
    student = logits(rows).requires_grad_(True)
    return Outputs(student), Outputs(logits(teachers, rows)), Batch(torch.zeros(rows, 1), labels)


def gradient(objective, student: Outputs, teacher: Outputs | None, batch: Batch) -> Tensor:
    loss = objective(student, teacher, batch, 0.5)
    return torch.autograd.grad(loss, student.logits)[0]
