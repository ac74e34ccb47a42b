"""Several teachers as one: the mean of what they think, or of what they say.

    probabilities    p = sum_k w_k softmax(v_k / T)         some teacher believes it
    logits           p = softmax(sum_k w_k v_k / T)         the geometric mean, normalised: all do

They differ. Where two teachers are sure of different classes the first keeps both, the second is
unsure of everything else as well; a class that one teacher excludes is excluded by the second.

    mean_k KL(p_k || q) = KL(mean_k p_k || q) + a term without q       one by one is the first

One teacher is itself, bit for bit, with any weight of 1.

Source    Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2 (both means); You et al.,
          "Learning from Multiple Teacher Networks", KDD 2017.
Left out  You's triplets of intermediate features.
Read      weighted.py for weights that depend on the example.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reference.distillation.committee.weighted import committee_logits
from reference.distillation.loop import Objective
from reference.distillation.outputs import Batch, Outputs

Said = Float[Tensor, "teachers *positions classes"]
Logits = Float[Tensor, "*positions classes"]


def mixed_probabilities(
    said: Said, temperature: float, weights: Sequence[float] | None = None
) -> Logits:
    """Logits whose softmax at this temperature is the mean of the teachers' softmax at it.

    Raises:
        ValueError: a temperature not above 0, or weights as in `mixed_logits`.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature must be above 0, got {temperature}")
    share = _checked(said, weights)
    if len(said) == 1:
        return said[0]
    logs = (said / temperature).log_softmax(-1) + share.log()
    return temperature * logs.logsumexp(0)


def mixed_logits(said: Said, weights: Sequence[float] | None = None) -> Logits:
    """
    Raises:
        ValueError: no teachers, or not one weight above 0 for each, which add up to 1.
    """
    share = _checked(said, weights)
    return (share * said).sum(0)


def _checked(said: Tensor, weights: Sequence[float] | None) -> Tensor:
    """The weights along the first axis of what is said."""
    if not len(said):
        raise ValueError("a committee needs at least one teacher, got none")
    share = said.new_full((len(said),), 1 / len(said))
    if weights is not None:
        share = said.new_tensor(weights)
    if len(share) != len(said) or not (share > 0).all() or abs(share.sum().item() - 1) > 1e-4:
        raise ValueError(
            f"{len(said)} teachers need as many weights above 0 that add up to 1, got {weights}"
        )
    return share.reshape(-1, *[1] * (said.ndim - 1))


@dataclass(frozen=True)
class AverageProbabilities:
    """An objective: what `one` teacher would be answered, taught by the mean of probabilities.

    `one` should have the same temperature, at which alone the mean is exact.
    """

    one: Objective
    temperature: float
    weights: Sequence[float] | None = None

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: the teacher is no committee, as `mixed_probabilities`, or as `one`.
        """
        said = committee_logits(student, teacher)
        mixed = mixed_probabilities(said, self.temperature, self.weights)
        return self.one(student, Outputs(mixed), batch, progress)


@dataclass(frozen=True)
class AverageLogits:
    """An objective: what `one` teacher would be answered, taught by the mean of logits."""

    one: Objective
    weights: Sequence[float] | None = None

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: the teacher is no committee, as `mixed_logits`, or as `one`.
        """
        mixed = mixed_logits(committee_logits(student, teacher), self.weights)
        return self.one(student, Outputs(mixed), batch, progress)
