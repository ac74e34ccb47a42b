"""How every baseline is trained, measured and written down."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit import baselines
from labkit.intervals import Score
from labkit.models import Spec, build
from labkit.training import Task, TrainingConfig, fit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """What a baseline learns from and how it is measured."""

    task: Task
    validation: Callable[[nn.Module], Score]
    test: Callable[[nn.Module], Score]
    comparisons: dict[str, float]


@dataclass(frozen=True)
class Recipe:
    name: str
    dataset: str
    spec: Spec
    training: tuple[TrainingConfig, ...]  # cycles, each from the best weights of the last
    study: Callable[[], Study]
    base: str | None = None  # the pretrained model that the shipped tensors are added to
    start: Callable[[], nn.Module] | None = None  # what is trained; else freshly built
    finish: Callable[[nn.Module], dict[str, Tensor]] | None = None  # what is shipped; else all


def run(recipe: Recipe) -> None:
    """Train, measure on validation and test in float32, and ship weights and record.

    The test part chooses nothing: epochs are chosen on validation, and it is read once.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    study = recipe.study()
    torch.manual_seed(recipe.training[0].seed)
    model = build(recipe.spec) if recipe.start is None else recipe.start()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    start = time.monotonic()
    history = [record for cycle in recipe.training for record in fit(model, study.task, cycle)]
    seconds = time.monotonic() - start
    tuned = None if recipe.finish is None else recipe.finish(model)
    measured = baselines.BaselineRecord(
        name=recipe.name,
        command=f"python -m labkit.baselines.{recipe.name}",
        dataset=recipe.dataset,
        parameters=sum(p.numel() for p in model.parameters()),
        epochs=len(history),
        seed=recipe.training[0].seed,
        train_seconds=round(seconds),
        validation=study.validation(model),
        test=study.test(model),
        comparisons=study.comparisons,
    )
    baselines.save(recipe.spec, model, measured, recipe.base, tuned)
    for record in history:
        log.info("%s", record)
    log.info("%s", measured)
