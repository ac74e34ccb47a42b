"""DistilBERT's triple loss: the teacher's words, the hidden words, and the teacher's directions.

    L = a_soft T^2 KL(p || q)        mean over the tokens that stand, hidden or not
      + a_hard H(y, q)               mean over the tokens that were hidden (masked language model)
      + a_cos  (1 - cos(h_s, h_t))   mean over the tokens that stand, of the last hidden states

Padding is said by the inputs' attention_mask, and hidden words by labels other than IGNORED. Where
there is one label for each text (fine-tuning) the first two are means over texts.

Source    Sanh et al., "DistilBERT, a distilled version of BERT", 2019, arXiv:1910.01108, section 2;
          weights of 5, 2 and 1 and T of 2: the authors' training command in transformers'
          research examples.
Left out  The student's initialisation, every other layer of the teacher: pruned_student.py of
          progressive/ cuts students out.
Read      soft_labels.py first. Taps of ../outputs.py bring the hidden states.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, soft_divergence


@dataclass(frozen=True)
class TripleLoss:
    student_tap: str  # the module whose output are the last hidden states
    teacher_tap: str
    soft: float = 5.0
    hard: float = 2.0
    cosine: float = 1.0
    temperature: float = 2.0

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        """
        Raises:
            ValueError: there is no teacher, hidden states differ in shape, or as `standing`,
                `soft_divergence` and `hard_loss`.
        """
        if teacher is None:
            raise ValueError("the triple loss needs a teacher, got none")
        mine, theirs = student.features[self.student_tap], teacher.features[self.teacher_tap]
        stands = standing(batch, mine)
        z, v = student.logits, teacher.logits
        if batch.labels.shape == stands.shape:
            z, v = z[stands], v[stands]
        return (
            self.soft * soft_divergence(z, v, self.temperature)
            + self.hard * hard_loss(student.logits, batch.labels)
            + self.cosine * cosine_distance(mine, theirs, stands)
        )


def cosine_distance(
    student: Float[Tensor, "texts places width"],
    teacher: Float[Tensor, "..."],
    stands: Bool[Tensor, "texts places"],
) -> Float[Tensor, ""]:
    """The mean of 1 - cos over the places that stand.

    Raises:
        ValueError: the hidden states differ in shape.
    """
    if student.shape != teacher.shape:
        shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(f"a cosine needs hidden states of one width, got {shapes}")
    return 1 - F.cosine_similarity(student[stands], teacher[stands], dim=-1).mean()


def standing(batch: Batch, hidden: Float[Tensor, "texts places width"]) -> Bool[Tensor, "_ _"]:
    """Where the inputs' attention mask has a token; everywhere, when they bring no mask.

    Raises:
        ValueError: the mask is not one for each hidden state, or nothing stands.
    """
    if not isinstance(batch.inputs, Mapping) or "attention_mask" not in batch.inputs:
        return torch.ones(hidden.shape[:-1], dtype=torch.bool, device=hidden.device)
    stands = batch.inputs["attention_mask"].bool()
    if stands.shape != hidden.shape[:-1]:
        shapes = f"{tuple(stands.shape)} and {tuple(hidden.shape)}"
        raise ValueError(f"every hidden state needs one place in the mask, got shapes {shapes}")
    if not stands.any():
        raise ValueError("the attention mask says that everything is padding")
    return stands
