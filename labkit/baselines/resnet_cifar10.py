"""Train the CIFAR-10 baseline: `python -m labkit.baselines.resnet_cifar10`.

ResNet-14 of width 32 in about half an hour on two cores with AMX, some two hours without.
"""

from labkit import data
from labkit.baselines.recipe import Recipe, run
from labkit.models import ResNetSpec
from labkit.training import TrainingConfig, flip_and_crop

RECIPE = Recipe(
    name="resnet_cifar10",
    image_set=data.CIFAR10,
    spec=ResNetSpec(width=32, blocks=2),
    training=TrainingConfig(epochs=28, label_smoothing=0.1, bfloat16=True),
    augment=flip_and_crop,
)

if __name__ == "__main__":
    run(RECIPE)
