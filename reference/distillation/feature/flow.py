"""FSP: how features flow from one layer to the next, as a matrix of inner products.

    G_ij = sum over places of F_i H_j / (h w)        F, H: maps of a lower and a higher layer
    L    = mean over rows of |G_s - G_t|_F^2

A solution procedure is taught, not an intermediate result. Places are averaged out, so that maps of
student and teacher may differ in size, but not in channels: then a 1x1 regressor helps.

Source    Yim et al., "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization
          and Transfer Learning", CVPR 2017, sections 3.2 to 3.4.
Differs   No weights between several flows; pairs.py weighs objectives.
Read      pairs.py first. hints.py trains in two stages, as the paper does.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reference.distillation.feature.pairs import feature
from reference.distillation.loop import Taps
from reference.distillation.outputs import Batch, Outputs

Maps = Float[Tensor, "rows channels height width"]


def flow(
    lower: Maps, higher: Float[Tensor, "_ others _ _"]
) -> Float[Tensor, "rows channels others"]:
    """FSP's matrix of each row. The larger map is pooled to the size of the smaller, by its maxima.

    Raises:
        ValueError: the numbers of rows differ.
    """
    if lower.shape[0] != higher.shape[0]:
        raise ValueError(f"rows must be the same, got {lower.shape[0]} and {higher.shape[0]}")
    size = [min(a, b) for a, b in zip(lower.shape[2:], higher.shape[2:], strict=True)]
    first, second = (F.adaptive_max_pool2d(each, size).flatten(2) for each in (lower, higher))
    return first @ second.mT / first.shape[2]


class FlowLoss(nn.Module):
    """An objective of two taps of each model, lower and higher.

    Raises:
        ValueError: not two taps of each; at a batch, channels differ, or as `flow`.
    """

    def __init__(self, taps: Taps, regressors: tuple[nn.Module, nn.Module] | None = None) -> None:
        super().__init__()
        if not len(taps.student) == len(taps.teacher) == 2:
            counts = f"{len(taps.student)} and {len(taps.teacher)}"
            raise ValueError(f"a flow has two taps of student and teacher, got {counts}")
        self.taps = taps
        self.regressors = nn.ModuleList(regressors or (nn.Identity(), nn.Identity()))

    def forward(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        mine = [
            regressor(feature(student, tap, "student"))
            for regressor, tap in zip(self.regressors, self.taps.student, strict=True)
        ]
        theirs = [feature(teacher, tap, "teacher") for tap in self.taps.teacher]
        return flow_loss(flow(*mine), flow(*theirs))


def flow_loss(
    student: Float[Tensor, "rows c_s d_s"], teacher: Float[Tensor, "rows c_t d_t"]
) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: shapes differ.
    """
    if student.shape != teacher.shape:
        shapes = f"{tuple(student.shape[1:])} and {tuple(teacher.shape[1:])}"
        raise ValueError(f"flows need the same channels, got {shapes}; regressors make them so")
    return (student - teacher).square().sum((1, 2)).mean()
