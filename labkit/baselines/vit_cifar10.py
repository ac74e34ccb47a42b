"""Train the CIFAR-10 vision Transformer: `python -m labkit.baselines.vit_cifar10`.

Six layers of width 192 on patches of 4 x 4, in two cycles: a second rise of the learning rate
still gains where the first has come to rest. About an hour on two cores with AMX.
"""

from dataclasses import replace
from functools import partial

from labkit import data
from labkit.baselines.images import study
from labkit.baselines.recipe import Recipe, run
from labkit.models import VitSpec
from labkit.tasks import flip_and_crop
from labkit.training import TrainingConfig

CYCLE = TrainingConfig(
    epochs=22,
    optimizer="adamw",
    learning_rate=1.2e-3,
    warmup=0.15,
    weight_decay=0.05,
    clip_norm=1.0,
    bfloat16=True,
)
RECIPE = Recipe(
    name="vit_cifar10",
    dataset="cifar10",
    spec=VitSpec(),
    training=(CYCLE, replace(CYCLE, epochs=8, learning_rate=6e-4)),
    study=partial(study, data.CIFAR10, flip_and_crop),
)

if __name__ == "__main__":
    run(RECIPE)
