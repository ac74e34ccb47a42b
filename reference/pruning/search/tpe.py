"""TPE: candidates that look like the good ones seen so far and unlike the others.

    split      the best gamma share of what was measured, and the rest
    densities  l(x) over the first, g(x) over the second, choice by choice
    next       of some draws from l the one with the largest l(x) / g(x)

What it proposes over the budget is shrunk, and the shrunk one is what it is told about.

Source    Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011, section 4.
          The sampler is Optuna's: Akiba et al., KDD 2019, arXiv:1907.10902.
Differs   Choices are places in an order, so that neighbouring values inform each other.
Left out  Its own treatment of constraints, which may propose what does not fit.
Read      evaluation.py first.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import torch
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import Trial, TrialState, create_trial

from reference.pruning.search.evaluation import Evaluation, Evaluator
from reference.pruning.search.moves import below, shrunk
from reference.pruning.search.space import Space

STARTUP = 10  # random candidates before any density, as in Optuna


def tpe(evaluator: Evaluator, generator: torch.Generator, startup: int = STARTUP) -> Evaluation:
    """
    Raises:
        ValueError: fewer than one candidate to start with.
    """
    if startup < 1:
        raise ValueError(f"startup must be at least 1, got {startup}")
    space = evaluator.space
    ranges: dict[str, BaseDistribution] = {
        each.name: IntDistribution(0, len(each.values) - 1) for each in space.choices
    }
    sampler = optuna.samplers.TPESampler(n_startup_trials=startup, seed=below(2**31, generator))
    with _quiet():
        study = optuna.create_study(sampler=sampler, direction="maximize")
        while evaluator.goes_on:
            trial = study.ask(ranges)
            proposed = space.at([trial.params[name] for name in space.names])
            found = evaluator(shrunk(space, proposed, generator))
            if found.candidate == proposed:
                study.tell(trial, found.search_score)
            else:
                _tell_instead(study, trial, space, found)
    return evaluator.best()


def _tell_instead(study: optuna.Study, trial: Trial, space: Space, found: Evaluation) -> None:
    places = dict(zip(space.names, space.places(found.candidate), strict=True))
    study.tell(trial, state=TrialState.FAIL)
    study.add_trial(
        create_trial(params=places, distributions=trial.distributions, value=found.search_score)
    )


@contextmanager
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
