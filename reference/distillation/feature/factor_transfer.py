"""Factor transfer: the teacher's features in its own words, and a student that says the same.

    paraphraser   P: an autoencoder of the teacher's maps, k times as many channels in the middle
                  L_rec = mean |decode(encode(h_t)) - h_t|^2
    translator    R: convolutions from the student's maps to as many channels
    factors       F_t = encode(h_t) / norm     F_s = R(h_s) / norm
    L           = mean over rows of |F_s - F_t|_p^p           p of 1 or 2

What the student learns is a shorter account of the features, made without labels. The paraphraser
is trained beforehand, or jointly by adding `Reconstruction` to the objective. The student's loss
never reaches it: it could make itself easy to follow by saying nothing.

Source    Kim, Park, Kwak, "Paraphrasing Complex Network: Network Compression via Factor Transfer",
          NeurIPS 2018, arXiv:1802.04977, section 3.
Differs   Two convolutions each way, where the authors have three, the decoder's transposed; no
          batch norm.
Read      pairs.py first.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reference.distillation.feature.pairs import feature
from reference.distillation.feature.regressors import same_shape
from reference.distillation.feature.vectors import unit
from reference.distillation.loop import Epoch, LoopConfig, Taps, distill_
from reference.distillation.outputs import Batch, Outputs

Maps = Float[Tensor, "rows channels height width"]
SLOPE = 0.1  # of leaky ReLUs on the negative side, as the authors have it


class Paraphraser(nn.Module):
    def __init__(self, channels: int, factors: int) -> None:
        super().__init__()
        self.encode = _convolutions(channels, factors)
        self.decode = _convolutions(factors, channels)

    def forward(self, maps: Maps) -> Maps:
        return self.decode(self.encode(maps))


class Translator(nn.Module):
    def __init__(self, channels: int, factors: int) -> None:
        super().__init__()
        self.layers = _convolutions(channels, factors)

    def forward(self, maps: Maps) -> Float[Tensor, "rows factors height width"]:
        return self.layers(maps)


class Reconstruction(nn.Module):
    """The objective of the paraphraser. It does not look at the student."""

    def __init__(self, paraphraser: Paraphraser, teacher_tap: str) -> None:
        super().__init__()
        self.paraphraser, self.teacher_tap = paraphraser, teacher_tap

    def forward(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Tensor:
        maps = feature(teacher, self.teacher_tap, "teacher")
        return F.mse_loss(self.paraphraser(maps), maps)


class FactorTransfer(nn.Module):
    """A loss of two maps. It trains the translator, and leaves the paraphraser as it is.

    Raises:
        ValueError: the power is not 1 or 2; at a batch, as `factor_loss`.
    """

    def __init__(self, paraphraser: Paraphraser, translator: Translator, power: int = 1) -> None:
        super().__init__()
        if power not in (1, 2):
            raise ValueError(f"the power of a factor loss must be 1 or 2, got {power}")
        self.translator, self.power = translator, power
        # a method, not a module: what is a part of an objective is trained with it
        self._encode = paraphraser.encode.forward

    def forward(self, student: Maps, teacher: Float[Tensor, "_ _ _ _"]) -> Float[Tensor, ""]:
        with torch.no_grad():
            factors = self._encode(teacher)
        return factor_loss(self.translator(student), factors, self.power)


def factor_loss(
    student: Maps, teacher: Float[Tensor, "_ _ _ _"], power: int = 1
) -> Float[Tensor, ""]:
    """
    Raises:
        ValueError: shapes differ in more than height and width.
    """
    mine, theirs = (unit(each.flatten(1)) for each in same_shape(student, teacher))
    return (mine - theirs).abs().pow(power).sum(1).mean()


def train_paraphraser_(
    paraphraser: Paraphraser, teacher: nn.Module, tap: str, epoch: Epoch, config: LoopConfig
) -> list[float]:
    """In place, on the teacher's maps alone; the loss of every step.

    Raises:
        ValueError: as `distill_`.
    """
    nobody = nn.Identity()  # the loop wants a student; this one has nothing to train
    return distill_(
        nobody, teacher, Reconstruction(paraphraser, tap), epoch, config, Taps((), [tap])
    )


def _convolutions(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(channels, out, 3, padding=1),
    )
