"""KDCL: networks that are trained together, taught by the best that can be made of their answers.

    L = sum_k CE(q_k, y) + b sum_k T^2 KL(softmax(z* / T) || q_k)            z* a target

    naive        z* = the z_k of the smallest CE, for each example
    linear       z* = sum_k a_k z_k, the combination of the smallest CE, for each example
    min_logit    z*_c = min_k (z_k,c - z_k,y)
    general      z* = sum_k a_k z_k, a = C^-1 1 / (1^T C^-1 1)
                 C_kl = mean over held-out examples of sum_c (q_k - y)_c (q_l - y)_c

The CE of z* is at most the smallest of the networks' for the first three: naive by choice, linear
since every z_k is a combination, min_logit since each term of sum_c exp(z*_c - z*_y) is at most
that of every k. All three read the label. General is for examples that are not learnt from: there a
is the combination of the smallest squared error, of weights that may be below 0.

Source    Guo et al., "Online Knowledge Distillation via Collaborative Learning", CVPR 2020, section
          3; T of 2.
Differs   Logits are combined in `general` with weights that are the best for probabilities, as in
          the paper; the ridge for networks that are equal is ours.
Left out  Another distortion of the input for each network.
Read      mutual.py first: there each network is taught by each other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from reference.distillation.online.mutual import peer_outputs
from reference.distillation.outputs import Batch, Outputs
from reference.distillation.response.soft_labels import hard_loss, learnt, soft_divergence

Peers = Float[Tensor, "peers rows classes"]
Labels = Int[Tensor, " rows"]
Combined = Float[Tensor, "rows classes"]
Combine = Callable[[Peers, Labels], Combined]

GAP = 1e-6  # nats that the best combination may be better than the one that is found
ROUNDS = 200  # of moving weight between two networks, at most; two networks need one
HALVINGS = 40  # of the share that is moved: to 1e-12
RIDGE = 1e-6  # relative: networks that are equal share their weight


def naive(said: Peers, labels: Labels) -> Combined:
    best = _losses(said, labels).argmin(0)
    return said[best, torch.arange(len(labels))]


def linear(said: Peers, labels: Labels) -> Combined:
    weights = linear_weights(said, labels).to(said.dtype)
    return (weights.unsqueeze(2) * said).sum(0)


def min_logit(said: Peers, labels: Labels) -> Combined:
    right = labels.expand(len(said), -1).unsqueeze(2)
    return (said - said.gather(2, right)).amin(0)


def weighted(weights: Float[Tensor, " peers"]) -> Combine:
    """A `Combine` with weights that do not depend on the example: those of `general_weights`."""
    return lambda said, labels: torch.einsum("p,prc->rc", weights.to(said.dtype), said)


def general_weights(held_out: Peers, labels: Labels) -> Float[Tensor, " peers"]:
    """a, from answers to held-out examples; adds up to 1, in float64."""
    wrong = held_out.double().softmax(-1) - F.one_hot(labels, held_out.shape[-1])
    together = torch.einsum("prc,qrc->pq", wrong, wrong) / len(labels)
    ridge = RIDGE * together.diagonal().mean() * torch.eye(len(together), dtype=together.dtype)
    shares = torch.linalg.solve(together + ridge, torch.ones_like(together[0]))
    return shares / shares.sum()


def linear_weights(said: Peers, labels: Labels) -> Float[Tensor, "peers rows"]:
    """a of the smallest cross-entropy for each example, in float64.

    A convex problem: weight is moved from the network of the largest slope that has some to the one
    of the smallest, as far as the loss falls. The mean slope less the smallest is an upper bound of
    what is left to gain.
    """
    said = said.detach().double()
    weights = F.one_hot(_losses(said, labels).argmin(0), len(said)).T.to(said.dtype)
    for _ in range(ROUNDS):
        slopes = _slopes(said, labels, weights)
        if ((weights * slopes).sum(0) - slopes.amin(0)).max() <= GAP:
            break
        giver = slopes.masked_fill(weights == 0, -torch.inf).argmax(0, keepdim=True)
        taker = slopes.argmin(0, keepdim=True)
        direction = torch.zeros_like(weights).scatter(0, taker, 1.0)
        direction = direction.scatter_add(0, giver, -torch.ones_like(slopes[:1]))
        most = weights.gather(0, giver)
        weights = _moved(said, labels, weights, direction, most).clamp_min(0)
    return weights / weights.sum(0)


def _moved(
    said: Tensor, labels: Tensor, weights: Tensor, direction: Tensor, most: Tensor
) -> Tensor:
    """As far along the direction as the loss falls, by halving."""
    low, high = torch.zeros_like(most), most
    for _ in range(HALVINGS):
        step = (low + high) / 2
        slope = (_slopes(said, labels, weights + step * direction) * direction).sum(0, keepdim=True)
        low, high = torch.where(slope < 0, step, low), torch.where(slope < 0, high, step)
    end = (_slopes(said, labels, weights + most * direction) * direction).sum(0, keepdim=True)
    return weights + torch.where(end <= 0, most, low) * direction


def _slopes(said: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """(peers, rows): how the loss of the combination changes with each weight."""
    off = torch.einsum("pr,prc->rc", weights, said).softmax(-1) - F.one_hot(labels, said.shape[-1])
    return torch.einsum("rc,prc->pr", off, said)


def _losses(said: Peers, labels: Labels) -> Float[Tensor, "peers rows"]:
    flat = F.cross_entropy(said.flatten(0, 1), labels.repeat(len(said)), reduction="none")
    return flat.unflatten(0, said.shape[:2])


@dataclass(frozen=True)
class Collaborative:
    """An objective of `distill_`, whose student is a `Committee` and whose teacher is None.

    Raises:
        ValueError: a weight below 0.
    """

    combine: Combine
    temperature: float = 2.0
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
        kept = [learnt(peer, peer, batch) for peer in peers]
        said = torch.stack([each.student for each in kept])
        aim = self.combine(said.detach(), kept[0].labels)
        hard = [hard_loss(peer.logits, batch.labels) for peer in peers]
        soft = [soft_divergence(each, aim, self.temperature) for each in said]
        return torch.stack(hard).sum() + self.soft_weight * torch.stack(soft).sum()
