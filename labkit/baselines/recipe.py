"""How every baseline is trained, measured and written down."""

import logging
import time
from dataclasses import dataclass

import torch

from labkit import baselines, data, sources
from labkit.data import ImageSet
from labkit.models import Spec, build
from labkit.training import Augment, TrainingConfig, accuracy, fit

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    name: str
    image_set: ImageSet
    spec: Spec
    training: TrainingConfig
    augment: Augment | None


def run(recipe: Recipe) -> None:
    """Train, measure on validation and test in float32, and ship weights and record.

    The test part chooses nothing: epochs are chosen on validation, and it is read once.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    name = recipe.image_set.name
    train = data.batch(data.load(recipe.image_set, "train"))
    validation = data.batch(data.load(recipe.image_set, "validation"))
    torch.manual_seed(recipe.training.seed)
    model = build(recipe.spec)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    start = time.monotonic()
    history = fit(model, train, validation, recipe.training, recipe.augment)
    seconds = time.monotonic() - start
    images = sources.fetch(name, "test", recipe.image_set.test_digest)
    test = data.normalise(recipe.image_set, images)
    measured = baselines.BaselineRecord(
        name=recipe.name,
        command=f"python -m labkit.baselines.{recipe.name}",
        dataset=name,
        parameters=sum(p.numel() for p in model.parameters()),
        epochs=len(history),
        seed=recipe.training.seed,
        train_seconds=round(seconds),
        validation_accuracy=accuracy(model, validation),
        validation_count=len(validation.labels),
        test_accuracy=accuracy(model, test),
        test_count=len(test.labels),
    )
    baselines.save(recipe.spec, model, measured)
    log.info("%s", measured)
