"""NetAdapt: from the largest network, shrink a little in the layer where it hurts least, again.

    each step    the load must fall by at least r_i, or by all that is over the budget
    each layer   one proposal: its largest value with which the load has fallen that far
    taken        the proposal with the highest score                    r_{i+1} = decay r_i

What a score is, is the caller's: the authors fine-tune each proposal shortly.

Source    Yang et al., "NetAdapt", ECCV 2018, arXiv:1804.03230, algorithm 1.
Differs   Where no layer by itself can save r_i, r_i is halved until one can. The last evaluation
          is kept for a candidate that fits: what is then still over is taken off at random.
Left out  Fine-tuning of the result to the end.
Read      evaluation.py first; latency.py has costs in seconds.
"""

from dataclasses import dataclass

import torch

from reference.pruning.search.evaluation import Evaluation, Evaluator
from reference.pruning.search.moves import shrunk
from reference.pruning.search.space import ROUNDING, Candidate, Space


@dataclass(frozen=True)
class NetAdaptConfig:
    reduction: float = 0.05  # r_0, as a share of the largest candidate's load
    decay: float = 0.96

    def __post_init__(self) -> None:
        if not (0 < self.reduction <= 1 and 0 < self.decay <= 1):
            told = f"{self.reduction} and {self.decay}"
            raise ValueError(f"reduction and decay must be in (0, 1], got {told}")


def netadapt(
    evaluator: Evaluator, generator: torch.Generator, config: NetAdaptConfig = NetAdaptConfig()
) -> Evaluation:
    """Its last network, evaluated; `generator` serves only where evaluations run out."""
    space = evaluator.space
    here, load = space.largest, space.load(space.largest)
    step = config.reduction * load
    while not space.fits(here):
        proposals = _proposals(space, here, load, min(step, load - 1))
        if not proposals or evaluator.remaining <= len(proposals):
            return evaluator(shrunk(space, here, generator))
        found = [evaluator(each) for each in proposals]
        here = max(found, key=lambda each: each.search_score).candidate
        load, step = space.load(here), step * config.decay
    return evaluator(here)


def _proposals(space: Space, here: Candidate, load: float, step: float) -> list[Candidate]:
    """At most one for each choice; none where no single choice lowers the load."""
    while step > ROUNDING * load:
        found = [_shrunk(space, here, row, load - step) for row in range(len(space.choices))]
        if any(found):
            return [each for each in found if each is not None]
        step /= 2
    return []


def _shrunk(space: Space, here: Candidate, row: int, most: float) -> Candidate | None:
    """The largest lower value of one choice with a load of at most `most`."""
    choice = space.choices[row]
    for value in reversed(choice.values[: choice.values.index(here[choice.name])]):
        found = here.but(choice.name, value)
        if space.load(found) <= most + ROUNDING:
            return found
    return None
