"""Who teaches an example: the teacher that is right, the one that is sure, all by certainty.

    best       w_k = 1 for the largest softmax(v_k)_y            knows the label
    surest     w_k = 1 for the smallest entropy H_k              does not need it
    entropy    w_k = (1 - H_k / sum_j H_j) / (K - 1)             all, the sure ones more

Among equals the first of the committee teaches. Certainty is no knowledge: a teacher that is wrong
and sure teaches under the last two. One teacher has a weight of 1.

Source    Kwon et al., "Adaptive Knowledge Distillation Based on Entropy", ICASSP 2020 (weights by
          entropy); choosing one teacher for each example: Yuan et al., "Reinforced Multi-Teacher
          Selection for Knowledge Distillation", AAAI 2021, arXiv:2012.06048.
Differs   Yuan's choice is learnt by reinforcement; here it is a rule, which that paper compares
          with. Entropies weigh by the form of CA-MKD (confidence.py), and so add up to 1.
Left out  A learnt gate.
Read      weighted.py first.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from reference.distillation.committee.weighted import Voices

ByExample = Float[Tensor, "teachers _"]


def best(voices: Voices) -> ByExample:
    logs = voices.teachers.log_softmax(-1)
    label = voices.labels.expand(len(logs), -1).unsqueeze(-1)
    return _one(logs.gather(-1, label).squeeze(-1))


def surest(voices: Voices) -> ByExample:
    return _one(-entropies(voices.teachers))


def by_entropy(voices: Voices) -> ByExample:
    """The uniform weights where no teacher has any doubt."""
    doubts = entropies(voices.teachers)
    if len(doubts) == 1:
        return doubts.new_ones(doubts.shape)
    total = doubts.sum(0)
    share = (doubts / total.where(total > 0, 1)).where(total > 0, 1 / len(doubts))
    return (1 - share) / (len(doubts) - 1)


def entropies(said: Float[Tensor, "*any classes"]) -> Float[Tensor, "*any"]:
    """In nats; a class that is excluded adds nothing."""
    logs = said.log_softmax(-1)
    return -(logs.exp() * logs.masked_fill(logs.isneginf(), 0)).sum(-1)


def _one(scores: Float[Tensor, "teachers rows"]) -> ByExample:
    chosen = scores.argmax(0)
    return F.one_hot(chosen, len(scores)).T.to(scores.dtype)
