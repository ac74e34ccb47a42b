"""Differentiable search: every choice a mixture of its values, sharpened until one is left.

    gate         g = softmax((logits + G) / tau)     G Gumbel: argmax g is drawn by softmax(logits)
    loss         L(g) + penalty relu(E cost / budget - 1)      E cost = sum softmax(logits) cost
    anneal       tau falls from high to low: mixtures first, then nearly one-hot draws
    read-out     the likeliest candidate that fits: max sum log softmax(logits), exactly

Source    Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017,
          arXiv:1611.01144; Wu et al., "FBNet", CVPR 2019, arXiv:1812.03443 (gates over layers and
          the expected latency).
Differs   The authors sample the final networks; here dynamic programming takes the likeliest. Cost
          is a penalty above a budget, not a factor of the loss.
Left out  Weights trained in turns with the logits: that is the caller's loss.
Read      exact.py first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reference.pruning.search.exact import AdditiveCost, Optimum, additive_optimum, rows
from reference.pruning.search.space import Space

Gates = dict[str, Tensor]  # by choice: the share of each of its values; they sum to 1


@dataclass(frozen=True)
class GumbelConfig:
    steps: int = 300
    learning_rate: float = 0.1
    hot: float = 5.0  # tau at the first step
    cold: float = 0.2  # tau at the last
    penalty: float = 10.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.learning_rate <= 0 or self.penalty < 0:
            told = f"{self.steps}, {self.learning_rate}, {self.penalty}"
            raise ValueError(f"steps, learning_rate and penalty have no meaning as {told}")
        if not 0 < self.cold <= self.hot:
            raise ValueError(f"temperatures need 0 < cold <= hot, got {self.cold}, {self.hot}")


def gumbel_softmax(
    logits: Float[Tensor, "*rows values"],
    temperature: float,
    generator: torch.Generator,
    hard: bool = False,
) -> Float[Tensor, "*rows values"]:
    """A relaxed draw; `hard`: one-hot forwards, the gradient of the relaxed one backwards.

    Raises:
        ValueError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature must be above 0, got {temperature}")
    uniform = torch.rand(logits.shape, generator=generator, dtype=logits.dtype)
    tiny = torch.finfo(logits.dtype).tiny
    noise = -(-uniform.clamp(min=tiny).log()).clamp(min=tiny).log()
    soft = ((logits + noise) / temperature).softmax(-1)
    if not hard:
        return soft
    one_hot = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return one_hot + soft - soft.detach()


def gumbel_search(
    space: Space,
    loss_of: Callable[[Gates], Tensor],
    generator: torch.Generator,
    config: GumbelConfig = GumbelConfig(),
) -> Optimum:
    """Descend on logits by `loss_of`; the loss told is minus the log-likelihood of the candidate.

    Raises:
        ValueError: the space has not one constraint with an additive cost.
    """
    if len(space.constraints) != 1 or not isinstance(space.constraints[0].cost, AdditiveCost):
        raise ValueError("gates need one constraint, with an AdditiveCost")
    logits = [torch.zeros(len(each.values), requires_grad=True) for each in space.choices]
    optimizer = torch.optim.Adam(logits, lr=config.learning_rate)
    for step in range(config.steps):
        heat = config.hot * (config.cold / config.hot) ** (step / max(config.steps - 1, 1))
        drawn = [gumbel_softmax(each, heat, generator) for each in logits]
        over = (expected_load(space, logits) - 1).clamp(min=0)
        optimizer.zero_grad()
        gates = dict(zip(space.names, drawn, strict=True))
        (loss_of(gates) + config.penalty * over).backward()
        optimizer.step()
    return additive_optimum(space, _unlikelihood(space, logits))


def expected_load(space: Space, logits: list[Tensor]) -> Tensor:
    """The mean load of a candidate drawn by softmax(logits), the one constraint being additive."""
    constraint = space.constraints[0]
    columns = max(len(each) for each in logits)
    costs = rows(space, constraint.cost.costs, columns, 0.0).to(logits[0].dtype)
    pairs = zip(logits, costs, strict=True)
    return sum(each.softmax(0) @ row[: len(each)] for each, row in pairs) / constraint.budget


def _unlikelihood(space: Space, logits: list[Tensor]) -> dict[str, dict]:
    minus = [(-each.detach().double().log_softmax(0)).tolist() for each in logits]
    return {
        choice.name: dict(zip(choice.values, each, strict=True))
        for choice, each in zip(space.choices, minus, strict=True)
    }
