"""Train the small CIFAR-10 residual network: `python -m labkit.baselines.resnet_small_cifar10`.

ResNet-14 of width 16, a quarter of the wide one's parameters.
"""

from functools import partial

from labkit import data
from labkit.baselines.images import study
from labkit.baselines.recipe import Recipe, run
from labkit.models import ResNetSpec
from labkit.tasks import flip_and_crop
from labkit.training import TrainingConfig

RECIPE = Recipe(
    name="resnet_small_cifar10",
    dataset="cifar10",
    spec=ResNetSpec(width=16, blocks=2),
    training=(TrainingConfig(epochs=24, bfloat16=True),),
    study=partial(study, data.CIFAR10, flip_and_crop),
)

if __name__ == "__main__":
    run(RECIPE)
