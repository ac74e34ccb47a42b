"""Tune MiniLM on movie reviews: `python -m labkit.baselines.bert_movie_reviews`.

Shipped are the updates of rank 32 and the new head, some 4 MB; the 23 million parameters beneath
them come from the registry's package once, and are checked by hash. A recipe alone would give
other weights on every machine.
"""

from torch import Tensor, nn

from labkit import pretrained
from labkit.baselines import low_rank
from labkit.baselines.recipe import Recipe, Study, run
from labkit.baselines.texts import study
from labkit.models import BertSpec
from labkit.training import TrainingConfig

MAX_TOKENS = 48  # a twentieth of the sentences is longer
FROZEN_LAYERS = 2  # the lowest; what they find serves every text
RANK = 32
HEAD = ("bert.pooler.", "classifier.")


def _study() -> Study:
    return study(pretrained.tokenizer("minilm"), MAX_TOKENS)


def start() -> nn.Module:
    """MiniLM with a fresh head; low-rank updates, pooler and head are learned."""
    model = pretrained.classifier("minilm", classes=2, seed=0)
    low_rank.attach(model, model.bert.encoder.layer[FROZEN_LAYERS:], RANK)
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # two passes do not overfit, and drawing is a fifth of a step's time
    for name, parameter in model.named_parameters():
        if name.startswith(HEAD):
            parameter.requires_grad_(True)
    return model


def finish(model: nn.Module) -> dict[str, Tensor]:
    """Merge the updates, and return everything that was learned."""
    updates = low_rank.merge(model)
    head = {name: value for name, value in model.state_dict().items() if name.startswith(HEAD)}
    return {**updates, **head}


CYCLE = TrainingConfig(
    epochs=2,
    batch_size=32,
    optimizer="adamw",
    learning_rate=8e-4,
    warmup=0.1,
    weight_decay=0.01,
    clip_norm=1.0,
    bfloat16=True,
)
RECIPE = Recipe(
    name="bert_movie_reviews",
    dataset="movie_reviews",
    spec=BertSpec(),
    training=(CYCLE,),
    study=_study,
    base="minilm",
    start=start,
    finish=finish,
)

if __name__ == "__main__":
    run(RECIPE)
