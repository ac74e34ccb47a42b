"""How far chance may have moved a measured figure: 95 % intervals."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from jaxtyping import Float
from torch import Tensor

Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Score:
    """A measured figure with its 95 % interval."""

    metric: str  # accuracy (0..1) or perplexity (per token)
    value: float
    low: float
    high: float
    count: int  # of examples, or of predicted tokens


def accuracy_score(right: int, count: int) -> Score:
    """A share of right answers, with Wilson's interval (Wilson 1927)."""
    share, z2 = right / count, Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    spread = share * (1 - share) / count + z2 / (4 * count**2)
    half = Z95 * math.sqrt(spread) / (1 + z2 / count)
    # Where all or none are right, rounding may put an end a hair beyond the share.
    low, high = min(share, centre - half), max(share, centre + half)
    return Score("accuracy", share, max(0.0, low), min(1.0, high), count)


def perplexity_score(losses: Float[Tensor, "windows predicted"]) -> Score:
    """exp of the mean loss in nats, with an interval from the spread between windows.

    Between windows, because the tokens of one window are not independent of each other.
    """
    means = losses.double().mean(dim=1)
    mean = means.mean().item()
    half = Z95 * means.std().item() / math.sqrt(len(means))
    return Score(
        "perplexity", math.exp(mean), math.exp(mean - half), math.exp(mean + half), losses.numel()
    )
