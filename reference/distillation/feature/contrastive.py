"""CRD: the student's view of a row is to be found among others by the teacher's view of it.

Both features are projected to one width and to length 1; t is the temperature, c = s'v / t.

    in the batch     InfoNCE: the others of the batch are what is not to be found
                     L = 1/2 mean_i [H(i, softmax_j c_ij) + H(i, softmax_j c_ji)]
    with a memory    NCE, the paper's: N rows are drawn from the M of the data
                     h(c) = exp(c) / (exp(c) + N / M) = sigmoid(c - log(N / M))
                     L = -mean_i [log h(c_i) + sum over N drawn of log(1 - h(c_n))], both ways round

The memory keeps a projection of every row of the data, of both models, and lets it follow by a
moving average: negatives cost no forward pass, but are those of up to an epoch ago. It wants to
know which rows a batch has. Both draw negatives from other classes, where rows have a class.

Source    Tian, Krishnan, Isola, "Contrastive Representation Distillation", ICLR 2020,
          arXiv:1910.10699, section 3.2; t of 0.07, a width of 128, half of the memory kept: the
          authors' code. InfoNCE: van den Oord et al. 2018, arXiv:1807.03748, equation 4.
Differs   The positive of the memory variant is this batch's projection of both; the authors' code
          reads one from the memory, and divides exp(c) by its mean over the first batch.
Read      vectors.py and pairs.py first.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reference.distillation.feature.pairs import feature
from reference.distillation.feature.regressors import Features
from reference.distillation.feature.vectors import unit
from reference.distillation.outputs import Batch, Outputs

Embedded = Float[Tensor, "rows width"]


@dataclass(frozen=True)
class IndexedBatch(Batch):
    rows: Tensor  # integers: which rows of the data these are, each once


class Projections(nn.Module):
    """Features of both models as vectors of one width, at length 1. Both maps are trained."""

    def __init__(self, student_width: int, teacher_width: int, width: int = 128) -> None:
        super().__init__()
        self.width = width
        self.student = nn.Linear(student_width, width)
        self.teacher = nn.Linear(teacher_width, width)

    def forward(self, student: Features, teacher: Features) -> tuple[Embedded, Embedded]:
        mine, theirs = self.student(student.flatten(1)), self.teacher(teacher.flatten(1))
        return unit(mine), unit(theirs)


class InBatch(nn.Module):
    """The objective whose negatives are the rest of the batch."""

    def __init__(
        self, taps: tuple[str, str], projections: Projections, temperature: float = 0.07
    ) -> None:
        super().__init__()
        self.taps, self.projections, self.temperature = taps, projections, temperature

    def forward(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: as `feature` and `info_nce`.
        """
        mine, theirs = self.projections(*_features(self.taps, student, teacher))
        return info_nce(mine, theirs, self.temperature, other_class(batch.labels, batch.labels))


class WithMemory(nn.Module):
    """The objective whose negatives are drawn from a memory of all the data.

    Args:
        labels: of every row of the data, in the order that `IndexedBatch.rows` counts in.
        negatives: N, how many are drawn for each row, with replacement.
        kept: how much of what is remembered stays when a row is seen again.

    Raises:
        ValueError: there are not two classes, N is below 1, or kept is not within 0 and 1; at a
            batch, it does not say its rows, or as `feature`.
    """

    student_memory: Tensor
    teacher_memory: Tensor
    labels: Tensor

    def __init__(
        self,
        taps: tuple[str, str],
        projections: Projections,
        labels: Int[Tensor, " data"],
        negatives: int = 16384,
        temperature: float = 0.07,
        kept: float = 0.5,
    ) -> None:
        super().__init__()
        if len(labels.unique()) < 2 or negatives < 1 or not 0 <= kept <= 1:
            raise ValueError(
                "a memory needs two classes, a negative and kept within 0 and 1, "
                f"got {len(labels.unique())}, {negatives} and {kept}"
            )
        self.taps, self.projections = taps, projections
        self.negatives, self.temperature, self.kept = negatives, temperature, kept
        self.register_buffer("labels", labels)
        for name in ("student_memory", "teacher_memory"):
            self.register_buffer(name, unit(torch.randn(len(labels), projections.width)))

    def forward(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        if not isinstance(batch, IndexedBatch):
            raise ValueError(f"a memory needs an IndexedBatch, got {type(batch).__name__}")
        mine, theirs = self.projections(*_features(self.taps, student, teacher))
        allowed = other_class(batch.labels, self.labels).float()
        drawn = torch.multinomial(allowed, self.negatives, replacement=True)
        negatives = self.teacher_memory[drawn], self.student_memory[drawn]
        loss = nce(mine, theirs, *negatives, self.temperature, len(self.labels))
        if self.training:
            self._remember(batch.rows, mine, theirs)
        return loss

    @torch.no_grad()
    def _remember(self, rows: Int[Tensor, " rows"], mine: Embedded, theirs: Embedded) -> None:
        for memory, seen in ((self.student_memory, mine), (self.teacher_memory, theirs)):
            memory[rows] = unit(self.kept * memory[rows] + (1 - self.kept) * seen)


def info_nce(
    student: Embedded,
    teacher: Embedded,
    temperature: float,
    negatives: Bool[Tensor, "rows rows"],
) -> Float[Tensor, ""]:
    """Both ways round; a row without negatives has a loss of 0.

    Raises:
        ValueError: fewer than two rows, or a temperature that is not positive.
    """
    if len(student) < 2:
        raise ValueError(f"a contrast needs at least 2 rows, got {len(student)}")
    own = torch.arange(len(student), device=student.device)
    compared = negatives | torch.eye(len(student), dtype=torch.bool, device=student.device)
    scores = _scores(student @ teacher.mT, temperature).masked_fill(~compared, -math.inf)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.mT, own)) / 2


def nce(
    student: Embedded,
    teacher: Embedded,
    teacher_negatives: Float[Tensor, "rows drawn width"],
    student_negatives: Float[Tensor, "rows drawn width"],
    temperature: float,
    population: int,
) -> Float[Tensor, ""]:
    """Both ways round: each student row among the teacher's, and the other way.

    Raises:
        ValueError: a temperature that is not positive.
    """
    shift = math.log(teacher_negatives.shape[1] / population)
    found = F.logsigmoid(_scores((student * teacher).sum(1), temperature) - shift)
    missed = [
        F.logsigmoid(shift - _scores(torch.einsum("rnw,rw->rn", others, own), temperature)).sum(1)
        for own, others in ((student, teacher_negatives), (teacher, student_negatives))
    ]
    return -(2 * found + missed[0] + missed[1]).mean()


def other_class(
    labels: Int[Tensor, " rows"], others: Int[Tensor, " others"]
) -> Bool[Tensor, "rows others"]:
    return labels.unsqueeze(1) != others.unsqueeze(0)


def _features(
    taps: tuple[str, str], student: Outputs, teacher: Outputs | None
) -> tuple[Tensor, Tensor]:
    return feature(student, taps[0], "student"), feature(teacher, taps[1], "teacher")


def _scores(inner: Tensor, temperature: float) -> Tensor:
    if not 0 < temperature < math.inf:
        raise ValueError(f"a temperature must be positive and finite, got {temperature}")
    return inner / temperature
