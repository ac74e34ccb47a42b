"""Train our own Transformer: `python -m labkit.baselines.transformer_movie_reviews`."""

from labkit import tokenizers
from labkit.baselines.recipe import Recipe, Study, run
from labkit.baselines.texts import study
from labkit.models import TextTransformerSpec
from labkit.training import TrainingConfig

SPEC = TextTransformerSpec(dropout=0.3)


def _study() -> Study:
    return study(tokenizers.load("movie_reviews"), SPEC.max_tokens, label_smoothing=0.1)


RECIPE = Recipe(
    name="transformer_movie_reviews",
    dataset="movie_reviews",
    spec=SPEC,
    training=(
        TrainingConfig(
            epochs=15,
            batch_size=64,
            optimizer="adamw",
            learning_rate=1e-3,
            weight_decay=0.1,
            clip_norm=1.0,
            patience=6,
        ),
    ),
    study=_study,
)

if __name__ == "__main__":
    run(RECIPE)
