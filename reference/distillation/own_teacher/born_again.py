"""Born-again networks: a student of its teacher's own size, and a student of that, and so on.

    generation 0    L = CE(q, y)                       the baseline
    generation k    any distiller, taught by k - 1     from a new start
    CWTM            L = sum_s w_s CE(q_s, y_s)         w_s = max p_s / sum_u max p_u
    DKPP            L = mean_s CE(q_s, permuted p_s)   p's largest stays, the others change places

The last two are controls that say what a teacher of equal size has to teach. CWTM (confidence
weighted by teacher max) keeps only how sure the teacher is; DKPP (dark knowledge with permuted
predictions) keeps its largest probability and the others' values, but not whose they are. Gains are
small: compare over seeds, and at equal steps in total.

Source    Furlanello et al., "Born-Again Neural Networks", ICML 2018, arXiv:1805.04770, section 3.
Differs   A generation may be of any size; the paper's are equal, or equal in parameters.
Left out  The ensemble of all generations: committee/average.py. One generation with HardAndSoft is
          Tf-KD's self-training (Yuan et al. 2020, arXiv:1909.11723, section 4.1); its virtual
          teacher is in ../response/smoothing.py.
Read      ../progressive/chain.py first: generations are a chain that does not shrink.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from reference.distillation.loop import Epoch, LoopConfig, Objective, distill_
from reference.distillation.outputs import Batch, Outputs
from reference.distillation.progressive.annealing import labels_alone
from reference.distillation.progressive.chain import Stage, chain_, check_chain
from reference.distillation.response.soft_labels import learnt, soft_cross_entropy


def generations(
    born: Callable[[int], nn.Module],
    count: int,
    objective: Objective,
    epoch: Epoch,
    config: LoopConfig,
) -> list[nn.Module]:
    """Generation 0, trained on labels alone, and `count` after it, each taught by the one before.

    Args:
        born: a new model for a generation.

    Raises:
        ValueError: fewer than 1, the same model twice, or as `distill_`.
    """
    if count < 1:
        raise ValueError(f"at least 1 generation must be taught, got {count}")
    models = [born(generation) for generation in range(count + 1)]
    stages = [Stage(model, objective, config) for model in models[1:]]
    check_chain(models[0], stages)
    distill_(models[0], None, labels_alone, epoch, config)
    chain_(models[0], stages, epoch)
    return models


def confidence_weighted(
    student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
) -> Float[Tensor, ""]:
    """CWTM, an objective: labels alone, each as heavy as the teacher is sure.

    Raises:
        ValueError: as `learnt`.
    """
    said = learnt(student, teacher, batch)
    confidence = said.teacher.softmax(-1).amax(-1)
    hard = F.cross_entropy(said.student, said.labels, reduction="none")
    return (confidence / confidence.sum() * hard).sum()


def dark_knowledge_permuted(
    student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
) -> Float[Tensor, ""]:
    """DKPP, an objective. Draws are torch's: `distill_` seeds them.

    Raises:
        ValueError: as `learnt`.
    """
    said = learnt(student, teacher, batch)
    return soft_cross_entropy(said.student, permuted(said.teacher))


def permuted(logits: Float[Tensor, "*rows classes"]) -> Float[Tensor, "*rows classes"]:
    """All but the largest of each row change places by chance."""
    largest = F.one_hot(logits.argmax(-1), logits.shape[-1])
    drawn = torch.rand_like(logits) - 2 * largest  # the largest is first, the rest by lot
    fixed = largest.argsort(dim=-1, descending=True, stable=True)
    return logits.scatter(-1, fixed, logits.gather(-1, drawn.argsort(-1)))
