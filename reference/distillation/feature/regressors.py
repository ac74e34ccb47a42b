"""Regressors: a student's features carried to where a teacher's are, as training needs it.

A thin student's features have fewer channels than its teacher's. A small network between them is
trained with the student, as part of the objective, and stays behind: the student never runs it.

    linear       W h + b over the last axis
    mlp          W_2 relu(W_1 h + b_1) + b_2, as wide between as the teacher
    conv_1x1     W h + b at each place of a map
    fitted_conv  a convolution without padding, of the size that takes the student's map to the
                 teacher's: k = 1 + size_s - size_t

Shapes are those that were observed, so nothing has to be counted by hand.

Source    Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv:1412.6550, section
          2.3 (convolutions in place of a matrix over the whole map); 1x1: Zagoruyko and Komodakis
          2017, arXiv:1612.03928, section 4.2; linear: Jiao et al. 2020, arXiv:1909.10351.
Differs   Where maps differ in size and the regressor leaves that so, the larger is averaged down.
Left out  Transposed convolutions, for a student whose maps are smaller: its teacher's are averaged.
Read      ../outputs.py for taps. pairs.py puts regressors into an objective.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reference.distillation.loop import Taps
from reference.distillation.outputs import Inputs, taught

Features = Float[Tensor, "..."]  # rows first; widths and sizes of two models may differ
Build = Callable[[Tensor, Tensor], nn.Module]  # features of student and teacher -> regressor


def linear(student: Float[Tensor, "*_ d_s"], teacher: Float[Tensor, "*_ d_t"]) -> nn.Linear:
    return nn.Linear(student.shape[-1], teacher.shape[-1], **_like(student))


def mlp(student: Float[Tensor, "*_ d_s"], teacher: Float[Tensor, "*_ d_t"]) -> nn.Sequential:
    width = teacher.shape[-1]
    return nn.Sequential(
        linear(student, teacher), nn.ReLU(), nn.Linear(width, width, **_like(student))
    )


def conv_1x1(student: Float[Tensor, "_ c_s _ _"], teacher: Float[Tensor, "_ c_t _ _"]) -> nn.Conv2d:
    return nn.Conv2d(student.shape[1], teacher.shape[1], 1, **_like(student))


def fitted_conv(
    student: Float[Tensor, "_ c_s _ _"], teacher: Float[Tensor, "_ c_t _ _"]
) -> nn.Conv2d:
    """
    Raises:
        ValueError: the teacher's map is larger, in either direction.
    """
    height, width = (1 + student.shape[axis] - teacher.shape[axis] for axis in (2, 3))
    if min(height, width) < 1:
        sizes = f"{tuple(student.shape[2:])} and {tuple(teacher.shape[2:])}"
        raise ValueError(f"a fitted convolution makes maps smaller; got maps of {sizes}")
    return nn.Conv2d(student.shape[1], teacher.shape[1], (height, width), **_like(student))


def built(
    build: Build, student: nn.Module, teacher: nn.Module, inputs: Inputs, taps: Taps
) -> nn.ModuleList:
    """One regressor for each pair of taps, from what both models say to the same inputs.

    Raises:
        ValueError: there are not as many taps of one as of the other, or as `observe` and `build`.
    """
    check_pairs(taps)
    mine = taught(student, inputs, taps.student).features  # in eval, without a graph, and restored
    theirs = taught(teacher, inputs, taps.teacher).features
    pairs = zip(taps.student, taps.teacher, strict=True)
    return nn.ModuleList(build(mine[name], theirs[other]) for name, other in pairs)


def check_pairs(taps: Taps) -> None:
    if not taps.student or len(taps.student) != len(taps.teacher):
        counts = f"{len(taps.student)} and {len(taps.teacher)}"
        raise ValueError(f"student and teacher need as many taps, at least one; got {counts}")


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of one height and width: the larger of each is averaged down. All else is left alone.

    Raises:
        ValueError: the numbers of rows, or of axes, differ.
    """
    if student.ndim != teacher.ndim or student.shape[0] != teacher.shape[0]:
        shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(f"features need the same rows and as many axes, got {shapes}")
    if student.ndim != 4 or student.shape[2:] == teacher.shape[2:]:
        return student, teacher
    size = [min(a, b) for a, b in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    return F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size)


def same_shape(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """As `same_size`, and with as many channels.

    Raises:
        ValueError: shapes differ in more than height and width.
    """
    mine, theirs = same_size(student, teacher)
    if mine.shape != theirs.shape:
        shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(f"features must be as wide, got {shapes}; a regressor makes them so")
    return mine, theirs


def _like(features: Tensor) -> dict[str, torch.dtype | torch.device]:
    return {"dtype": features.dtype, "device": features.device}
