"""ONE: branches on one trunk, and a gate that makes their teacher of them while they are trained.

    h = trunk(x)      z_i = branch_i(h)      g = softmax(relu(norm(W pool(h))))
    z_e = sum_i g_i z_i                                                      sum_i g_i = 1
    L   = sum_i CE(q_i, y) + CE(q_e, y) + T^2 sum_i KL(q_e || q_i)           q_e a target in the KL

A teacher in one pass, at the price of the branches. At use one branch on the trunk is a network of
the usual size, and the whole is an ensemble that shares its early layers.

Source    Lan, Zhu, Gong, "Knowledge Distillation by On-the-Fly Native Ensemble", NeurIPS 2018,
          arXiv:1806.04606, section 3; T of 3. That no gradient passes into the teacher of the KL is
          in the authors' code.
Left out  The ramp by which the authors' code brings in the KL.
Read      mutual.py first.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reference.distillation.online.mutual import peer_outputs
from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, learnt, soft_divergence


class NativeEnsemble(nn.Module):
    """The trunk, its branches, and their gate.

    Args:
        features: axis 1 of what the trunk gives, over whose other axes the gate takes the mean.

    Raises:
        ValueError: fewer than two branches.
    """

    def __init__(self, trunk: nn.Module, branches: Sequence[nn.Module], features: int) -> None:
        super().__init__()
        if len(branches) < 2:
            raise ValueError(f"an ensemble needs two branches or more, got {len(branches)}")
        self.trunk, self.branches = trunk, nn.ModuleList(branches)
        self.gate = nn.Sequential(
            nn.Linear(features, len(branches)), nn.BatchNorm1d(len(branches)), nn.ReLU()
        )

    def forward(
        self, *args: Tensor, **named: Tensor
    ) -> Float[Tensor, "branches_and_1 rows classes"]:
        """The ensemble first, then each branch."""
        shared = self.trunk(*args, **named)
        said = torch.stack([branch(shared) for branch in self.branches])
        weights = self.gate_weights(shared).T.unsqueeze(2)
        return torch.cat([(weights * said).sum(0, keepdim=True), said])

    def gate_weights(
        self, shared: Float[Tensor, "rows features ..."]
    ) -> Float[Tensor, "rows branches"]:
        """g for each row."""
        return self.gate(shared.flatten(2).mean(2) if shared.ndim > 2 else shared).softmax(1)

    def student(self, branch: int = 0) -> nn.Sequential:
        """The trunk and one branch, a copy.

        Raises:
            ValueError: no such branch.
        """
        if not 0 <= branch < len(self.branches):
            raise ValueError(f"there are branches 0 to {len(self.branches) - 1}, not {branch}")
        return copy.deepcopy(nn.Sequential(self.trunk, self.branches[branch]))


@dataclass(frozen=True)
class OnTheFly:
    """An objective of `distill_`, whose student is a `NativeEnsemble` and whose teacher is None."""

    temperature: float = 3.0

    def __call__(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, progress: float
    ) -> Float[Tensor, ""]:
        """
        Raises:
            ValueError: as `peer_outputs`, `learnt` and `soft_divergence`.
        """
        ensemble, *branches = peer_outputs(student, batch)
        aim = Outputs(ensemble.logits.detach())
        said = [learnt(branch, aim, batch) for branch in branches]
        hard = [hard_loss(each.logits, batch.labels) for each in (ensemble, *branches)]
        soft = [soft_divergence(each.student, each.teacher, self.temperature) for each in said]
        return torch.stack(hard).sum() + torch.stack(soft).sum()
