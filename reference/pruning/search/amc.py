"""AMC: a policy that walks through the layers and says how much of each to keep.

    action        a_t in [0, 1] for layer t: a place among its values, from the least to the most
    bound         lowered until the layers chosen so far fit with all later ones at their least
    policy        a_t = sigmoid(m(s_t) + sigma e)         m a small network, e normal
    REINFORCE     grad = E (R - b) sum_t grad log p(a_t | s_t)       b a moving mean of R

The bound needs no penalty in the reward: if the layers so far fit with the rest at its least, then
so they do with the next one at its least. The smallest candidate fits, hence every walk ends within
the budget, whatever the actions and whatever the costs.

Source    He et al., "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", ECCV
          2018, arXiv:1802.03494, section 3 and algorithm 1 (states, actions, the bound); Williams,
          "Simple Statistical Gradient-Following Algorithms", Machine Learning 1992 (REINFORCE).
Differs   REINFORCE instead of DDPG: actions are few and a walk's reward comes at its end. The
          bound is found from the cost of candidates, not from a sum over layers.
Read      evaluation.py first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from reference.pruning.search.evaluation import Evaluation, Evaluator
from reference.pruning.search.space import Candidate, Space

FEATURES = 5


@dataclass(frozen=True)
class AmcConfig:
    hidden: int = 32
    learning_rate: float = 0.01
    noise: float = 1.0  # sigma, in logits
    baseline: float = 0.9  # the weight of what was seen before

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.learning_rate <= 0 or self.noise <= 0:
            told = f"{self.hidden}, {self.learning_rate} and {self.noise}"
            raise ValueError(f"hidden, learning_rate and noise must be above 0, got {told}")
        if not 0 <= self.baseline < 1:
            raise ValueError(f"baseline must be in [0, 1), got {self.baseline}")


def amc(
    evaluator: Evaluator, generator: torch.Generator, config: AmcConfig = AmcConfig()
) -> Evaluation:
    policy = _policy(config, generator)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
    mean, spread = None, 0.0
    while evaluator.goes_on:
        candidate, likelihood = _walk(policy, evaluator.space, generator, config.noise)
        score = evaluator(candidate).search_score
        advantage = 0.0 if mean is None else score - mean
        mean = score if mean is None else mean + (1 - config.baseline) * advantage
        spread = config.baseline * spread + (1 - config.baseline) * advantage**2
        optimizer.zero_grad()
        (-likelihood * advantage / (spread**0.5 + 1e-12)).backward()
        optimizer.step()
    return evaluator.best()


def bounded_candidate(space: Space, actions: Sequence[float]) -> Candidate:
    """The candidate of one walk with these actions; it fits.

    Raises:
        ValueError: not one action for each choice, or one that is not within 0 and 1.
    """
    if len(actions) != len(space.choices):
        raise ValueError(f"{len(space.choices)} choices need as many actions, got {len(actions)}")
    places = [0] * len(actions)
    for row, action in enumerate(actions):
        places = bounded(space, places, row, action)
    return space.at(places)


def bounded(space: Space, places: Sequence[int], row: int, action: float) -> list[int]:
    """Places with one more layer decided: as the action says, or the most that still fits.

    Raises:
        ValueError: the action is not within 0 and 1.
    """
    if not 0 <= action <= 1:
        raise ValueError(f"an action must be within 0 and 1, got {action}")
    new = list(places)
    new[row] = int(action * (len(space.choices[row].values) - 1) + 0.5)
    while new[row] > 0 and not space.fits(space.at(new)):
        new[row] -= 1
    return new


def _walk(
    policy: nn.Module, space: Space, generator: torch.Generator, noise: float
) -> tuple[Candidate, Tensor]:
    """A candidate, and the log-likelihood of the actions that led to it, up to a constant."""
    places, action = [0] * len(space.choices), 0.0
    likelihood = torch.zeros(())
    for row in range(len(places)):
        mean = policy(_state(space, places, row, action)).squeeze()
        logit = mean.detach() + noise * torch.randn((), generator=generator)
        likelihood = likelihood - ((logit - mean) / noise).square() / 2
        action = torch.sigmoid(logit).item()
        places = bounded(space, places, row, action)
    return space.at(places), likelihood


def _state(space: Space, places: Sequence[int], row: int, action: float) -> Tensor:
    """Where the walk is, what is spent, what this layer could still take, and the last action."""
    most = list(places)
    most[row] = len(space.choices[row].values) - 1
    now, could = space.load(space.at(places)), space.load(space.at(most))
    share = row / max(len(places) - 1, 1)
    return torch.tensor([share, share * share, now, min(could - now, 2.0), action])


def _policy(config: AmcConfig, generator: torch.Generator) -> nn.Module:
    """Random features, and an output that starts at 0: every action is one half at first."""
    first = skip_init(nn.Linear, FEATURES, config.hidden)
    last = skip_init(nn.Linear, config.hidden, 1)
    nn.init.normal_(first.weight, generator=generator)
    nn.init.normal_(first.bias, generator=generator)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(first, nn.Tanh(), last)
