"""Deep mutual learning: networks that are trained together, and each learns from all others.

    L = sum_k L_k        L_k = CE(q_k, y) + b / (K - 1) sum over l != k of T^2 KL(q_l || q_k)

Each L_k moves network k alone: what the others say is a target, without a gradient. The networks
need no teacher, may differ in architecture, and begin from different weights, for equal ones stay
equal and learn from labels alone.

Source    Zhang et al., "Deep Mutual Learning", CVPR 2018, arXiv:1706.00384, section 2;
          T of 1 and b of 1.
Differs   All networks step at once, on answers of the same moment; in the paper's algorithm 1 one
          after the other, on new answers. `LoopConfig.clip_norm` holds for all networks together:
          with None, one does not slow down another.
Left out  The mean of the peers as the only teacher.
Read      ../response/soft_labels.py first.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, learnt, soft_divergence


def peer_outputs(student: Outputs, batch: Batch) -> list[Outputs]:
    """Each network's answers, of a student that is a `Committee`.

    Raises:
        ValueError: the student is no committee of two or more.
    """
    if student.logits.ndim != batch.labels.ndim + 2 or len(student.logits) < 2:
        shape = tuple(student.logits.shape)
        raise ValueError(f"peers are a committee of two or more as the student, got logits {shape}")
    return [Outputs(said) for said in student.logits]


@dataclass(frozen=True)
class Mutual:
    """An objective of `distill_`, whose student is a `Committee` and whose teacher is None.

    Raises:
        ValueError: a weight below 0.
    """

    temperature: float = 1.0
    soft_weight: float = 1.0  # b

    def __post_init__(self) -> None:
        if self.soft_weight < 0:
            raise ValueError(f"soft_weight must be at least 0, got {self.soft_weight}")

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: as `peer_outputs`, `learnt` and `soft_divergence`.
        """
        peers = peer_outputs(student, batch)
        return torch.stack([self.of_one(k, peers, batch) for k in range(len(peers))]).sum()

    def of_one(self, k: int, peers: list[Outputs], batch: Batch) -> Float[Tensor, ""]:
        """L_k."""
        others = [Outputs(each.logits.detach()) for at, each in enumerate(peers) if at != k]
        said = [learnt(peers[k], other, batch) for other in others]
        soft = [soft_divergence(each.student, each.teacher, self.temperature) for each in said]
        hard = hard_loss(peers[k].logits, batch.labels)
        return hard + self.soft_weight * torch.stack(soft).mean()
