"""Train the wide CIFAR-10 residual network: `python -m labkit.baselines.resnet_cifar10`.

ResNet-14 of width 32 in about half an hour on two cores with AMX, some two hours without.
"""

from functools import partial

from labkit import data
from labkit.baselines.images import study
from labkit.baselines.recipe import Recipe, run
from labkit.models import ResNetSpec
from labkit.tasks import flip_and_crop
from labkit.training import TrainingConfig

RECIPE = Recipe(
    name="resnet_cifar10",
    dataset="cifar10",
    spec=ResNetSpec(width=32, blocks=2),
    training=(TrainingConfig(epochs=28, bfloat16=True),),
    study=partial(study, data.CIFAR10, flip_and_crop, label_smoothing=0.1),
)

if __name__ == "__main__":
    run(RECIPE)
