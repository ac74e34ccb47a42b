"""From losses of two tensors to an objective: which layers are compared, and what each counts.

    L = w_1 L_1 + ... + w_n L_n              terms: the labels, the teacher's answers, its features
    balanced: w_i L_i / c_i                  c_i is the first value of L_i that is not zero

Losses of features differ by orders of magnitude from each other and from a cross-entropy. Balanced,
every term begins at its weight, and a weight says the same for all of them.

Source    Weights by hand: Tian, Krishnan, Isola, ICLR 2020, arXiv:1910.10699, whose appendix lists
          one for each loss compared, from 0.02 to 30000. By the first value: Chen et al.,
          "GradNorm", ICML 2018, arXiv:1711.02257, which compares losses to their first values.
Left out  Weights that are learnt (GradNorm; Kendall et al. 2018, arXiv:1705.07115).
Read      regressors.py first; ../loop.py for what an objective is.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from reference.distillation.feature.regressors import check_pairs
from reference.distillation.loop import Objective, Taps
from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.schedules import Value, at

PairLoss = Callable[[Tensor, Tensor], Tensor]  # features of student and teacher -> scalar


class FeatureLoss(nn.Module):
    """The sum of one loss for each pair of taps. What is a module among the losses is trained."""

    def __init__(self, taps: Taps, losses: Sequence[PairLoss]) -> None:
        """
        Raises:
            ValueError: there are not as many taps of student and teacher and losses.
        """
        super().__init__()
        check_pairs(taps)
        if len(losses) != len(taps.student):
            raise ValueError(f"{len(taps.student)} pairs of taps need a loss each: {len(losses)}")
        self.taps, self.losses = taps, tuple(losses)
        self.trained = nn.ModuleList(each for each in losses if isinstance(each, nn.Module))

    def forward(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: there is no teacher, a tap was not watched, or as the losses.
        """
        pairs = zip(self.taps.student, self.taps.teacher, self.losses, strict=True)
        return sum_of(
            [
                loss(feature(student, mine, "student"), feature(teacher, theirs, "teacher"))
                for mine, theirs, loss in pairs
            ]
        )


class Regressed(nn.Module):
    """The loss of a student's features after its regressor."""

    def __init__(self, regressor: nn.Module, loss: PairLoss) -> None:
        super().__init__()
        self.regressor, self.loss = regressor, loss

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss(self.regressor(student), teacher)


class Term(NamedTuple):
    weight: Value  # a number, or a schedule; at 0 the objective is not asked
    objective: Objective


class WeightedSum(nn.Module):
    """An objective of several. What is a module among them is trained."""

    def __init__(self, terms: Sequence[Term], balanced: bool = False) -> None:
        """
        Raises:
            ValueError: there are no terms.
        """
        super().__init__()
        if not terms:
            raise ValueError("a weighted sum needs at least one term, got none")
        self.terms, self.balanced = tuple(terms), balanced
        modules = [term.objective for term in terms if isinstance(term.objective, nn.Module)]
        self.trained = nn.ModuleList(modules)
        self.firsts: list[float] = [0.0] * len(terms)  # 0 until there is one

    def forward(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: a weight is negative, all are zero, or as the terms.
        """
        found = []
        for index, (weight, objective) in enumerate(self.terms):
            value = at(weight, progress)
            if value < 0:
                raise ValueError(f"weights must be at least 0, got {value} at {progress}")
            if value > 0:
                loss = objective(student, teacher, batch, progress)
                found.append(value * self._scaled(index, loss))
        if not found:
            raise ValueError(f"all weights are 0 at progress {progress}; one must be positive")
        return sum_of(found)

    def _scaled(self, index: int, loss: Tensor) -> Tensor:
        if not self.balanced:
            return loss
        self.firsts[index] = self.firsts[index] or abs(loss.item())
        return loss / (self.firsts[index] or 1.0)


def feature(outputs: Outputs | None, tap: str, who: str) -> Tensor:
    """What a layer said.

    Raises:
        ValueError: there are no outputs, or the tap is not among them.
    """
    if outputs is None:
        raise ValueError(f"features need a {who}, got none")
    if tap not in outputs.features:
        watched = ", ".join(map(repr, outputs.features)) or "none"
        raise ValueError(f"{tap!r} of the {who} was not watched (taps: {watched})")
    return outputs.features[tap]


def sum_of(losses: Sequence[Tensor]) -> Tensor:
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total
