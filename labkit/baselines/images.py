"""What the image baselines share: their data, and accuracy as the measure."""

from torch import nn

from labkit import data, sources
from labkit.baselines.recipe import Study
from labkit.data import Batch, ImageSet
from labkit.evaluation import logits
from labkit.intervals import Score, accuracy_score
from labkit.tasks import Augment, ImageClassification


def study(
    image_set: ImageSet, augment: Augment | None = None, label_smoothing: float = 0.0
) -> Study:
    train = data.batch(data.load(image_set, "train"))
    validation = data.batch(data.load(image_set, "validation"))
    return Study(
        task=ImageClassification(train, validation, augment, label_smoothing),
        validation=lambda model: _accuracy(model, validation),
        test=lambda model: _accuracy(model, _test(image_set)),
        comparisons={"chance": 1 / len(image_set.classes)},
    )


def _test(image_set: ImageSet) -> Batch:
    images = sources.fetch(image_set.name, "test", image_set.test_digest)
    return data.normalise(image_set, images)


def _accuracy(model: nn.Module, batch: Batch) -> Score:
    right = int((logits(model, batch.images).argmax(dim=1) == batch.labels).sum())
    return accuracy_score(right, len(batch.labels))
