"""Train the Fashion-MNIST baseline: `python -m labkit.baselines.mlp_fashion_mnist` (a minute)."""

from functools import partial

from labkit import data
from labkit.baselines.images import study
from labkit.baselines.recipe import Recipe, run
from labkit.models import MlpSpec
from labkit.training import TrainingConfig

RECIPE = Recipe(
    name="mlp_fashion_mnist",
    dataset="fashion_mnist",
    spec=MlpSpec(in_features=784, hidden=(512, 512)),
    training=(TrainingConfig(epochs=12, learning_rate=0.1),),
    study=partial(study, data.FASHION_MNIST),
)

if __name__ == "__main__":
    run(RECIPE)
