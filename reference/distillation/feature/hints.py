"""FitNets: a hint from the middle of the teacher, and training in stages.

    hint loss     mean over all entries of (r(h_s) - h_t)^2        r: a regressor, left behind
    stage one     the student up to its guided layer, and r, on the hint alone
    stage two     all of the student, on the task and the teacher's answers

The hint starts the lower half of a student that is too thin and deep to be started otherwise. In
stage one nothing after the guided layer has a gradient, so nothing there is trained.

Source    Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv:1412.6550, sections
          2.2 and 2.4, algorithm 1.
Differs   The mean of squares, where the paper has half their sum. Batch norms after the guided
          layer see stage one's batches, as the whole student runs.
Left out  Annealing of the teacher's weight in stage two: response/schedules.py has it.
Read      regressors.py and pairs.py first.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reference.distillation.feature.regressors import Features, same_shape
from reference.distillation.loop import Epoch, distill_
from reference.distillation.progressive.chain import Stage


def hint_loss(student: Features, teacher: Features) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: shapes differ in more than the height and width of maps.
    """
    return F.mse_loss(*same_shape(student, teacher))


def in_stages_(
    teacher: nn.Module | None, stages: Sequence[Stage], epoch: Epoch
) -> tuple[list[float], ...]:
    """Train one student in place by one objective after the other; the losses of each.

    Every stage begins with a fresh optimizer and its own cycle of the learning rate.

    Raises:
        ValueError: there are no stages, they have different students, or as `distill_`.
    """
    students = {id(stage.student) for stage in stages}
    if len(students) != 1:
        raise ValueError(f"stages must train one student, got {len(students)}")
    return tuple(
        distill_(stage.student, teacher, stage.objective, epoch, stage.config, stage.taps)
        for stage in stages
    )
