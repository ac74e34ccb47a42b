"""Be your own teacher: the deepest layers of a network teach its earlier ones.

    L = CE(q_C, y) + sum over i < C of [ (1 - a) CE(q_i, y) + a T^2 KL(q_C || q_i)
                                         + lambda |F_i - F_C|^2 / n ]
    F_i = bottleneck_i(features of stage i), of the shape of F_C; q_i = softmax(classifier_i(F_i))

Each stage gets a bottleneck and a classifier that are there for training only. The deepest answer
q_C and the deepest features F_C are targets: no gradient passes into them from the shallow ones, so
the deepest classifier learns from labels, and the stages below it from everything.

Source    Zhang et al., "Be Your Own Teacher: Improve the Performance of Convolutional Neural
          Networks via Self Distillation", ICCV 2019, arXiv:1905.08094, section 3.
Differs   Stages are watched from outside and the heads belong to the objective: the network that is
          trained is the network that is exported. Squares are a mean over values, so that lambda
          means the same at every size; the authors' code sums them, where either is positive.
Left out  Early exits at use; the ensemble of all classifiers. The heads are there for both.
Read      ../loop.py first: what an objective trains.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reference.distillation.loop import Taps
from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, learnt, soft_divergence


class Head(nn.Module):
    """What turns a stage's features into the deepest ones', and those into logits."""

    def __init__(self, bottleneck: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.bottleneck, self.classifier = bottleneck, classifier


class BeYourOwnTeacher(nn.Module):
    """An objective without a teacher, for `distill_` with its own `taps`.

    Args:
        heads: by tap, the name of a stage.
        deepest: the tap of F_C, the features that the network's own classifier reads.
        temperature, alpha, feature_weight: T, a and lambda.

    Raises:
        ValueError: no heads, a head on the deepest stage, or a number out of its range.
    """

    def __init__(
        self,
        heads: Mapping[str, Head],
        deepest: str,
        temperature: float = 3.0,
        alpha: float = 0.1,
        feature_weight: float = 0.1,
    ) -> None:
        super().__init__()
        if not heads or deepest in heads:
            raise ValueError(f"heads belong on stages other than {deepest!r}, got {list(heads)}")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be within 0 and 1, got {alpha}")
        if feature_weight < 0:
            raise ValueError(f"feature_weight must be at least 0, got {feature_weight}")
        self.taps = Taps(student=[*heads, deepest])
        self.heads = nn.ModuleList(heads.values())
        self.temperature, self.alpha, self.feature_weight = temperature, alpha, feature_weight

    def forward(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: a bottleneck that does not give the deepest shape, or as `learnt`.
        """
        *stages, deepest = self.taps.student
        answer = Outputs(student.logits.detach())
        aim = student.features[deepest].detach()
        loss = hard_loss(student.logits, batch.labels)
        for stage, head in zip(stages, self.heads, strict=True):
            features = head.bottleneck(student.features[stage])
            if features.shape != aim.shape:
                shapes = f"{tuple(features.shape)}, not {tuple(aim.shape)}"
                raise ValueError(f"the bottleneck of {stage!r} gives features of {shapes}")
            loss = loss + self._shallow(Outputs(head.classifier(features)), answer, batch)
            loss = loss + self.feature_weight * F.mse_loss(features, aim)
        return loss

    def _shallow(self, shallow: Outputs, deepest: Outputs, batch: Batch) -> Tensor:
        said = learnt(shallow, deepest, batch)
        soft = soft_divergence(said.student, said.teacher, self.temperature)
        return (1 - self.alpha) * hard_loss(shallow.logits, batch.labels) + self.alpha * soft
