"""CA-MKD: teachers that know the answer weigh more, for each example; so do features that do.

    CE_k = -log softmax(v_k)_y             w_k = (1 - exp(CE_k) / sum_j exp(CE_j)) / (K - 1)
    F'_k = r_k(features of the student)    u_k by the same rule from -log softmax(c_k(F'_k))_y
    L    = (1 - a) CE(q, y) + a sum_k w_k T^2 KL(p_k || q) + b sum_k u_k |F_k - F'_k|^2 / n

exp(CE_k) is 1 / the probability of the label, so a teacher that excludes it weighs nothing. r_k
brings the student's last features to teacher k's shape; c_k, the rest of teacher k, classifies
them: whose classifier can already read them teaches them most. Of K teachers no weight is above
1 / (K - 1). The paper needs two teachers; one alone has a weight of 1.

Source    Zhang, Chen, Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", ICASSP 2022,
          arXiv:2201.00007.
Differs   KL instead of cross-entropy with p_k: the same gradient. No gradient through u_k; in the
          authors' code there is one. The paper weighs labels with 1, not with 1 - a.
Left out  Shapes: r_k is given. The authors' is a convolution of 1 x 1, a batch norm and a ReLU.
Read      weighted.py first.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from reference.distillation.committee.weighted import Voices, WeightedTeachers
from reference.distillation.loop import Taps
from reference.distillation.outputs import IGNORED, Batch, Outputs


def confident(voices: Voices) -> Float[Tensor, "teachers _"]:
    """w, for `WeightedTeachers`."""
    return confidence(voices.teachers, voices.labels)


def confidence(
    said: Float[Tensor, "teachers rows classes"], labels: Int[Tensor, " rows"]
) -> Float[Tensor, "teachers rows"]:
    """Weights from logits and labels; they add up to 1 over teachers."""
    if len(said) == 1:
        return torch.ones_like(said[..., 0])
    logs = said.log_softmax(-1)
    right = logs.gather(-1, labels.expand(len(said), -1).unsqueeze(-1)).squeeze(-1)
    finite = right.clamp_min(torch.finfo(right.dtype).min)  # teachers may exclude the label
    return (1 - (-finite).softmax(0)) / (len(said) - 1)


@dataclass(frozen=True)
class Reader:
    """How the features of one teacher are reached."""

    tap: str  # of its last features, within the committee: "members.0.layer3"
    regressor: nn.Module  # r_k, trained with the student
    classifier: nn.Module  # c_k, what the teacher makes of those features; a copy is kept, frozen


class ConfidentTeachers(nn.Module):
    """The objective with features, for `distill_` with its own `taps`.

    Args:
        student_tap: of the student's last features.
        readers: one for each teacher, in the committee's order.
        answers: a and the temperature.
        feature_weight: b.

    Raises:
        ValueError: no readers, or a weight below 0.
    """

    def __init__(
        self,
        student_tap: str,
        readers: Sequence[Reader],
        answers: WeightedTeachers = WeightedTeachers(confident),
        feature_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not readers:
            raise ValueError("at least one teacher must be read, got no readers")
        if feature_weight < 0:
            raise ValueError(f"feature_weight must be at least 0, got {feature_weight}")
        self.answers, self.feature_weight = answers, feature_weight
        self.taps = Taps([student_tap], [reader.tap for reader in readers])
        self.regressors = nn.ModuleList(reader.regressor for reader in readers)
        self.classifiers = nn.ModuleList(copy.deepcopy(reader.classifier) for reader in readers)
        self.classifiers.requires_grad_(False)

    def train(self, mode: bool = True) -> "ConfidentTeachers":
        super().train(mode)
        self.classifiers.eval()
        return self

    def forward(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: as `WeightedTeachers`, labels that are not one for each row, or a regressor
                that does not give the shape of its teacher.
        """
        loss = self.answers(student, teacher, batch, progress)
        if batch.labels.ndim != 1:
            raise ValueError(f"features need one label a row, got {tuple(batch.labels.shape)}")
        kept = batch.labels != IGNORED
        own = student.features[self.taps.student[0]]
        aims = [teacher.features[tap][kept] for tap in self.taps.teacher]
        reached = [regressor(own)[kept] for regressor in self.regressors]
        return loss + self.feature_weight * self._apart(reached, aims, batch.labels[kept])

    def _apart(
        self, reached: Sequence[Tensor], aims: Sequence[Tensor], labels: Tensor
    ) -> Float[Tensor, ""]:
        with torch.no_grad():
            read = [c(features) for c, features in zip(self.classifiers, reached, strict=True)]
            weights = confidence(torch.stack(read), labels)
        squares = [
            _squares(*each, tap)
            for *each, tap in zip(reached, aims, self.taps.teacher, strict=True)
        ]
        return (weights * torch.stack(squares)).sum(0).mean()


def _squares(reached: Tensor, aim: Tensor, tap: str) -> Float[Tensor, " rows"]:
    if reached.shape != aim.shape:
        shapes = f"{tuple(reached.shape)}, not {tuple(aim.shape)}"
        raise ValueError(f"the regressor for {tap!r} gives features of {shapes}")
    return F.mse_loss(reached, aim, reduction="none").flatten(1).mean(1)
